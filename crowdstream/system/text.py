"""Make text from outside safe to display."""

from __future__ import annotations

import os
import shlex
import sys
import unicodedata

# Characters that reverse the direction of the rest of a line, or break a line unexpectedly.
_TURNS = frozenset(
    "\u2028\u2029\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def normalize_accents(text: str) -> str:
    """Compose each letter and its accents into one character (NFC), for comparison and search.

    File names occur in both forms, which look the same.
    """
    return unicodedata.normalize("NFC", text)


def truncate_bytes(text: str, most: int) -> str:
    """Cut a text to at most `most` bytes, the unit in which file systems limit names."""
    return os.fsencode(text)[:most].decode("utf-8", "ignore")


def printable(path: str | os.PathLike[str]) -> str:
    """Return `path` as one line that any terminal, log or OSC reply can carry.

    File names may contain line breaks and bytes that are not UTF-8; both are shown as escapes, and
    so are characters that change the direction of text. Spaces of any width and joiners, which
    scripts and emoji need, stay unchanged.
    """
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if _shown(c) else c.encode("unicode_escape").decode() for c in text)


def is_line(text: str) -> bool:
    """Whether `printable` would leave `text` unchanged."""
    return all(map(_shown, text))


def _shown(character: str) -> bool:
    if character.isprintable():
        return True
    return unicodedata.category(character) in ("Zs", "Cf") and character not in _TURNS


def install_command(requirement: str) -> str:
    """The command that installs a package into the environment of this program."""
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"
