"""Ableton Link: the process that takes part in a Link session."""
