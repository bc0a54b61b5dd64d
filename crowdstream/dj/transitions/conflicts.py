"""Predict clashes of vocals with vocals and bass with bass from the analyses and the automation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crowdstream.dj.setfile.automation import audible_gain
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Target
from crowdstream.dj.track_features import BASS_THRESHOLD, VOCAL_THRESHOLD

if TYPE_CHECKING:
    from crowdstream.dj.transitions.base import Side, TransitionContext

AUDIBLE = 0.1  # linear gain above which vocals or bass are noticed beside others: -20 dB


@dataclass(frozen=True)
class Conflicts:
    """Bars of a transition in which two vocals or two basses are audible at once."""

    voice_bars: int
    bass_bars: int


def clashes(context: TransitionContext, rows: Sequence[AutomationPoint]) -> Conflicts:
    """Count clashing bars, rounded up, in steps of half a bar: a swap may be in mid-bar."""
    counts = {"vocals": 0, "bass": 0}
    half = BEATS_PER_BAR / 2
    steps = int(context.beats / half)
    if not steps:
        return Conflicts(0, 0)
    for step in range(steps):
        # Sampled shortly after the step, when a swap on this beat has just been carried out.
        beat = half * step
        for part in counts:
            counts[part] += all(
                _is_audible(context, rows, target, side, part, beat)
                for target, side in (("out", context.out), ("in", context.into))
            )
    return Conflicts((counts["vocals"] + 1) // 2, (counts["bass"] + 1) // 2)


def _is_audible(
    context: TransitionContext,
    rows: Sequence[AutomationPoint],
    target: str,
    side: Side,
    part: str,
    beat: float,
) -> bool:
    features = side.features
    middle = side.at(beat + 0.25)
    bars = features.bars(middle, middle + 0.1)
    if part == "vocals":
        there = any(features.voice[bar] > VOCAL_THRESHOLD for bar in bars)
    else:
        line = features.activity("bass")
        there = any(line[bar] > BASS_THRESHOLD for bar in bars if bar < len(line))
    if not there:
        return False
    target_name: Target = "out" if target == "out" else "in"
    return audible_gain(rows, target_name, features.stems, part, beat + 0.3) > AUDIBLE
