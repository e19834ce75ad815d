"""Servers under test: what a scenario may ask of one, and the adapters that do it."""
