"""One Discord command area a file."""
