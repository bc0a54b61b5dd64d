"""What a transition is given, and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crowdstream.dj.key_compatibility import KeyFit
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint
from crowdstream.dj.track_features import TrackFeatures

EASY_CHANGE = 0.02  # of the tempo: nobody notices while a phrase passes
RIDE_BEATS = 64.0  # in which the tempo moves before a transition: 4 percent in 30 s are not heard
MIN_RIDE_BEATS = 32.0
SWAP_BEATS = 1.0  # before the other one comes, in which a bass goes
GONE_BEATS = 0.75  # that this takes: the last of it has left the mix before the other one is there
HANDOVER_BEATS = 4.0  # that a voice or a melody takes to go


@dataclass(frozen=True)
class Side:
    """A track in a transition. `beat`: of its grid, as the transition begins.

    `alone`: beats of the clock that it has played by itself until then.
    """

    facts: TrackFeatures
    beat: float
    ratio: float = 1.0
    alone: float = 0.0

    def at(self, beat: float) -> float:
        """The beat of its grid at a beat of the transition."""
        return self.beat + beat * self.ratio

    def sings(self, begin: float, end: float) -> bool:
        """Whether there is a voice between two beats of the transition."""
        return self.facts.sings(self.at(begin), self.at(end))

    def energy(self, begin: float, end: float) -> float:
        """Between two beats of the transition."""
        return self.facts.energy(self.at(begin), self.at(end))

    def has(self, *stems: str) -> bool:
        """Whether it has these stems."""
        return self.facts.has(*stems)


@dataclass(frozen=True)
class TransitionContext:
    """Two tracks that are to meet. `bars`: of the clock; `tempo`, `target`: before and after.

    `limit`: how far the tempo may move while a track plays, 0.06 is 6 percent.
    """

    out: Side
    into: Side
    bars: float
    tempo: float
    target: float
    key: KeyFit
    limit: float = 0.06

    @property
    def beats(self) -> float:
        """Length in beats of the clock."""
        return self.bars * BEATS_PER_BAR

    @property
    def change(self) -> float:
        """Of the tempo: 0.02 is 2 percent, up or down."""
        return abs(self.target / self.tempo - 1)

    @property
    def lift(self) -> float:
        """How much more energetic the coming track is, -1 to 1."""
        return self.into.facts.analysis.level - self.out.facts.analysis.level


@dataclass(frozen=True)
class Fit:
    """How well a transition suits a meeting, 0 to 1, and why."""

    score: float
    why: str


class TransitionKind(Protocol):
    """A module of this package.

    `BARS`: lengths that are tried. `TURN`: the share of it after which the coming track leads.
    `MELODIES`: both tracks are heard with pitches at once, for about this share of it.
    `BEATMATCHED`: both play together, so that the tempo has to be near.
    """

    KIND: str
    BARS: tuple[float, ...]
    TURN: float
    MELODIES: float
    BEATMATCHED: bool

    def fit(self, meeting: TransitionContext) -> Fit:
        """When it fits, and why."""
        ...

    def rows(self, meeting: TransitionContext) -> list[AutomationPoint]:
        """The moves, in beats after the transition's begin."""
        ...


def tempo_rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """The clock goes to the coming track's tempo while both play."""
    if abs(meeting.target - meeting.tempo) < 1e-6:
        return []
    return [AutomationPoint(0, "clock", "tempo", meeting.target, meeting.beats)]


def rides(meeting: TransitionContext) -> bool:
    """Whether the clock can move to the coming track's tempo before it comes, unnoticed."""
    return meeting.change <= meeting.limit + 1e-9 and meeting.out.alone >= MIN_RIDE_BEATS


def lone_tempo_rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """The clock goes to the coming track's tempo while the first one is alone, slowly; where they
    are too far apart for that, at once, when nothing else is left to hear."""
    if abs(meeting.target - meeting.tempo) < 1e-6:
        return []
    if rides(meeting):
        beats = min(RIDE_BEATS, meeting.out.alone)
        return [AutomationPoint(-beats, "clock", "tempo", meeting.target, beats)]
    return [AutomationPoint(meeting.beats, "clock", "tempo", meeting.target)]


def bass_of(side: Side) -> str:
    """The control that takes its bass away: the stem, else the EQ's low band."""
    return "bass" if side.has("bass") else "low"


def swap_bass(meeting: TransitionContext, beat: float) -> list[AutomationPoint]:
    """Only one bass at any time: the coming one is out until `beat`, the other one from then on."""
    rows = [
        AutomationPoint(0, "in", bass_of(meeting.into), 0),
        AutomationPoint(beat - SWAP_BEATS, "out", bass_of(meeting.out), 0, GONE_BEATS),
        AutomationPoint(beat, "in", bass_of(meeting.into), 1, 0.25),
    ]
    # A bass drum with its lows is bass, too, where there are stems to say so only on one side.
    if bass_of(meeting.into) != bass_of(meeting.out):
        side = meeting.into if meeting.into.has("bass") else meeting.out
        if side is meeting.into:
            rows += [
                AutomationPoint(0, "in", "low", 0),
                AutomationPoint(beat, "in", "low", 1, 0.25),
            ]
        else:
            rows.append(AutomationPoint(beat - SWAP_BEATS, "out", "low", 0, GONE_BEATS))
    return rows


def swap_voices(meeting: TransitionContext, beat: float) -> list[AutomationPoint]:
    """Only one voice at any time, where the voices have stems: handed over at `beat`."""
    rows: list[AutomationPoint] = []
    out_sings = meeting.out.sings(0, meeting.beats)
    in_sings = meeting.into.sings(0, meeting.beats)
    if meeting.out.has("vocals") and out_sings:
        rows.append(AutomationPoint(beat - HANDOVER_BEATS, "out", "vocals", 0, HANDOVER_BEATS))
    if meeting.into.has("vocals") and in_sings and meeting.out.sings(0, beat):
        rows += [
            AutomationPoint(0, "in", "vocals", 0),
            AutomationPoint(beat, "in", "vocals", 1, 0.5),
        ]
    return rows
