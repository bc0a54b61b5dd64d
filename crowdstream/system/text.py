"""Make text from outside safe to display.

JSON from and for other programs: limited nesting, and only numbers that JSON has.

Parse TOML from outside in a time bounded by its size.

`tomllib` takes time proportional to the square of the number of parts of a dotted key, and to the
product of a table's depth and its number of keys: 400 KB of `a.a.a. ... =1` take minutes. None of
our files nests deeper than three tables, so deep keys are refused before parsing.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
import tomllib
import unicodedata
from typing import Any

# Characters that reverse the direction of the rest of a line, or break a line unexpectedly.
_TURNS = frozenset(
    "\u2028\u2029\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def normalize_accents(text: str) -> str:
    """Compose each letter and its accents into one character (NFC), for comparison and search.

    File names occur in both forms, which look the same.
    """
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Return a text in the form in which names are compared, without regard to case."""
    return normalize_accents(text).casefold().strip()


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


_PASSWORD = re.compile(r"(://[^\s/:@]*):\S*@")


def mask_passwords(text: str) -> str:
    """Replace the passwords of URLs: `icecast://dj:secret@host/mount` has `***` in its place."""
    return _PASSWORD.sub(r"\1:***@", text)


def install_command(requirement: str) -> str:
    """The command that installs a package into the environment of this program."""
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"


MAX_DEPTH = 32  # of nested lists and objects


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def read_json(text: str | bytes) -> Any:
    """Parse a text. Raises `ValueError` for invalid JSON, or if it is nested too deeply.

    NaN and Infinity are refused: they are not JSON, although Python accepts them.

    Python's own limit of nesting depends on its version and on the caller; and not everything
    that it can read can be written again or sent to control.
    """
    try:
        said = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [said]
    for _ in range(MAX_DEPTH + 1):
        level = [
            one
            for outer in level
            if isinstance(outer, dict | list)
            for one in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return said
    raise ValueError("it is nested too deeply")


def to_json(message: Any) -> str:
    """A message as JSON; numbers that JSON does not have become null."""
    try:
        return json.dumps(message, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(message), separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


MAX_KEY_PARTS = 16
MAX_SIDECAR_BYTES = 1 << 16  # a grid of 512 anchors and 200 sections take up a quarter of it
MAX_SETTINGS_BYTES = 1 << 18  # the example file with all its comments has 20 KB
MAX_SET_BYTES = 1 << 20  # some two thousand tracks with their transitions

# The scan is linear: every alternative matches where it is tried or fails immediately, and none
# can match in two ways. Multi-line strings can't be parts of keys; the quotes that end one may
# follow one or two quotes that belong to it.
_TOKENS = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*+(?:"{3,5})?'
    r"|'''(?:[^']|'{1,2}(?!'))*+(?:'{3,5})?"
    r'|(?P<part>"(?:[^"\\\n]|\\.)*+"?|\'[^\'\n]*+\'?|[A-Za-z0-9_-]++)'
    r"|(?P<dot>\.)|(?P<blank>[ \t]++)|\#[^\n]*+|.",
    re.DOTALL,
)


class TomlError(ValueError):
    """Invalid or refused TOML; `line` is 0 where the error has no line."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


_AT_LINE = re.compile(r" \(at line ([0-9]+), column [0-9]+\)$")
_AT_END = " (at end of document)"


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML text. Raises `TomlError`.

    The caller must limit the size of the text: time and memory are proportional to it.
    """
    check_keys(text)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TomlError("brackets are nested too deeply") from None
    except ValueError as error:
        message = str(error)
        if found := _AT_LINE.search(message):
            raise TomlError(message[: found.start()], int(found[1])) from None
        if message.endswith(_AT_END):
            last = len(text.rstrip().splitlines()) or 1
            message = f"{message.removesuffix(_AT_END)} before the file ends"
            raise TomlError(message, last) from None
        raise TomlError(message) from None


def check_keys(text: str) -> None:
    """Raise `TomlError` where a key or table name has more than `MAX_KEY_PARTS` parts."""
    dots = 0
    for token in _TOKENS.finditer(text):
        kind = token.lastgroup
        if kind == "dot":
            dots += 1
            if dots >= MAX_KEY_PARTS:
                line = text.count("\n", 0, token.start()) + 1
                raise TomlError(f"a key has more than {MAX_KEY_PARTS} parts", line)
        elif kind is None:
            dots = 0
