"""One universe: clock, seed, fakes, server and fleet, wired together, live or in process."""
