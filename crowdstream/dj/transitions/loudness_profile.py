"""Predict the loudness of a mix during a transition from the analyses and the automation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from crowdstream.dj.setfile.automation import stem_gain
from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint
from crowdstream.dj.transitions.base import Side, TransitionContext

FLOOR = 1e-7
UNHEARD_STEP_DB = 1.0  # change of loudness across a transition that nobody notices
MAX_LIFT_DB = 3.0  # a larger offset would weaken a drop
LOUDEST_DB = 4.5  # peak level above full scale that the limiter handles for a while
LIFT_BEATS = 64.0  # ramp back to the track's own trim: 0.1 dB per second
BESIDE_BEATS = 32.0  # length of the parts before and after whose loudness is compared
EASY_DB = 2.0  # deviation of the mix from both sides that costs nothing
COURSE_COST = 0.06  # cost per dB beyond that, on average


def loudness(meeting: TransitionContext, rows: Sequence[AutomationPoint], beat: float) -> float:
    """Return the loudness in dB of the mix in the bar around a beat of the transition.

    Both tracks are assumed to be trimmed to the same integrated loudness.
    """
    power = _power(meeting.out, rows, "out", beat) if beat < meeting.beats else 0.0
    power += _power(meeting.into, rows, "in", beat) if beat >= 0 else 0.0
    return 10 * math.log10(max(power, FLOOR))


def _power(side: Side, rows: Sequence[AutomationPoint], who: str, beat: float) -> float:
    facts = side.facts
    at = side.at(beat)
    bar = math.floor((at - facts.analysis.first_bar_beat) / BEATS_PER_BAR)
    if not 0 <= bar < facts.count:
        return 0.0
    total = 0.0
    for name, powers in facts.powers:
        gain = stem_gain(rows, "out" if who == "out" else "in", facts.stems, name, beat)
        total += float(powers[bar]) * gain * gain
    return total * 10 ** (-facts.analysis.loudness.lufs / 10)


def lift(meeting: TransitionContext, gain_out: float, gain_in: float) -> float:
    """Return the offset in dB for the incoming track's trim at the start of the transition.

    It keeps the step in loudness from one track to the next below what listeners notice.
    `gain_out`, `gain_in`: the tracks' trims in dB.
    """
    before, after = _beside(meeting)
    out, into = meeting.out.facts.analysis.loudness, meeting.into.facts.analysis.loudness
    step = (after + into.lufs + gain_in) - (before + out.lufs + gain_out)
    beyond = max(0.0, abs(step) - UNHEARD_STEP_DB)
    wanted = round(min(MAX_LIFT_DB, beyond), 1)
    return -wanted if step > 0 else min(wanted, max(0.0, round(LOUDEST_DB - into.peak_db - gain_in,
                                                               1)))  # fmt: skip


def lifted(meeting: TransitionContext, gain: float, lift: float) -> list[AutomationPoint]:
    """Automate the trim offset: start with it, then ramp slowly back to the track's own trim."""
    if not lift:
        return []
    return [
        AutomationPoint(0, "in", "trim", round(gain + lift, 2)),
        AutomationPoint(meeting.beats + LIFT_BEATS / 4, "in", "trim", gain, LIFT_BEATS),
    ]


def _beside(meeting: TransitionContext) -> tuple[float, float]:
    # Loudness before and after, relative to each track's integrated loudness.
    return (_around(meeting.out, -BESIDE_BEATS), _around(meeting.into, meeting.beats))


def _around(side: Side, beat: float) -> float:
    loud = side.facts.loudness(side.at(beat), side.at(beat + BESIDE_BEATS))
    return loud - side.facts.analysis.loudness.lufs


def cost(meeting: TransitionContext, rows: Sequence[AutomationPoint]) -> float:
    """Return the cost of a mix that is softer or louder than the parts before and after it."""
    if not meeting.bars:
        return 0.0
    sides = _beside(meeting)
    beyond = 0.0
    places = np.arange(0.5 * BEATS_PER_BAR, meeting.beats, BEATS_PER_BAR)
    for beat in places:
        level = loudness(meeting, rows, float(beat))
        beyond += max(0.0, min(sides) - level - EASY_DB, level - max(sides) - EASY_DB)
    return COURSE_COST * beyond / len(places)
