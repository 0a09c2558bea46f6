"""Everything a person touches: Discord, the command line and the settings."""
