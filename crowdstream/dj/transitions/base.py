"""The interface of a transition kind, its input and output, and moves that several kinds share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from crowdstream.dj.key_compatibility import KeyFit
from crowdstream.dj.setfile.controls import addresses_stem
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint
from crowdstream.dj.track_features import TrackFeatures

EASY_CHANGE = 0.02  # tempo change that nobody notices over a phrase
HARD_CHANGE = 0.06  # tempo change at which a transition suits two tracks least
RIDE_BEATS = 64.0  # tempo ride beside a transition: 4 percent in 30 s are not noticed
MIN_RIDE_BEATS = 32.0
FADE_LEAD_BEATS = 1.0  # the outgoing bass starts to fade this long before the incoming one enters
FADE_OUT_BEATS = 0.75  # length of that fade: the old bass has left the mix when the new one enters
MID_FADE_BEATS = 0.5  # fade of the outgoing mids, until the incoming ones enter
HANDOVER_BEATS = 4.0  # fade of vocals or a melody


@dataclass(frozen=True)
class Side:
    """A track in a transition.

    `beat`: of its own grid, at the start of the transition. `solo_beats`: clock beats that it has
    played by itself until then.
    """

    features: TrackFeatures
    beat: float
    ratio: float = 1.0
    solo_beats: float = 0.0

    def at(self, beat: float) -> float:
        """Return the beat of the track's grid at a beat of the transition."""
        return self.beat + beat * self.ratio

    def has_vocals(self, begin: float, end: float) -> bool:
        """Return whether there are vocals between two beats of the transition."""
        return self.features.has_vocals(self.at(begin), self.at(end))

    def energy(self, begin: float, end: float) -> float:
        """Return the mean energy, 0 to 1, between two beats of the transition."""
        return self.features.energy(self.at(begin), self.at(end))

    def has(self, *stems: str) -> bool:
        """Return whether the track has all these stems."""
        return self.features.has(*stems)

    @property
    def stems_named_like_controls(self) -> bool:
        """Whether automation cannot reach each stem, because of stems such as "echo" or "loop"."""
        return not all(map(addresses_stem, self.features.stems))


@dataclass(frozen=True)
class TransitionContext:
    """Two tracks to be mixed.

    `bars`: length of the overlap in clock bars. `tempo`, `target`: of the clock in beats per
    minute, before and after. `limit`: maximum tempo change while a track plays, 0.06 is 6 percent.
    `ride`: the tempo changes before and after the overlap instead of during it.
    """

    out: Side
    into: Side
    bars: float
    tempo: float
    target: float
    key: KeyFit
    limit: float = 0.06
    ride: bool = False

    @property
    def beats(self) -> float:
        """Length in clock beats."""
        return self.bars * BEATS_PER_BAR

    @property
    def change(self) -> float:
        """Relative change of tempo, up or down: 0.02 is 2 percent."""
        return abs(self.target / self.tempo - 1)

    @property
    def meeting(self) -> float:
        """Tempo of the clock in beats per minute while both tracks play, if it rides there."""
        return round(math.sqrt(self.tempo * self.target), 4)

    @property
    def strain(self) -> float:
        """Largest tempo change of one of the tracks while both play, 0.02 is 2 percent."""
        return abs(self.meeting / self.tempo - 1) if self.ride else self.change

    @property
    def drive(self) -> float:
        """Mean energy of both tracks during the overlap, 0 to 1."""
        return 0.5 * (self.out.energy(0, self.beats) + self.into.energy(0, self.beats))

    @property
    def energy_rise(self) -> float:
        """Rise in energy from the outgoing to the incoming track, -1 to 1."""
        return self.into.features.analysis.level - self.out.features.analysis.level


@dataclass(frozen=True)
class Fit:
    """How well a transition suits two tracks, 0 to 1, and why."""

    score: float
    why: str


class TransitionKind(Protocol):
    """The interface of this package's modules.

    `BARS`: lengths to try, in bars. `LEAD_AT`: share of the length after which the incoming track
    leads. `MELODY_OVERLAP`: share of the length during which both tracks have audible pitches.
    `BEATMATCHED`: both tracks play in sync, so their tempos have to be close.
    """

    KIND: str
    BARS: tuple[float, ...]
    LEAD_AT: float
    MELODY_OVERLAP: float
    BEATMATCHED: bool

    def fit(self, context: TransitionContext) -> Fit:
        """Rate how well this kind suits two tracks."""
        ...

    def rows(self, context: TransitionContext) -> list[AutomationPoint]:
        """Return the automation points, in beats after the start of the transition."""
        ...


