"""Errors of sets."""


class SetError(ValueError):
    """A set cannot be played. The message names the file, the line and the reason."""
