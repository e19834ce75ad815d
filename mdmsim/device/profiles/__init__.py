"""Configuration profiles on a device: reading, installing and removing them, all or nothing."""
