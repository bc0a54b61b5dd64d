"""What is wrong with a set file."""

from __future__ import annotations


class SetError(ValueError):
    """A set that can't be played. The message names the file, the line and the reason."""
