"""Map instants of time to frames (`FrameClock`) and frames to beats (`BeatClock`).

Quantization: the grid of beats on which immediate commands act.

Tempo as a function of the frame: segments that ramp linearly, then hold.

The engine computes the same, in the same order of operations (`engine/schedule/beat_clock.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import DECKS, SAMPLE_PADS
from crowdstream.desk.snapshot import read_callback

PHRASE_BARS = 8  # the usual phrase of dance music: 32 beats in a meter of 4
WORDS = ("beat", "bar", "phrase")
MIN_QUANTUM_BEATS, MAX_QUANTUM_BEATS = 0.25, 32.0  # beats


def quantum_beats(quantum: float | str, meter: int) -> float:
    """Convert a quantum, in beats or one of `WORDS`, to beats."""
    if isinstance(quantum, str):
        return float({"beat": 1, "bar": meter, "phrase": PHRASE_BARS * meter}[quantum])
    return quantum


class Quantize:
    """The quanta of decks and sample pads, and the common one of those that have none."""

    def __init__(self) -> None:
        self.common: float | str = 0.0
        self.decks: list[float | str] = [0.0] * DECKS
        self.samples: list[float | str] = [0.0] * SAMPLE_PADS

    def to_state(self) -> list[Any]:
        """Return the quanta as JSON-compatible state; see `restore`."""
        return [self.common, list(self.decks), list(self.samples)]

    def restore(self, state: list[Any]) -> None:
        """Restore the quanta from `to_state`."""
        self.common, self.decks, self.samples = state[0], list(state[1]), list(state[2])

    def beats(self, deck: int | None, meter: int) -> float:
        """Return the quantum of a deck (None: the common one) in beats; 0 for immediate."""
        own = self.decks[deck] if deck is not None else 0.0
        return quantum_beats(own or self.common, meter)

    def beats_at(self, place: Mapping[str, int], meter: int) -> float:
        """Return the quantum in beats of the deck or sample pad that an address names."""
        if "sample" in place:
            return quantum_beats(self.samples[place["sample"]] or self.common, meter)
        return self.beats(place.get("deck"), meter)


ROUNDING = 1e-6  # frames: a beat that falls this little after a frame belongs to that frame


@dataclass(frozen=True)
class TempoSegment:
    """The clock from `frame` on: a linear tempo ramp of `frames` frames, then a constant tempo.

    `beat`: beats at `frame`. `rate`: beats per frame at `frame`. `end`: beats per frame from the
    end of the ramp on.
    """

    frame: int
    beat: float
    rate: float
    end: float
    frames: int

    @classmethod
    def steady(cls, frame: int, beat: float, rate: float) -> TempoSegment:
        """Return a segment of constant tempo; `rate` is in beats per frame."""
        return cls(frame, beat, rate, rate, 0)

    @property
    def slope(self) -> float:
        """Change of the rate per frame of the ramp, in beats per frame squared."""
        return (self.end - self.rate) / self.frames if self.frames else 0.0

    def at(self, frame: float) -> float:
        """Return the beats at a frame: the integral of the tempo, constant before the segment."""
        passed = frame - self.frame
        ramp, before = min(max(0, passed), self.frames), min(0, passed)
        beat = self.beat + self.rate * (before + ramp)
        return beat + 0.5 * self.slope * ramp * ramp + self.end * (passed - ramp - before)

    def rate_at(self, frame: float) -> float:
        """Return the rate at a frame, in beats per frame."""
        passed = frame - self.frame
        return self.end if passed >= self.frames else self.rate + self.slope * max(0, passed)

    def frame_of(self, beat: float) -> float:
        """Return the (fractional) frame of a beat: the inverse of `at`.

        In the ramp it solves slope / 2 d^2 + rate d = beats for d, in the form that avoids
        cancellation: it never subtracts two numbers of similar size.
        """
        left = beat - self.beat
        if left <= 0.0:
            return self.frame + left / self.rate
        ramp, slope = float(self.frames), self.slope
        in_ramp = self.rate * ramp + 0.5 * slope * ramp * ramp
        if left >= in_ramp:
            return self.frame + ramp + (left - in_ramp) / self.end
        root = math.sqrt(self.rate**2 + 2.0 * slope * left)
        return self.frame + 2.0 * left / (self.rate + root)

    def continued(self, frame: int, beat: float) -> TempoSegment:
        """Return the rest of this segment from a later `frame` on, where the beat is `beat`."""
        left = self.frame + self.frames - frame
        if left <= 0:
            return TempoSegment.steady(frame, beat, self.end)
        return TempoSegment(frame, beat, self.rate_at(frame), self.end, left)


def first_frame(frame: float) -> int:
    """Round a fractional frame up to the whole frame at which its event happens."""
    return math.ceil(frame - ROUNDING)


def ramp_frames(rate: float, end: float, beats: float) -> int:
    """Return the length in frames of a linear tempo ramp that lasts `beats` beats.

    The mean of a linear ramp is half the sum of both ends. `rate` and `end` are in beats per frame.
    """
    return max(1, round(beats / (0.5 * (rate + end))))


# Time over which readings of the device's clock are averaged, however many there are: long enough
# for the callbacks' jitter, short enough to follow the drift of a crystal.
AVERAGING_SECONDS = 4.0
MAX_KEPT_TAGS = 1024  # time tags whose frame is kept
MAX_SAVED_TAGS = 64  # of these, future ones that are saved, so that a new control maps them equally
JUMP_SECONDS = 0.05  # a reading this far off means that the stream was interrupted: reset
MAX_PAST_SEGMENTS = 16  # past tempo segments that are kept: observers query the present
MAX_AHEAD = 64  # pending future changes of the clock
NEAR_BEAT = 1e-6  # beats: a position this close to a beat counts as on it

ClockUpdates = list[tuple[int, TempoSegment]]
"""Tempo segments for the engine, by the frame at which it applies them (0: immediately)."""


class FrameClock:
    """Maps monotonic and wall-clock time to frames of the running stream.

    The frame of an instant is one block after the frame that the device requested at that
    instant. So a message that is handled immediately is never late, and keeps its distance to
    the previous message exact to the frame, wherever block boundaries fall.
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
        self._between: float | None = None  # offset from a reset until the next reading
        self._seen = 0
        self._moments: dict[float, int] = {}

    def to_state(self) -> list[Any]:
        """Return the state that a new clock needs to map to the same frames; see `restore`."""
        ahead = [pair for pair in self._moments.items() if pair[1] >= self._desk.frame]
        return [self._offset, ahead[-MAX_SAVED_TAGS:]]

    def restore(self, state: list[Any]) -> None:
        """Continue with the mapping of an earlier control's clock."""
        self._offset, moments = state
        self._moments = {moment: frame for moment, frame in moments}
        self.read()

    def read(self) -> None:
        """Update the estimate from the engine's latest callback. Call it several times a second."""
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
            weight = -math.expm1(-passed / AVERAGING_SECONDS)
            self._offset = known + weight * (reading - known)

    def reset_estimate(self) -> None:
        """Discard the estimate: another engine plays, and the stream may have been interrupted.

        Until the next reading, time counts on from the next frame: bundles that arrive in between
        must keep their distances instead of acting at once.
        """
        self._offset = None
        self._between = self._desk.frame - self.monotonic() * self._desk.sample_rate

    def frame_at(self, monotonic: float) -> int:
        """Return the frame of an instant of `time.monotonic()`, in seconds."""
        if self._offset is None and self._between is None:
            return self._desk.frame
        block = int(self._desk.header["block_frames"])
        return round(self.frame_rendered(monotonic)) + block

    def now(self) -> int:
        """Return the frame of the present instant."""
        return self.frame_at(self.monotonic())

    def frame_rendered(self, monotonic: float) -> float:
        """Return the (fractional) frame that the device requests at an instant.

        This frame is audible one output latency later.
        """
        offset = self._between if self._offset is None else self._offset
        if offset is None:
            return float(self._desk.frame)
        return monotonic * self._desk.sample_rate + offset

    def audible_at(self, frame: float) -> float | None:
        """Return the instant (monotonic seconds) at which a frame is audible.

        The inverse of `audible_frame`. None: no callback has been seen yet, or since a reset.
        """
        if self._offset is None:
            return None
        rate = self._desk.sample_rate
        return (frame - self._offset) / rate + float(self._desk.clock["latency"])

    def audible_frame(self, monotonic: float) -> float:
        """Return the (fractional) frame that is audible at an instant."""
        latency = float(self._desk.clock["latency"]) * self._desk.sample_rate
        return self.frame_rendered(monotonic) - latency

    def due(self, unix_seconds: float) -> float:
        """Convert a Unix time to the instant of `time.monotonic()`, both in seconds."""
        return unix_seconds - self.wall() + self.monotonic()

    def frame_of_tag(self, unix_seconds: float, due: float) -> int:
        """Return the frame (at least 1) of an OSC time tag that is due at `due` (monotonic).

        Equal tags always map to the same frame, although the estimate of the device's clock moves
        slightly from one message to the next.
        """
        known = self._moments.get(unix_seconds)
        if known is None:
            known = self._moments[unix_seconds] = max(1, self.frame_at(due))
            if len(self._moments) > MAX_KEPT_TAGS:
                del self._moments[next(iter(self._moments))]
        return known


