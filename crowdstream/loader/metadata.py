"""Read tags and sidecars in threads beside the loop that fills pages.

They are text from anywhere: the effort is bounded but not small, and a medium may stall. A late
page is a gap in the audio; a late title is harmless.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from crowdstream.audiofile.beatgrid import GridLookup, describe_track

PATIENCE_SECONDS = 5.0  # after which a track is opened without its tags
MAX_THREADS = 4  # blocked by a stalled medium; beyond that, tracks are opened without tags
TIMED_OUT = {"grid_fault": "its tags could not be read in time: it is played without them"}


class Description(Protocol):
    """A track's description, possibly still being read."""

    def result(self) -> dict[str, Any] | None:
        """Result of `describe_track`; None until it is available."""


class CompleteDescription:
    """A description that is complete already."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about

    def result(self) -> dict[str, Any] | None:
        """See `Description`."""
        return self._about


def describe_now(
    stems: Sequence[Path], roots: Sequence[Path], analysed: GridLookup | None = None
) -> Description:
    """Read tags and sidecar before returning: for rendering that is not in real time.

    `analysed` looks up beat grids in the library of analysed tracks.
    """
    return CompleteDescription(describe_track(stems, roots, analysed))


class Describer:
    """Reads descriptions in threads. Like `describe_now`, call it from one thread."""

    def __init__(
        self,
        read: Callable[[Sequence[Path], Sequence[Path]], dict[str, Any]] = describe_track,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._threads: list[threading.Thread] = []

    def __call__(self, stems: Sequence[Path], roots: Sequence[Path]) -> Description:
        """Start reading; does not block."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MAX_THREADS:
            return CompleteDescription(TIMED_OUT)
        pending = _Pending(self._clock, self._clock() + PATIENCE_SECONDS)
        thread = threading.Thread(
            target=lambda: pending.put(self._read(stems, roots)), name="describe", daemon=True
        )
        self._threads.append(thread)
        thread.start()
        return pending


class _Pending:
    """A description that a thread supplies. The threads share nothing but one assignment."""

    def __init__(self, clock: Callable[[], float], late_at: float) -> None:
        self._clock = clock
        self._late_at = late_at
        self._about: dict[str, Any] | None = None

    def put(self, about: dict[str, Any]) -> None:
        self._about = about

    def result(self) -> dict[str, Any] | None:
        if self._about is None and self._clock() >= self._late_at:
            self._about = TIMED_OUT
        return self._about
