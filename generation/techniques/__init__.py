"""Ways to draw."""
