"""Texts from outside, made fit for a line."""

from __future__ import annotations

import os
import shlex
import sys
import unicodedata

# What would turn the rest of a line around, or break it where a reader does not expect that.
_TURNS = frozenset(
    "\u2028\u2029\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def composed(text: str) -> str:
    """A text with each accent and its letter as one character (NFC), to be compared and searched.

    Names of files come in both spellings, and people can't see which.
    """
    return unicodedata.normalize("NFC", text)


def cut(text: str, most: int) -> str:
    """The beginning of a text that takes no more than `most` bytes: file systems count these."""
    return os.fsencode(text)[:most].decode("utf-8", "ignore")


def printable(path: str | os.PathLike[str]) -> str:
    """`path` as one line that any terminal, log or OSC reply can carry.

    File names may hold line breaks and bytes that are not UTF-8; both are shown as escapes, and so
    are characters that change the direction of a text. Spaces of any width and joiners, which
    scripts and emoji are written with, stay as they are.
    """
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if _shown(c) else c.encode("unicode_escape").decode() for c in text)


def is_line(text: str) -> bool:
    """Whether `printable` would leave `text` as it is."""
    return all(map(_shown, text))


def _shown(character: str) -> bool:
    if character.isprintable():
        return True
    return unicodedata.category(character) in ("Zs", "Cf") and character not in _TURNS


def install_command(requirement: str) -> str:
    """The command that installs a package beside this program, whatever environment that is in."""
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"
