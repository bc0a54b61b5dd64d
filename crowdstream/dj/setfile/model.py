"""Sets: tracks in order, where each enters and leaves, and how one goes into the next.

All of a set is in beats: those of a track are of its own grid, where beat 0 is a downbeat; those
of the set are of the clock. `set_file.py` reads them, `set_writer.py` writes them, and `score.py`
makes commands of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from crowdstream.audiofile.beatgrid import CERTAIN

BEATS_PER_BAR = 4

Who = Literal["out", "in", "clock"]


@dataclass(frozen=True)
class AutomationPoint:
    """One move of a transition.

    `at`: beats after the transition's begin, below 0 before it. `who`: the track that goes
    ("out"), the one that comes ("in"), or the "clock". `control`: see `controls.py`, or the name
    of a stem. `over`: beats that the move takes. `line`: of the file, 0 without one.
    """

    at: float
    who: Who
    control: str
    value: float
    over: float = 0.0
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Transition:
    """From one track into the next, which enters as it begins; the first leaves at its end.

    `bars`: how long both are there, in bars of 4 beats of the clock.
    """

    kind: str
    bars: float
    rows: tuple[AutomationPoint, ...] = ()
    why: str = ""
    line: int = field(default=0, compare=False)

    @property
    def beats(self) -> float:
        """Its length in beats of the clock."""
        return self.bars * BEATS_PER_BAR


@dataclass(frozen=True)
class SetEntry:
    """A track of a set.

    `anchors`: its beat grid, pairs of beat and second. `enter`, `leave`: beats of that grid
    between which it is played. `ratio`: its beats per beat of the clock: 0.5, 1 or 2. `gain_db`:
    trim. `stems`: their names in the deck's order, none of a single file. `transition`: into
    the next track; None: it plays on to `leave`, and the next one enters then. `confidence`: of
    its beat grid, 0 to 1.
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
    line: int = field(default=0, compare=False)

    @property
    def uncertain(self) -> bool:
        """Whether its beat grid may be wrong."""
        return self.confidence < CERTAIN

    @property
    def bpm(self) -> float:
        """Beats a minute of its grid, of a moving one the mean."""
        (first, begin), (last, end) = self.anchors[0], self.anchors[-1]
        return 60.0 * (last - first) / (end - begin)

    def second(self, beat: float) -> float:
        """Where a beat of its grid is in the file."""
        pairs = self.anchors
        at = next((n for n in range(1, len(pairs) - 1) if pairs[n][0] >= beat), len(pairs) - 1)
        (left, begin), (right, end) = pairs[at - 1], pairs[at]
        return begin + (beat - left) * (end - begin) / (right - left)

    @property
    def beats(self) -> float:
        """How long it is played, in beats of the clock."""
        return (self.leave - self.enter) / self.ratio

    @property
    def overlap(self) -> float:
        """Beats of the clock at its end that the next track is there, too."""
        return self.transition.beats if self.transition else 0.0


@dataclass(frozen=True)
class Set:
    """A set. `bpm`: the tempo that the clock begins with.

    Of one whose first tracks have been played and forgotten, `begin` is the beat at which the
    first of the others has begun, and `came` how many beats after that it was alone.
    """

    bpm: float
    entries: tuple[SetEntry, ...]
    title: str = ""
    why: str = ""
    begin: float = 0.0
    came: float = 0.0

    def appended(self, transition: Transition | None, leave: float, entry: SetEntry) -> Self:
        """With another track at the end; `leave` and `transition` are the last one's so far."""
        *before, last = self.entries
        last = replace(last, leave=leave, transition=transition)
        return replace(self, entries=(*before, last, entry))


def stem_number(stems: Sequence[str], name: str) -> int | None:
    """The number of the stem with that name, the first is 1; None where there is none."""
    lowered = [stem.lower() for stem in stems]
    return lowered.index(name.lower()) + 1 if name.lower() in lowered else None
