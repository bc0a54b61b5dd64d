"""Which file the loader is busy with: for control, should it die of it, and for how long.

A process that is killed can't say what it was doing. So the loader writes it into the desk
before each thing that a codec or a medium can make go wrong, and takes it back afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crowdstream.desk.block import Desk

STALL_SECONDS = 1.0  # of waiting for one read, from which it is told: a busy card takes 0.1 s


class Heartbeat:
    """Writes the desk's region `loader`, and measures how long reads wait for their medium."""

    def __init__(self, desk: Desk, tell: Callable[[dict[str, Any]], None]) -> None:
        self._record = desk.loader
        self._tell = tell
        self.longest = 0.0  # seconds that a read has waited, most
        self.stalls = 0
        self._record["busy"] = 0  # what an earlier loader was busy with is over

    @contextmanager
    def reading(self, track: int, source: int, path: str) -> Iterator[None]:
        """While the body runs, this stem of this track is being opened or read."""
        self._record["source"] = source
        self._record["since_ns"] = time.monotonic_ns()
        self._record["busy"] = track
        begin, worked = time.monotonic(), time.thread_time()
        try:
            yield
        finally:
            # Decoding is work; what is left is waiting.
            waited = time.monotonic() - begin - (time.thread_time() - worked)
            self._record["busy"] = 0
            self.longest = max(self.longest, waited)
            if waited > STALL_SECONDS:
                self.stalls += 1
                self._tell({"event": "stall", "track": track, "path": path, "seconds": waited})

    def progress(self) -> None:
        """Something long goes on: it is not stuck."""
        self._record["since_ns"] = time.monotonic_ns()
