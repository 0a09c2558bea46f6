"""Discord: commands, views, messages."""
