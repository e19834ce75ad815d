"""Planted defects in the source, each of which must be caught by the story or test that is named with it."""
