"""Saying things: log lines that no flood can multiply, and lines that nobody has to read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LINE_SECONDS = 1.0  # at most one line of a kind in this time; the others are counted


class Quiet:
    """Says at most one line of each kind a second; the next one says how many were left out."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._said: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def say(self, line: Callable[..., None], kind: str, text: str, *values: object) -> None:
        """Call `line(text, *values)`, as a logger's method, unless one of this kind just was."""
        now = self._monotonic()
        if now - self._said.get(kind, -LINE_SECONDS) < LINE_SECONDS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._said[kind] = now
        left_out = self._left_out.pop(kind, 0)
        more = f" (and {left_out} more like it)" if left_out else ""
        line(text + "%s", *values, more)


def say(text: str) -> None:
    """Print to standard output; where nobody reads it any more, don't."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode(), flush=True)
    except (OSError, ValueError):
        log.debug("standard output is closed")