def tempo_strain(context: TransitionContext) -> float:
    """Return how much the change of tempo is noticed while both tracks play, 0 to 1."""
    return min(1.0, max(0.0, context.strain - EASY_CHANGE) / (HARD_CHANGE - EASY_CHANGE))


def tempo_rows(context: TransitionContext) -> list[AutomationPoint]:
    """Ramp the clock to the incoming track's tempo while both tracks play.

    If it rides: before that half of the way, while the outgoing track plays alone, and the other
    half afterwards. So each of the two bears half of the change while both play.
    """
    if abs(context.target - context.tempo) < 1e-6:
        return []
    if not context.ride:
        return [AutomationPoint(0, "clock", "tempo", context.target, context.beats)]
    before = min(RIDE_BEATS, context.out.solo_beats)
    return [
        AutomationPoint(-before, "clock", "tempo", context.meeting, before),
        AutomationPoint(context.beats, "clock", "tempo", context.target, RIDE_BEATS),
    ]


def can_ride(context: TransitionContext) -> bool:
    """Return whether a ride is worthwhile, and both tracks play alone for long enough."""
    alone = (context.into.features.end - context.into.at(context.beats)) / context.into.ratio
    alone = min(context.out.solo_beats, alone)
    return context.change > EASY_CHANGE and alone >= MIN_RIDE_BEATS


def rides_alone(context: TransitionContext) -> bool:
    """Return whether the clock can ride to the new tempo unnoticed before the transition."""
    return context.change <= context.limit + 1e-9 and context.out.solo_beats >= MIN_RIDE_BEATS


def lone_tempo_rows(context: TransitionContext) -> list[AutomationPoint]:
    """Ramp the clock slowly to the incoming track's tempo while the outgoing one plays alone.

    If the tempos are too far apart for that, change at once when the outgoing track has ended.
    """
    if abs(context.target - context.tempo) < 1e-6:
        return []
    if rides_alone(context):
        beats = min(RIDE_BEATS, context.out.solo_beats)
        return [AutomationPoint(-beats, "clock", "tempo", context.target, beats)]
    return [AutomationPoint(context.beats, "clock", "tempo", context.target)]


def bass_of(side: Side) -> str:
    """Return the control that removes a track's bass: the bass stem, else the EQ's low band."""
    return "bass" if side.has("bass") else "low"


def swap_bass(context: TransitionContext, beat: float) -> list[AutomationPoint]:
    """Swap the basses at `beat`, so that only one of them is audible at any time."""
    rows = [
        AutomationPoint(0, "in", bass_of(context.into), 0),
        AutomationPoint(beat - FADE_LEAD_BEATS, "out", bass_of(context.out), 0, FADE_OUT_BEATS),
        AutomationPoint(beat, "in", bass_of(context.into), 1, 0.25),
    ]
    # With a bass stem on one side only, swap the low EQ band too: a kick drum's lows are bass.
    if bass_of(context.into) != bass_of(context.out):
        side = context.into if context.into.has("bass") else context.out
        if side is context.into:
            rows += [
                AutomationPoint(0, "in", "low", 0),
                AutomationPoint(beat, "in", "low", 1, 0.25),
            ]
        else:
            rows.append(AutomationPoint(beat - FADE_LEAD_BEATS, "out", "low", 0, FADE_OUT_BEATS))
    return rows


def swap_voices(context: TransitionContext, beat: float) -> list[AutomationPoint]:
    """Hand over the vocals at `beat`, if they have stems: one voice at any time."""
    rows: list[AutomationPoint] = []
    out_sings = context.out.has_vocals(0, context.beats)
    in_sings = context.into.has_vocals(0, context.beats)
    if context.out.has("vocals") and out_sings:
        rows.append(AutomationPoint(beat - HANDOVER_BEATS, "out", "vocals", 0, HANDOVER_BEATS))
    if context.into.has("vocals") and in_sings and context.out.has_vocals(0, beat):
        rows += [
            AutomationPoint(0, "in", "vocals", 0),
            AutomationPoint(beat, "in", "vocals", 1, 0.5),
        ]
    return rows
