"""What Atelier remembers: one SQLite file and a folder of pictures."""
