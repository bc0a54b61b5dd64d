"""Predict the loudness of a mix during a transition from the analyses and the automation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from crowdstream.dj.setfile.automation import stem_gain, value
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint
from crowdstream.dj.transitions.base import Side, TransitionContext

FLOOR = 1e-7
UNNOTICED_STEP_DB = 0.3  # change of loudness across a transition that needs no trim
MAX_TRIM_OFFSET_DB = 6.0  # the largest difference between sections that usually follow each other
MAX_PEAK_DB = 4.5  # peak level above full scale that the limiter handles for a while
TRIM_HOLD_BEATS = 32.0  # after the transition, until the ramp back to the track's own trim begins
MIN_TRIM_RAMP_BEATS, TRIM_RAMP_BEATS_PER_DB = 64.0, 20.0  # about 0.1 dB per second, not noticed
COMPARED_BEATS = 32.0  # length of the parts before and after whose loudness is compared
TOLERANCE_DB = 2.0  # deviation of the mix from both sides that costs nothing
DEVIATION_COST = 0.06  # cost per dB beyond that, on average


def loudness(context: TransitionContext, rows: Sequence[AutomationPoint], beat: float) -> float:
    """Return the loudness in dB of the mix in the bar around a beat of the transition.

    Both tracks are assumed to be trimmed to the same integrated loudness.
    """
    power = _power(context.out, rows, "out", beat) if beat < context.beats else 0.0
    power += _power(context.into, rows, "in", beat) if beat >= 0 else 0.0
    return 10 * math.log10(max(power, FLOOR))


def _power(side: Side, rows: Sequence[AutomationPoint], target: str, beat: float) -> float:
    features = side.features
    at = side.at(beat)
    bar = math.floor((at - features.analysis.first_bar_beat) / BEATS_PER_BAR)
    if not 0 <= bar < features.count:
        return 0.0
    total = 0.0
    for name, powers in features.powers:
        gain = stem_gain(rows, "out" if target == "out" else "in", features.stems, name, beat)
        total += float(powers[bar]) * gain * gain
    return total * 10 ** (-features.analysis.loudness.lufs / 10)


def trim_offset(context: TransitionContext, gain_out: float, gain_in: float) -> float:
    """Return the offset in dB for the incoming track's trim at the start of the transition.

    It keeps the step in loudness from one track to the next below what listeners notice.
    `gain_out`, `gain_in`: the tracks' trims in dB.
    """
    before, after = _outer_loudness(context)
    out, into = context.out.features.analysis.loudness, context.into.features.analysis.loudness
    step = (after + into.lufs + gain_in) - (before + out.lufs + gain_out)
    beyond = max(0.0, abs(step) - UNNOTICED_STEP_DB)
    wanted = round(min(MAX_TRIM_OFFSET_DB, beyond), 1)
    return -wanted if step > 0 else min(wanted, max(0.0, round(MAX_PEAK_DB - into.peak_db - gain_in,
                                                               1)))  # fmt: skip


def trim_offset_rows(
    context: TransitionContext, gain: float, trim_offset: float
) -> list[AutomationPoint]:
    """Automate the trim offset: start with it, then ramp slowly back to the track's own trim."""
    if not trim_offset:
        return []
    return [
        AutomationPoint(0, "in", "trim", round(gain + trim_offset, 2)),
        AutomationPoint(context.beats + TRIM_HOLD_BEATS, "in", "trim", gain,
                        max(MIN_TRIM_RAMP_BEATS, TRIM_RAMP_BEATS_PER_DB * abs(trim_offset))),
    ]  # fmt: skip


def trim_at(rows: Sequence[AutomationPoint], gain: float, beat: float) -> float:
    """Return the trim in dB of a track whose own trim is `gain`, at a beat of its mix-in.

    `rows`: the automation of that transition.
    """
    trims = [row for row in rows if row.target == "in" and row.control == "trim"]
    return value(trims, "in", "trim", beat) if trims else gain


def _outer_loudness(context: TransitionContext) -> tuple[float, float]:
    # Loudness before and after, relative to each track's integrated loudness.
    return (
        _relative_loudness(context.out, -COMPARED_BEATS),
        _relative_loudness(context.into, context.beats),
    )


def _relative_loudness(side: Side, beat: float) -> float:
    loud = side.features.loudness(side.at(beat), side.at(beat + COMPARED_BEATS))
    return loud - side.features.analysis.loudness.lufs


def cost(context: TransitionContext, rows: Sequence[AutomationPoint]) -> float:
    """Return the cost of a mix that is softer or louder than the parts before and after it."""
    if not context.bars:
        return 0.0
    sides = _outer_loudness(context)
    beyond = 0.0
    places = np.arange(0.5 * BEATS_PER_BAR, context.beats, BEATS_PER_BAR)
    for beat in places:
        level = loudness(context, rows, float(beat))
        beyond += max(0.0, min(sides) - level - TOLERANCE_DB, level - max(sides) - TOLERANCE_DB)
    return DEVIATION_COST * beyond / len(places)
