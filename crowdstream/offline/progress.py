"""Progress of a render, shown on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from crowdstream.system.progress_bar import ProgressBar, format_duration

REFRESH_SECONDS = 0.1
MIN_ESTIMATE_SECONDS = 0.5  # before that, the remaining time can't be estimated


class Progress:
    """Shows the progress of a render on `out`. `live`: whether to show anything.

    The bar appears with the first block, after the messages of the startup.
    """

    def __init__(self, out: TextIO, live: bool, sample_rate: float) -> None:
        self._out = out
        self._live = live
        self._rate = sample_rate
        self._begin = time.monotonic()
        self._due = self._begin
        self._bar: ProgressBar | None = None

    def show(self, done: int, total: Callable[[], int]) -> None:
        """Report that `done` of about `total()` frames are rendered."""
        if not self._live or time.monotonic() < self._due:
            return
        now = time.monotonic()
        self._due = now + REFRESH_SECONDS
        whole = max(done, total(), 1)
        took = now - self._begin
        left = took / done * (whole - done) if done and took > MIN_ESTIMATE_SECONDS else None
        self._bar = self._bar or ProgressBar(self._out)
        self._bar.show(format_duration(done / self._rate), done, whole, left)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
