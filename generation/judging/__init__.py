"""Pictures looked at: by a scorer, by a guarded decoder, by people on a sheet."""
