"""Saying things: log lines that no flood can multiply, and lines that nobody has to read."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

LINE_SECONDS = 1.0  # at most one line of a kind in this time; the others are counted
BURST_SECONDS = 1.0  # for which the lines of a burst are counted
BURST_OF_A_KIND = 10  # lines of one kind in this time
BURST_OF_ALL = 50  # lines of all kinds together: a flood may use any number of kinds


class Quiet:
    """Says at most one line of each kind in `seconds`; the next says how many were left out."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, seconds: float = LINE_SECONDS
    ) -> None:
        self._monotonic = monotonic
        self._seconds = seconds
        self._said: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def say(self, line: Callable[..., None], kind: str, text: str, *values: object) -> None:
        """Call `line(text, *values)`, as a logger's method, unless one of this kind just was."""
        now = self._monotonic()
        if now - self._said.get(kind, -self._seconds) < self._seconds:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._said[kind] = now
        left_out = self._left_out.pop(kind, 0)
        more = f" (and {left_out} more like it)" if left_out else ""
        line(text + "%s", *values, more)


class Burst:
    """Lets through a few lines of each kind a second, and counts those it did not let through."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._begun = -BURST_SECONDS
        self._kinds: Counter[str] = Counter()
        self._left_out = 0

    def allows(self, kind: str) -> bool:
        """Whether one more line of this kind may be said now; counts it either way."""
        now = self._monotonic()
        if now - self._begun >= BURST_SECONDS:
            self._begun = now
            self._kinds.clear()
        if self._kinds[kind] >= BURST_OF_A_KIND or self._kinds.total() >= BURST_OF_ALL:
            self._left_out += 1
            return False
        self._kinds[kind] += 1
        return True

    def left_out(self) -> int:
        """How many lines were not let through, once their second is over; told only once."""
        if not self._left_out or self._monotonic() - self._begun < BURST_SECONDS:
            return 0
        count, self._left_out = self._left_out, 0
        return count


def say(text: str) -> None:
    """Print to standard output; where nobody reads it any more, don't.

    The text and its end go out as one, so no line of the log can come in between.
    """
    try:
        print(f"{text}\n", end="", flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode() + "\n", end="", flush=True)
    except (OSError, ValueError):
        log.debug("standard output is closed")
