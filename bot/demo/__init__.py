"""The demonstration: the real bot, a simulated server, a scene and a page."""
