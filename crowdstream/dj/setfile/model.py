"""The set model: tracks in order, their mix-in and mix-out points, and their transitions.

All positions are in beats: a track's are those of its own beatgrid, where beat 0 is a downbeat; a
set's are those of the clock. `reader` reads set files, `writer` writes them, and `timed_commands`
turns a set into commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from crowdstream.audiofile.beatgrid import MIN_CERTAIN_CONFIDENCE

BEATS_PER_BAR = 4

Target = Literal["out", "in", "clock"]


@dataclass(frozen=True)
class AutomationPoint:
    """One automation point of a transition.

    `at`: beats after the start of the transition; negative values lie before it. `target`: the
    outgoing track ("out"), the incoming one ("in"), or the "clock". `control`: see `controls`, or
    the name of a stem. `over`: duration of the ramp in beats. `line`: line in the set file, 0
    without a file.
    """

    at: float
    target: Target
    control: str
    value: float
    over: float = 0.0
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Transition:
    """A transition from one track into the next.

    The incoming track starts with the transition, the outgoing one ends with it. `bars`: length
    of the overlap in bars of 4 clock beats.
    """

    kind: str
    bars: float
    rows: tuple[AutomationPoint, ...] = ()
    why: str = ""
    line: int = field(default=0, compare=False)

    @property
    def beats(self) -> float:
        """Length in clock beats."""
        return self.bars * BEATS_PER_BAR


@dataclass(frozen=True)
class SetEntry:
    """A track of a set.

    `anchors`: beatgrid as (beat, second) pairs. `enter`, `leave`: first and last beat of that
    grid to play. `ratio`: track beats per clock beat, 0.5, 1 or 2. `gain_db`: trim.
    `stems`: names in the deck's order; empty for a single file. `transition`: into the next
    track; None plays up to `leave`, where the next track starts. `confidence`: of the beatgrid,
    0 to 1. `pitch`: transposition in semitones; `key` is the one that is heard.
    """

    path: str
    anchors: tuple[tuple[float, float], ...]
    enter: float
    leave: float
    ratio: float = 1.0
    gain_db: float = 0.0
    keylock: bool = True
    key: str = ""
    stems: tuple[str, ...] = ()
    why: str = ""
    transition: Transition | None = None
    confidence: float = 1.0
    pitch: float = 0.0
    line: int = field(default=0, compare=False)

    @property
    def uncertain(self) -> bool:
        """Whether the beatgrid may be wrong."""
        return self.confidence < MIN_CERTAIN_CONFIDENCE

    @property
    def bpm(self) -> float:
        """Tempo of the beatgrid in beats per minute; the mean if the tempo varies."""
        (first, begin), (last, end) = self.anchors[0], self.anchors[-1]
        return 60.0 * (last - first) / (end - begin)

    def second(self, beat: float) -> float:
        """Return the position in the file, in seconds, of a beat of the grid."""
        pairs = self.anchors
        at = next((n for n in range(1, len(pairs) - 1) if pairs[n][0] >= beat), len(pairs) - 1)
        (left, begin), (right, end) = pairs[at - 1], pairs[at]
        return begin + (beat - left) * (end - begin) / (right - left)

    def beat(self, second: float) -> float:
        """Return the beat of the grid at a position in the file. Inverse of `second`."""
        pairs = self.anchors
        at = next((n for n in range(1, len(pairs) - 1) if pairs[n][1] >= second), len(pairs) - 1)
        (left, begin), (right, end) = pairs[at - 1], pairs[at]
        return left + (second - begin) * (right - left) / (end - begin)

    @property
    def beats(self) -> float:
        """Playing time in clock beats."""
        return (self.leave - self.enter) / self.ratio

    @property
    def overlap(self) -> float:
        """Clock beats at the end during which the next track plays too."""
        return self.transition.beats if self.transition else 0.0


@dataclass(frozen=True)
class Set:
    """A set. `bpm`: initial tempo of the clock.

    The autopilot drops tracks that have been played. `begin` is then the clock beat at which the
    first remaining track started, `mix_in_beats` the length of its mix-in in beats, and
    `mix_in_rows` the automation of that transition.
    """

    bpm: float
    entries: tuple[SetEntry, ...]
    title: str = ""
    why: str = ""
    begin: float = 0.0
    mix_in_beats: float = 0.0
    mix_in_rows: tuple[AutomationPoint, ...] = ()

    def appended(self, transition: Transition | None, leave: float, entry: SetEntry) -> Self:
        """Return the set with another track; `leave` and `transition` apply to the last one."""
        *before, last = self.entries
        last = replace(last, leave=leave, transition=transition)
        return replace(self, entries=(*before, last, entry))


def stem_number(stems: Sequence[str], name: str) -> int | None:
    """Return the number, from 1, of the stem with that name (case-insensitive), or None."""
    lowered = [stem.lower() for stem in stems]
    return lowered.index(name.lower()) + 1 if name.lower() in lowered else None
