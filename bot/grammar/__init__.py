"""Text with flags becomes an ask (pure)."""
