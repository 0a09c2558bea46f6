"""What words mean to a checkpoint."""
