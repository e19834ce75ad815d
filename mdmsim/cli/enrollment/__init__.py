"""Enrolling devices into a server of the user's own: what `mdmsim enroll` is made of."""
