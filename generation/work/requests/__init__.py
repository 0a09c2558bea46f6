"""What someone wants done with pictures: one file a verb, each a frozen value."""
