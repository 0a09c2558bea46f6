"""All that makes and judges checkpoints; not needed to draw."""
