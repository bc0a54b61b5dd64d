"""Time: which frame an instant is, and which beat a frame is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from crowdstream.desk.block import Desk
from crowdstream.desk.stamp import read_callback

# Weight of a new reading of the device's clock. At 100 readings a second the estimate
# follows a crystal's drift within a second or two and averages the callbacks' jitter away.
SMOOTHING = 0.01
MOMENTS = 1024  # time tags whose frame is kept
JUMP_SECONDS = 0.05  # a reading this far off means that the stream stood still: begin anew


class FrameClock:
    """Maps monotonic and wall-clock time to frames of the running stream.

    The frame of an instant lies one block after the one the device asked for at that
    instant, so that a message which is handled at once is never late and keeps its
    distance from the one before, to the frame, however blocks fall.
    """

    def __init__(
        self,
        desk: Desk,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self.monotonic = monotonic
        self.wall = wall
        self._offset: float | None = None
        self._seen = 0
        self._moments: dict[float, int] = {}

    def read(self) -> None:
        """Take the engine's latest reading; call it often (every 10 ms or so)."""
        latest = read_callback(self._desk)
        if latest is None or latest[0] == self._seen:
            return
        now_ns, frame = latest
        self._seen = now_ns
        reading = frame - now_ns * 1e-9 * self._desk.sample_rate
        known = self._offset
        if known is None or abs(reading - known) > JUMP_SECONDS * self._desk.sample_rate:
            self._offset = reading
        else:
            self._offset = known + SMOOTHING * (reading - known)

    def frame_at(self, monotonic: float) -> int:
        """The frame of an instant of `time.monotonic()`."""
        if self._offset is None:
            return self._desk.frame
        block = int(self._desk.header["block_frames"])
        return round(monotonic * self._desk.sample_rate + self._offset) + block

    def now(self) -> int:
        """The frame of this instant."""
        return self.frame_at(self.monotonic())

    def due(self, unix_seconds: float) -> float:
        """The instant of `time.monotonic()` at which a wall clock shows `unix_seconds`."""
        return unix_seconds - self.wall() + self.monotonic()

    def frame_of_tag(self, unix_seconds: float, due: float) -> int:
        """The frame of an OSC time tag, at least 1, which is due at `due` (monotonic).

        What has the same tag has the same frame, whenever it came, although the estimate of
        the device's clock moves a little from one message to the next.
        """
        known = self._moments.get(unix_seconds)
        if known is None:
            known = self._moments[unix_seconds] = max(1, self.frame_at(due))
            if len(self._moments) > MOMENTS:
                del self._moments[next(iter(self._moments))]
        return known


@dataclass(frozen=True)
class _Stretch:
    frame: int
    beat: float
    bpm: float


class BeatClock:
    """Tempo and meter: beats since the last reset, as a function of the frame."""

    def __init__(self, sample_rate: float, bpm: float, meter: int) -> None:
        self.sample_rate = sample_rate
        self.meter = meter
        self._stretches = [_Stretch(0, 0.0, bpm)]
        self.zero: int | None = None

    @property
    def bpm(self) -> float:
        """The tempo that was set last, in beats a minute."""
        return self._stretches[-1].bpm

    def set_tempo(self, bpm: float, frame: int) -> None:
        """From `frame` on, `bpm` beats a minute; the beat goes on without a jump."""
        beat = self.beat(frame)
        kept = [stretch for stretch in self._stretches if stretch.frame < frame]
        # Observers ask about now: what is long past need not be kept.
        self._stretches = [*kept[-16:], _Stretch(frame, beat, bpm)]

    def reset(self, frame: int) -> None:
        """`frame` is beat 0 and time zero from now on."""
        self.zero = frame
        self._stretches = [_Stretch(frame, 0.0, self.bpm)]

    def beat(self, frame: int) -> float:
        """Beats since the last reset at `frame`."""
        current = self._stretches[0]
        for stretch in self._stretches:
            if stretch.frame <= frame:
                current = stretch
        beats_per_frame = current.bpm / 60.0 / self.sample_rate
        return current.beat + (frame - current.frame) * beats_per_frame

    def frame_of_start(self, start_at: float, now: int) -> int:
        """The frame of `start_at` seconds after the last reset; 0 ("now") if not positive.

        Where there was no reset yet, the time counts from `now`.
        """
        if start_at <= 0.0:
            return 0
        zero = now if self.zero is None else self.zero
        return zero + round(start_at * self.sample_rate)
