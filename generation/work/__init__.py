"""What is asked for and what comes back: plain types."""
