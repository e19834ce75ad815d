"""The fake APNs inside other people's test suites: the real one in a thread of its own, and what a test needs around it."""
