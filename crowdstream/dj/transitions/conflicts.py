"""Voice over voice and bass over bass: foretold from the analyses and the moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crowdstream.dj.setfile.automation import heard
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Who
from crowdstream.dj.track_features import BASS, VOICE

if TYPE_CHECKING:
    from crowdstream.dj.transitions.base import Side, TransitionContext

AUDIBLE = 0.1  # gain from which a voice or a bass beside another one is noticed: -20 dB


@dataclass(frozen=True)
class Conflicts:
    """Bars of a transition in which two voices or two basses are heard at once."""

    voice_bars: int
    bass_bars: int


def clashes(meeting: TransitionContext, rows: Sequence[AutomationPoint]) -> Conflicts:
    """Counted in half bars, since a swap may be in the middle of one; given in bars, rounded up."""
    counts = {"vocals": 0, "bass": 0}
    half = BEATS_PER_BAR / 2
    steps = int(meeting.beats / half)
    if not steps:
        return Conflicts(0, 0)
    for step in range(steps):
        # Where a swap has just come about: three quarters into each half bar.
        beat = half * step
        for part in counts:
            counts[part] += all(
                _gives(meeting, rows, who, side, part, beat)
                for who, side in (("out", meeting.out), ("in", meeting.into))
            )
    return Conflicts((counts["vocals"] + 1) // 2, (counts["bass"] + 1) // 2)


def _gives(
    meeting: TransitionContext,
    rows: Sequence[AutomationPoint],
    who: str,
    side: Side,
    part: str,
    beat: float,
) -> bool:
    facts = side.facts
    middle = side.at(beat + 0.25)
    bars = facts.bars(middle, middle + 0.1)
    if part == "vocals":
        there = any(facts.voice[bar] > VOICE for bar in bars)
    else:
        line = facts.activity("bass")
        there = any(line[bar] > BASS for bar in bars if bar < len(line))
    if not there:
        return False
    whose: Who = "out" if who == "out" else "in"
    return heard(rows, whose, facts.stems, part, beat + 0.3) > AUDIBLE
