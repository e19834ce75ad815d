"""Apple's device-management schema, compiled to compact facts: what exists where, and what a message may hold."""
