"""What a device does on the network, one flow per module."""
