"""Where drawings come from, one file a kind of source."""
