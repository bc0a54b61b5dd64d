"""Time: which frame an instant is, and which beat a frame is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any

from crowdstream.control.clock.tempo import Stretch, first_frame, ramp_frames
from crowdstream.desk.block import Desk
from crowdstream.desk.seqlock import read_callback

# Weight of a new reading of the device's clock. At 100 readings a second the estimate
# follows a crystal's drift within a second or two and averages the callbacks' jitter away.
SMOOTHING = 0.01
MOMENTS = 1024  # time tags whose frame is kept
MOMENTS_NOTED = 64  # of these, and ahead, so that a later control gives the same frames
JUMP_SECONDS = 0.05  # a reading this far off means that the stream stood still: begin anew
KEPT = 16  # stretches of the tempo that are past: observers ask about now
MAX_AHEAD = 64  # changes of the clock that may lie ahead
NEAR_BEAT = 1e-6  # beats: so close to a beat is on it

Orders = list[tuple[int, Stretch]]
"""By the frame at which the engine is to take it up (0: at once): how the clock runs from there."""


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

    def to_state(self) -> list[Any]:
        """What a later clock has to know to give the same frames; see `restore`."""
        ahead = [pair for pair in self._moments.items() if pair[1] >= self._desk.frame]
        return [self._offset, ahead[-MOMENTS_NOTED:]]

    def restore(self, note: list[Any]) -> None:
        """Go on as the clock did that was noted."""
        self._offset, moments = note
        self._moments = {moment: frame for moment, frame in moments}
        self.read()

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

    def begin_anew(self) -> None:
        """Another engine plays: the stream may have stood still for a while."""
        self._offset = None

    def frame_at(self, monotonic: float) -> int:
        """The frame of an instant of `time.monotonic()`."""
        if self._offset is None:
            return self._desk.frame
        block = int(self._desk.header["block_frames"])
        return round(self.frame_rendered(monotonic)) + block

    def now(self) -> int:
        """The frame of this instant."""
        return self.frame_at(self.monotonic())

    def frame_rendered(self, monotonic: float) -> float:
        """The frame that the device asks for at an instant; its latency later it is heard."""
        if self._offset is None:
            return float(self._desk.frame)
        return monotonic * self._desk.sample_rate + self._offset

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
class Change:
    """What is to become of the clock: another tempo, or (`rate` is None) beat 0.

    `frame`: where; `beat`: the beat it happens at, wherever that comes to lie, else None.
    `rate`: beats a frame to go to, within `frames`, or (0) while `beats` pass.
    """

    frame: int
    beat: float | None = None
    rate: float | None = None
    frames: int = 0
    beats: float = 0.0

    def place(self, current: Stretch) -> int:
        """The frame it happens at, the clock running so."""
        return self.frame if self.beat is None else first_frame(current.frame_of(self.beat))

    def apply(self, current: Stretch, frame: int) -> Stretch:
        """How the clock runs from `frame` on."""
        if self.rate is None:
            return current.going_on(frame, 0.0)
        rate = current.rate_at(frame)
        frames = self.frames or ramp_frames(rate, self.rate, self.beats)
        return Stretch(frame, current.at(frame), rate, self.rate, frames)


class BeatClock:
    """Tempo and meter: beats since the last reset, as an exact function of the frame.

    The engine holds the same function: what changes it gives back the orders for it. Changes
    that lie ahead keep their order, whatever comes in between, and those at a beat move with it.
    """

    def __init__(self, sample_rate: float, bpm: float, meter: int) -> None:
        self.sample_rate = sample_rate
        self.meter = meter
        self.zero: int | None = None
        self.bpm = bpm  # the tempo that was set last: it may not be reached yet
        self._past = [Stretch.steady(0, 0.0, self.rate_of(bpm))]
        self._ahead: list[tuple[Change, Stretch]] = []
        self._told: dict[int, Stretch] = {}  # what the engine has and is still to take up

    def to_state(self) -> dict[str, Any]:
        """As JSON holds it; see `restore`."""
        return {
            "meter": self.meter, "zero": self.zero, "bpm": self.bpm,
            "past": [astuple(stretch) for stretch in self._past],
            "ahead": [[astuple(change), astuple(stretch)] for change, stretch in self._ahead],
            "told": [[frame, astuple(stretch)] for frame, stretch in self._told.items()],
        }

    def restore(self, note: dict[str, Any]) -> None:
        """Run as the clock did that was noted, which the engine goes by."""
        self.meter, self.zero, self.bpm = note["meter"], note["zero"], note["bpm"]
        self._past = [Stretch(*stretch) for stretch in note["past"]]
        self._ahead = [(Change(*change), Stretch(*there)) for change, there in note["ahead"]]
        self._told = {frame: Stretch(*stretch) for frame, stretch in note["told"]}

    def rate_of(self, bpm: float) -> float:
        """Beats a frame at so many beats a minute."""
        return bpm / 60.0 / self.sample_rate

    # Reading -----------------------------------------------------------------------------

    def _stretches(self) -> list[Stretch]:
        return [*self._past, *(stretch for _, stretch in self._ahead)]

    def at(self, frame: float) -> Stretch:
        """How the clock runs at a frame."""
        stretches = self._stretches()
        return next((s for s in reversed(stretches) if s.frame <= frame), stretches[0])

    def beat(self, frame: float) -> float:
        """Beats since the last reset at `frame`."""
        return self.at(frame).at(frame)

    def bpm_at(self, frame: float) -> float:
        """Beats a minute at `frame`: during a ramp what it has reached."""
        return round(self.at(frame).rate_at(frame) * 60.0 * self.sample_rate, 9)

    def frame_of(self, beat: float, after: float = 0) -> float:
        """The frame, between whole ones, of a beat as the clock runs from the frame `after` on.

        A beat that has passed by then lies before it, unless it comes again after a reset.
        """
        current, begin = self.at(after), after
        for following in [s for s in self._stretches() if s.frame > after]:
            if current.at(begin) <= beat < current.at(following.frame):
                return current.frame_of(beat)
            current, begin = following, following.frame
        if beat >= current.at(begin):
            return current.frame_of(beat)
        return self.at(after).frame_of(beat)

    def frame_of_command(self, beat: float, after: float) -> int:
        """The whole frame, at least 1, at which a command at a beat acts."""
        return max(1, first_frame(self.frame_of(beat, after)))

    def frame_passed(self, beat: float, frame: float) -> int:
        """The whole frame at which a beat was that has passed by `frame`."""
        known = [stretch for stretch in self._stretches() if stretch.frame <= frame]
        holding = (stretch for stretch in reversed(known) if stretch.beat <= beat)
        return first_frame(next(holding, self._past[0]).frame_of(beat))

    def next_beat(self, quantum: float, after: float) -> float:
        """The first multiple of `quantum` beats that does not lie before the frame `after`."""
        return math.ceil(self.beat(after) / quantum - NEAR_BEAT) * quantum

    def frame_of_start(self, start_at: float, now: int) -> int:
        """The frame of `start_at` seconds after the last reset; 0 ("now") if not positive.

        Where there was no reset yet, the time counts from `now`.
        """
        if start_at <= 0.0:
            return 0
        zero = now if self.zero is None else self.zero
        return zero + round(start_at * self.sample_rate)

    # Changing ----------------------------------------------------------------------------

    def full(self, now: int) -> bool:
        """Whether no further change may lie ahead of the frame `now`."""
        return sum(stretch.frame >= now for _, stretch in self._ahead) >= MAX_AHEAD

    def set_tempo(
        self,
        bpm: float,
        frame: int,
        now: int,
        *,
        frames: int = 0,
        beats: float = 0.0,
        beat: float | None = None,
    ) -> Orders:
        """From `frame` on to `bpm`, in a straight ramp of `frames`, or during which `beats` pass.

        With `beat` it happens at that beat, and `frame` is where that is expected. `now`: the
        frame that the engine renders next; a change that comes too late happens there.
        """
        self.bpm = bpm
        soon = max(frame, now)
        change = Change(soon, beat if frame >= now else None, self.rate_of(bpm), frames, beats)
        orders = self._plan(now, change)
        # Under the frame it was asked for, so that the engine can tell how late it was.
        return [(min(at, frame) if at == soon else at, stretch) for at, stretch in orders]

    def reset(self, frame: int, now: int) -> Orders:
        """`frame` is beat 0 and time zero; where it has passed, the beat was 0 then."""
        self.zero = frame
        if frame >= now:
            return self._plan(now, Change(frame))
        passed = self.beat(frame)
        self._past = [replace(stretch, beat=stretch.beat - passed) for stretch in self._past]
        self._ahead = [
            (change, replace(stretch, beat=stretch.beat - passed))
            for change, stretch in self._ahead
        ]
        orders = self._plan(now)
        # What runs now, with what was to begin right now.
        return [(frame, self.at(now)), *orders]

    def _plan(self, now: int, *new: Change) -> Orders:
        # What has begun is history; all that lies ahead is laid out anew from there.
        begun = [stretch for _, stretch in self._ahead if stretch.frame < now]
        left = [*(change for change, stretch in self._ahead if stretch.frame >= now), *new]
        self._past = [*self._past, *begun][-KEPT:]
        self._ahead = []
        current = self._past[-1]
        while left:
            places = [max(change.place(current), current.frame, now) for change in left]
            first = places.index(min(places))
            change = left.pop(first)
            current = change.apply(current, places[first])
            self._ahead.append((change, current))
        return self._tell(now)

    def _tell(self, now: int) -> Orders:
        # What was told and no longer holds is replaced, at its frame, by what runs there now.
        told = {frame: stretch for frame, stretch in self._told.items() if frame >= now}
        holds = {frame: self.at(frame) for frame in told}
        holds |= {stretch.frame: stretch for _, stretch in self._ahead}
        self._told = holds
        return [(frame, s) for frame, s in sorted(holds.items()) if told.get(frame) != s]
