"""Many devices: where they are kept, and what wakes them."""
