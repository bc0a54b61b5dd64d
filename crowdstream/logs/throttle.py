"""Rate-limited logging: of lines that are repeated often, only a few are written.

Lines count as alike if their logger, level and text are the same. In warnings and errors, numbers
are ignored, because a port, a time or a count differs each time. In addition, warnings from one
place in the program are limited together, since a flood may name something else each time.

Limits on bursts of log lines, and output to a standard output that may be closed.
"""

from __future__ import annotations

import logging
import re
import select
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

WINDOW_SECONDS = 10.0  # the first window; it doubles while lines are dropped
MAX_WINDOW_SECONDS = 320.0
ALIKE = (5, 1)  # limits for lines that are alike: in the first window, and in each following one
ONE_PLACE = (100, 10)  # the same for warnings and errors of one place in the program
CHECK_SECONDS = 1.0  # between two checks for windows that have ended
MAX_KINDS = 512  # kinds remembered, those of the latest lines
KEY_CHARACTERS = 300
_NUMBER = re.compile(r"\d+")


@dataclass(slots=True)
class _Window:
    limits: tuple[int, int]
    example: logging.LogRecord
    begin: float
    seconds: float = WINDOW_SECONDS
    follows: int = 0  # 1: lines were dropped in the preceding window
    passed: int = 0
    left_out: int = 0

    @property
    def end(self) -> float:
        return self.begin + self.seconds

    @property
    def open(self) -> bool:
        return self.passed < self.limits[self.follows]


class LogThrottle:
    """Decides which records are written. For one thread at a time."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()
        self._forgotten: list[logging.LogRecord] = []
        self._next_check = 0.0

    def allows(self, record: logging.LogRecord) -> bool:
        """Whether to write a record; counts it either way. Call `reports` first."""
        now = self._monotonic()
        windows = []
        for key, limits in _kinds(record):
            window = self._window(key, limits, record, now)
            if not window.open:
                window.left_out += 1
                window.example = record
                return False
            windows.append(window)
        for window in windows:
            window.passed += 1
        return True

    def reports(self, all_of_them: bool = False) -> list[logging.LogRecord]:
        """Return a record for each kind of line that was dropped in a window that has ended.

        `all_of_them`: include windows that have not ended.
        """
        now = self._monotonic()
        if now < self._next_check and not all_of_them:
            return []
        self._next_check = now + CHECK_SECONDS
        found, self._forgotten = self._forgotten, []
        for key, window in list(self._windows.items()):
            if window.end > now and not all_of_them:
                continue
            if window.left_out:
                found.append(_report(window, now))
                window.follows = 1
                window.seconds = min(MAX_WINDOW_SECONDS, 2 * window.seconds)
                window.begin, window.passed, window.left_out = now, 0, 0
            else:
                del self._windows[key]
        return found

    def due(self) -> float | None:
        """Seconds until `reports` has something to report; None if nothing was dropped."""
        ends = [window.end for window in self._windows.values() if window.left_out]
        if self._forgotten:
            ends.append(self._next_check)
        return max(self._next_check, min(ends)) - self._monotonic() if ends else None

    def _window(
        self, key: Hashable, limits: tuple[int, int], record: logging.LogRecord, now: float
    ) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(limits, record, now)
            if len(self._windows) > MAX_KINDS:
                _, oldest = self._windows.popitem(last=False)
                if oldest.left_out:
                    self._forgotten.append(_report(oldest, now))
        else:
            self._windows.move_to_end(key)
        return window


def _kinds(record: logging.LogRecord) -> list[tuple[Hashable, tuple[int, int]]]:
    text = record.getMessage()[:KEY_CHARACTERS]
    if record.levelno < logging.WARNING:
        return [((record.name, record.levelno, text), ALIKE)]
    return [
        ((record.name, record.levelno, None, record.msg), ONE_PLACE),
        ((record.name, record.levelno, _NUMBER.sub("0", text)), ALIKE),
    ]


def _report(window: _Window, now: float) -> logging.LogRecord:
    example, count = window.example, window.left_out
    text = "%d more line%s like this in %.0f s: %s"
    values = (count, "" if count == 1 else "s", now - window.begin, example.getMessage())
    record = logging.LogRecord(example.name, example.levelno, "", 0, text, values, None)
    record.__dict__["data"] = {"left_out": count}  # like `extra`
    return record


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


def _is_read() -> bool:
    # Whether standard output accepts a line at once. That of a script may have no descriptor.
    try:
        fd = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def print_line(text: str) -> None:
    """Print to standard output, or do nothing if it is closed, or is not being read.

    Whoever prints must not wait for a terminal that is stopped, or whose connection has stalled.
    Text and line end are written together, so that no log line can come in between.
    """
    if not _is_read():
        return
    try:
        print(f"{text}\n", end="", flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode() + "\n", end="", flush=True)
    except (OSError, ValueError):
        log.debug("standard output is closed")
