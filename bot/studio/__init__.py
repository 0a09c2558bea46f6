"""What may be done, told without Discord."""