@dataclass(frozen=True)
class Change:
    """A pending change of the clock: a tempo change, or if `rate` is None, a reset to beat 0.

    If `jump` is not 0, it is a jump forwards by that many beats instead of a reset. It happens at
    `frame`, or if `beat` is not None, at that beat, even if the beat moves. `rate` is the target in
    beats per frame, reached within `frames`, or if that is 0, within `beats`.
    """

    frame: int
    beat: float | None = None
    rate: float | None = None
    frames: int = 0
    beats: float = 0.0
    jump: float = 0.0

    def place(self, current: TempoSegment) -> int:
        """Return the frame at which the change happens if the clock runs as `current`."""
        return self.frame if self.beat is None else first_frame(current.frame_of(self.beat))

    def apply(self, current: TempoSegment, frame: int) -> TempoSegment:
        """Return the segment that follows `current` when the change is applied at `frame`."""
        if self.rate is None:
            beat = current.at(frame) + self.jump if self.jump else 0.0
            return current.continued(frame, beat)
        rate = current.rate_at(frame)
        frames = self.frames or ramp_frames(rate, self.rate, self.beats)
        return TempoSegment(frame, current.at(frame), rate, self.rate, frames)


class BeatClock:
    """Tempo and meter: beats since the last reset, as an exact function of the frame.

    The engine computes the same function, so each method that changes it returns the segments to
    send there. Pending changes keep their order when others are inserted, and those at a beat move
    with the beat. For the control thread.
    """

    def __init__(self, sample_rate: float, bpm: float, meter: int) -> None:
        self.sample_rate = sample_rate
        self.meter = meter
        self.zero: int | None = None
        self.bpm = bpm  # the tempo that was set last; a ramp may still be on its way there
        self._past = [TempoSegment.steady(0, 0.0, self.rate_of(bpm))]
        self._ahead: list[tuple[Change, TempoSegment]] = []
        self._sent: dict[int, TempoSegment] = {}  # sent to the engine, and not in effect yet

    def to_state(self) -> dict[str, Any]:
        """Return the clock as JSON-compatible state; see `restore`."""
        return {
            "meter": self.meter, "zero": self.zero, "bpm": self.bpm,
            "past": [astuple(segment) for segment in self._past],
            "ahead": [[astuple(change), astuple(segment)] for change, segment in self._ahead],
            "told": [[frame, astuple(segment)] for frame, segment in self._sent.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue as an earlier control's clock, which the engine still follows."""
        self.meter, self.zero, self.bpm = state["meter"], state["zero"], state["bpm"]
        self._past = [TempoSegment(*segment) for segment in state["past"]]
        self._ahead = [(Change(*change), TempoSegment(*there)) for change, there in state["ahead"]]
        self._sent = {frame: TempoSegment(*segment) for frame, segment in state["told"]}

    def rate_of(self, bpm: float) -> float:
        """Convert beats per minute to beats per frame."""
        return bpm / 60.0 / self.sample_rate

    # Reading -----------------------------------------------------------------------------

    def _segments(self) -> list[TempoSegment]:
        return [*self._past, *(segment for _, segment in self._ahead)]

    def at(self, frame: float) -> TempoSegment:
        """Return the tempo segment that applies at a frame."""
        segments = self._segments()
        return next((s for s in reversed(segments) if s.frame <= frame), segments[0])

    def beat(self, frame: float) -> float:
        """Return the beats since the last reset at `frame`."""
        return self.at(frame).at(frame)

    def bpm_at(self, frame: float) -> float:
        """Return the beats per minute at `frame`; during a ramp, the momentary value."""
        return round(self.at(frame).rate_at(frame) * 60.0 * self.sample_rate, 9)

    def frame_of(self, beat: float, after: float = 0) -> float:
        """Return the (fractional) frame of a beat, as the clock runs from the frame `after` on.

        A beat that has passed by then is before `after`, unless it recurs after a reset.
        """
        current, begin = self.at(after), after
        for following in [s for s in self._segments() if s.frame > after]:
            if current.at(begin) <= beat < current.at(following.frame):
                return current.frame_of(beat)
            current, begin = following, following.frame
        if beat >= current.at(begin):
            return current.frame_of(beat)
        return self.at(after).frame_of(beat)

    def frame_of_command(self, beat: float, after: float) -> int:
        """Return the whole frame (at least 1) at which a command at a beat acts."""
        return max(1, first_frame(self.frame_of(beat, after)))

    def frame_passed(self, beat: float, frame: float) -> int:
        """Return the whole frame of a beat that has passed by `frame`."""
        known = [segment for segment in self._segments() if segment.frame <= frame]
        holding = (segment for segment in reversed(known) if segment.beat <= beat)
        return first_frame(next(holding, self._past[0]).frame_of(beat))

    def next_beat(self, quantum: float, after: float) -> float:
        """Return the first multiple of `quantum` beats at or after the frame `after`."""
        return math.ceil(self.beat(after) / quantum - NEAR_BEAT) * quantum

    def frame_of_start(self, start_at: float, now: int) -> int:
        """Return the frame `start_at` seconds after the last reset; 0 ("now") if not positive.

        Before the first reset, the time counts from the frame `now`.
        """
        if start_at <= 0.0:
            return 0
        zero = now if self.zero is None else self.zero
        return zero + round(start_at * self.sample_rate)

    # Changing ----------------------------------------------------------------------------

    def full(self, now: int) -> bool:
        """Whether `MAX_AHEAD` changes are pending at the frame `now`, so that no more fit."""
        return sum(segment.frame >= now for _, segment in self._ahead) >= MAX_AHEAD

    def set_tempo(
        self,
        bpm: float,
        frame: int,
        now: int,
        *,
        frames: int = 0,
        beats: float = 0.0,
        beat: float | None = None,
    ) -> ClockUpdates:
        """Ramp the tempo linearly to `bpm` from `frame` on, over `frames` frames or `beats` beats.

        With `beat` the ramp starts at that beat, and `frame` is its expected frame. `now` is the
        frame that the engine renders next; a late change happens there. Returns the segments to
        send to the engine.
        """
        self.bpm = bpm
        soon = max(frame, now)
        change = Change(soon, beat if frame >= now else None, self.rate_of(bpm), frames, beats)
        updates = self._plan(now, change)
        # List it under the requested frame, so that the engine can report how late it was.
        return [(min(at, frame) if at == soon else at, segment) for at, segment in updates]

    def reset(self, frame: int, now: int) -> ClockUpdates:
        """Set beat 0 and time zero to `frame`, which may be in the past.

        `now`: the frame that the engine renders next. Returns the segments to send to the engine.
        """
        self.zero = frame
        if frame >= now:
            return self._plan(now, Change(frame))
        passed = self.beat(frame)
        self._past = [replace(segment, beat=segment.beat - passed) for segment in self._past]
        self._ahead = [
            (change, replace(segment, beat=segment.beat - passed))
            for change, segment in self._ahead
        ]
        updates = self._plan(now)
        # The current segment, including a change that was due at this very frame.
        return [(frame, self.at(now)), *updates]

    def adopt(self, state: dict[str, Any], shift: int, now: int) -> ClockUpdates:
        """Run as another clock, whose frames are `shift` less than the own ones.

        `state`: its `to_state`. `now`: the frame that the engine renders next. Returns the segments
        to send to the engine, the current one first.
        """
        sent = self._sent
        self.restore(state)
        self.zero = None if self.zero is None else self.zero + shift
        self._past = [replace(one, frame=one.frame + shift) for one in self._past]
        self._ahead = [
            (replace(change, frame=change.frame + shift), replace(one, frame=one.frame + shift))
            for change, one in self._ahead
        ]
        self._sent = sent
        updates = self._plan(now)
        return [(0, self.at(now)), *((frame, one) for frame, one in updates if frame >= now)]

    def jump(self, beats: float, frame: int, now: int) -> ClockUpdates:
        """Jump forwards by `beats` at `frame`; time zero and the tempo stay as they are.

        `now`: the frame that the engine renders next. Returns the segments to send to the engine.
        """
        return self._plan(now, Change(max(frame, now), jump=beats)) if beats else []

    def _plan(self, now: int, *new: Change) -> ClockUpdates:
        # Move segments that have begun to the past, and lay out all pending changes again.
        begun = [segment for _, segment in self._ahead if segment.frame < now]
        left = [*(change for change, segment in self._ahead if segment.frame >= now), *new]
        self._past = [*self._past, *begun][-MAX_PAST_SEGMENTS:]
        self._ahead = []
        current = self._past[-1]
        while left:
            places = [max(change.place(current), current.frame, now) for change in left]
            first = places.index(min(places))
            change = left.pop(first)
            current = change.apply(current, places[first])
            self._ahead.append((change, current))
        return self._changed_segments(now)

    def _changed_segments(self, now: int) -> ClockUpdates:
        # A segment that the engine has and that is no longer valid is replaced at its frame.
        sent = {frame: segment for frame, segment in self._sent.items() if frame >= now}
        valid = {frame: self.at(frame) for frame in sent}
        valid |= {segment.frame: segment for _, segment in self._ahead}
        self._sent = valid
        return [(frame, s) for frame, s in sorted(valid.items()) if sent.get(frame) != s]
