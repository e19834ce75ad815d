"""Automated enrollment's other half: which devices Apple says are ours, and the profile that they are given there."""
