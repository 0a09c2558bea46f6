"""From openly licensed drawings to captioned, cleaned, split pictures on disk."""
