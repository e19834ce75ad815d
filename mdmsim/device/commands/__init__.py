"""What a device does with the commands of its server."""
