"""The file that the loader is reading, and since when, recorded for control.

A killed process can't report what it was doing. The loader therefore writes it into the desk
before every operation in which a codec or a medium may fail, and clears it afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crowdstream.desk.block import Desk

STALL_SECONDS = 1.0  # of waiting for one read, reported as a stall: a busy card takes 0.1 s


class Heartbeat:
    """Writes the desk's `loader` region and measures how long reads wait for their medium."""

    def __init__(self, desk: Desk, send: Callable[[dict[str, Any]], None]) -> None:
        self._record = desk.loader
        self._send = send
        self.longest = 0.0  # seconds that the slowest read has waited
        self.stalls = 0
        self._record["busy"] = 0  # clear what an earlier loader left

    @contextmanager
    def reading(self, track: int, source: int, path: str) -> Iterator[None]:
        """Record that this stem is being opened or read while the body runs."""
        self._record["source"] = source
        self._record["since_ns"] = time.monotonic_ns()
        self._record["busy"] = track
        begin, worked = time.monotonic(), time.thread_time()
        try:
            yield
        finally:
            # CPU time is decoding; the rest was spent waiting.
            waited = time.monotonic() - begin - (time.thread_time() - worked)
            self._record["busy"] = 0
            self.longest = max(self.longest, waited)
            if waited > STALL_SECONDS:
                self.stalls += 1
                self._send({"event": "stall", "track": track, "path": path, "seconds": waited})

    def progress(self) -> None:
        """Report progress in a long operation, which shows that the loader does not hang."""
        self._record["since_ns"] = time.monotonic_ns()
