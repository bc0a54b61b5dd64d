"""Texts from outside, made fit for a line."""

from __future__ import annotations

import os


def printable(path: str | os.PathLike[str]) -> str:
    """`path` as one line that any terminal, log or OSC reply can carry.

    File names may hold line breaks and bytes that are not UTF-8; both are shown as escapes.
    """
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
