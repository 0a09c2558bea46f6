"""Training recipes, one folder a preset, and what reads them."""
