"""Parse TOML from outside in a time bounded by its size.

`tomllib` takes time proportional to the square of the number of parts of a dotted key, and to the
product of a table's depth and its number of keys: 400 KB of `a.a.a. ... =1` take minutes. None of
our files nests deeper than three tables, so deep keys are refused before parsing.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

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
