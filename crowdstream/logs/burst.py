"""Limits on bursts of log lines, and output to a standard output that may be closed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

LINE_SECONDS = 1.0  # at most one line of a kind in this time; others are counted
BURST_SECONDS = 1.0  # the time in which the lines of a burst are counted
BURST_OF_A_KIND = 10  # lines of one kind in this time
BURST_OF_ALL = 50  # lines of all kinds together: a flood may use any number of kinds


class LineThrottle:
    """Logs at most one line of each kind in `seconds`; the next reports how many were dropped."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, seconds: float = LINE_SECONDS
    ) -> None:
        self._monotonic = monotonic
        self._seconds = seconds
        self._logged_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def log(self, line: Callable[..., None], kind: str, text: str, *values: object) -> None:
        """Call `line(text, *values)`, a logger's method, unless this kind was logged just now."""
        now = self._monotonic()
        if now - self._logged_at.get(kind, -self._seconds) < self._seconds:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._logged_at[kind] = now
        left_out = self._left_out.pop(kind, 0)
        more = f" (and {left_out} more like it)" if left_out else ""
        line(text + "%s", *values, more)


class LogBurstLimiter:
    """Admits a few lines of each kind per second, and counts the others."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._window_start = -BURST_SECONDS
        self._kinds: Counter[str] = Counter()
        self._left_out = 0

    def allows(self, kind: str) -> bool:
        """Whether one more line of this kind may be logged now; counts it either way."""
        now = self._monotonic()
        if now - self._window_start >= BURST_SECONDS:
            self._window_start = now
            self._kinds.clear()
        if self._kinds[kind] >= BURST_OF_A_KIND or self._kinds.total() >= BURST_OF_ALL:
            self._left_out += 1
            return False
        self._kinds[kind] += 1
        return True

    def take_dropped(self) -> int:
        """Number of lines dropped, once their second is over; reported only once."""
        if not self._left_out or self._monotonic() - self._window_start < BURST_SECONDS:
            return 0
        count, self._left_out = self._left_out, 0
        return count


def print_line(text: str) -> None:
    """Print to standard output, or do nothing if it is closed.

    Text and line end are written together, so that no log line can come in between.
    """
    try:
        print(f"{text}\n", end="", flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode() + "\n", end="", flush=True)
    except (OSError, ValueError):
        log.debug("standard output is closed")
