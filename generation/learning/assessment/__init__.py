"""Judging a checkpoint: figures beside reference points, a report, and people."""
