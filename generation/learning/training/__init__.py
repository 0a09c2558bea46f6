"""Data, captions, training loops and export of Atelier's own checkpoints."""
