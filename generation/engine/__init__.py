"""A process that holds a device."""
