"""Devices that are in a store already: listing them, looking at one, having them act, taking them away."""
