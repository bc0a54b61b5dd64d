"""Predict clashes of vocals with vocals and bass with bass from the analyses and the automation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crowdstream.dj.setfile.automation import heard
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Who
from crowdstream.dj.track_features import BASS, VOICE

if TYPE_CHECKING:
    from crowdstream.dj.transitions.base import Side, TransitionContext

AUDIBLE = 0.1  # linear gain above which vocals or bass are noticed beside others: -20 dB


@dataclass(frozen=True)
class Conflicts:
    """Bars of a transition in which two vocals or two basses are audible at once."""

    voice_bars: int
    bass_bars: int


def clashes(meeting: TransitionContext, rows: Sequence[AutomationPoint]) -> Conflicts:
    """Count clashing bars, rounded up, in steps of half a bar: a swap may be in mid-bar."""
    counts = {"vocals": 0, "bass": 0}
    half = BEATS_PER_BAR / 2
    steps = int(meeting.beats / half)
    if not steps:
        return Conflicts(0, 0)
    for step in range(steps):
        # Sampled shortly after the step, when a swap on this beat has just been carried out.
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
