"""The output's clock: which frame is audible at an instant, and when a frame is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from crowdstream.desk.block import Desk
from crowdstream.desk.snapshot import read_callback

# Readings of the device's clock are averaged over this time: long enough for the callbacks'
# jitter, short enough to follow the drift of a crystal.
AVERAGING_SECONDS = 4.0
JUMP_SECONDS = 0.05  # a reading this far off means that the stream was interrupted: start again


class OutputClock:
    """Maps monotonic time to frames and back. Call `read` at least a few times a second."""

    def __init__(self, desk: Desk, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._monotonic = monotonic
        self._offset: float | None = None  # frame at the monotonic time 0
        self._seen = 0

    def read(self) -> None:
        """Update the estimate from the latest callback of the engine."""
        latest = read_callback(self._desk)
        if latest is None or latest[0] == self._seen:
            return
        now_ns, frame = latest
        passed, self._seen = (now_ns - self._seen) * 1e-9, now_ns
        reading = frame - now_ns * 1e-9 * self._desk.sample_rate
        known = self._offset
        if known is None or abs(reading - known) > JUMP_SECONDS * self._desk.sample_rate:
            self._offset = reading
        else:
            self._offset = known - math.expm1(-passed / AVERAGING_SECONDS) * (reading - known)

    @property
    def latency(self) -> float:
        """Seconds from the request for a block to its sound, limiter included."""
        desk = self._desk
        return float(desk.clock["latency"]) + int(desk.limiter["delay"]) / desk.sample_rate

    def audible_frame(self, at: float | None = None) -> float:
        """Return the (fractional) frame that is audible at an instant, by default now."""
        instant = (self._monotonic() if at is None else at) - self.latency
        if self._offset is None:
            return self._desk.frame - self.latency * self._desk.sample_rate
        return instant * self._desk.sample_rate + self._offset

    def instant_of(self, frame: float) -> float:
        """Return the instant (monotonic seconds) at which a frame is audible."""
        if self._offset is None:
            return self._monotonic()
        return (frame - self._offset) / self._desk.sample_rate + self.latency
