"""Memorization, influence and scores: what they are, how they are estimated, their files."""
