"""One simulated device: its state, its traits, its flows and its command handlers."""
