"""A bar with the time left, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

BAR = 30  # characters
REFRESH_SECONDS = 0.1
SURE_SECONDS = 0.5  # before that, what is left can't be told from what is done


class Progress:
    """Shows how far a render is, on standard error. `live`: whether to show anything."""

    def __init__(self, live: bool, sample_rate: float) -> None:
        self._live = live
        self._rate = sample_rate
        self._begin = time.monotonic()
        self._due = self._begin

    def show(self, done: int, total: Callable[[], int]) -> None:
        """`done` of about `total()` frames are rendered."""
        if not self._live or time.monotonic() < self._due:
            return
        now = time.monotonic()
        self._due = now + REFRESH_SECONDS
        whole = max(done, total(), 1)
        share = done / whole
        full = round(BAR * share)
        took = now - self._begin
        left = f", {clock(took / share * (1 - share))} left" if took > SURE_SECONDS else ""
        bar = "#" * full + "." * (BAR - full)
        text = f"[{bar}] {share:4.0%} {clock(done / self._rate)}{left}"
        print(f"\r{text:{BAR + 36}}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave an empty line."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as a player shows them: 3:05, 1:02:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
