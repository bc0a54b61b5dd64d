"""Evaluate a transition's automation: control values and resulting gains at a beat."""

from __future__ import annotations

import math
from collections.abc import Sequence

from crowdstream.dj.setfile.controls import addresses_stem
from crowdstream.dj.setfile.model import AutomationPoint, Target

# Typical shares of the EQ's bands in the K-weighted power of a mix: below 250 Hz, above 2.5 kHz,
# and between.
BAND_SHARES = (0.3, 0.45, 0.25)
START = {"filter": 0.0, "echo": 0.0, "reverb": 0.0, "flanger": 0.0, "roll": 0.0, "loop": 0.0}


def value(rows: Sequence[AutomationPoint], target: Target, control: str, beat: float) -> float:
    """Return a control's value at a beat of the transition.

    Effects start at 0 (see `START`), all other controls at 1.
    """
    now = START.get(control, 1.0)
    if not any(row.control == control and row.target == target for row in rows):
        return now
    mine = sorted(
        (r for r in rows if r.target == target and r.control == control), key=lambda r: r.at
    )
    for number, row in enumerate(mine):
        if row.at > beat:
            break
        until = mine[number + 1].at if number + 1 < len(mine) else beat
        passed = min(beat, until) - row.at
        share = min(1.0, passed / row.over) if row.over else 1.0
        now += (row.value - now) * share
    return now


def audible_gain(
    rows: Sequence[AutomationPoint], target: Target, stems: Sequence[str], part: str, beat: float
) -> float:
    """Return the linear gain of "vocals" or "bass" on one side of a transition.

    Without a stem of that name, EQ bands stand in for it: the mids for vocals, the lows and a
    high-pass filter for the bass.
    """
    gain = value(rows, target, "level", beat)
    if part == "bass":
        gain *= _low_gain(rows, target, beat)
    if part == "vocals":
        gain *= value(rows, target, "mid", beat)
    if part in stems:
        gain *= value(rows, target, part, beat)
    return gain


def _low_gain(rows: Sequence[AutomationPoint], target: Target, beat: float) -> float:
    high_pass = max(0.0, value(rows, target, "filter", beat))
    return value(rows, target, "low", beat) * max(0.0, 1.0 - 2.5 * high_pass)


def stem_gain(
    rows: Sequence[AutomationPoint], target: Target, stems: Sequence[str], stem: str, beat: float
) -> float:
    """Return the linear gain of a stem on one side; with an empty name, of the whole track."""
    if stem in ("bass", "vocals"):
        return audible_gain(rows, target, stems, stem, beat)
    gain = audible_gain(rows, target, stems, "", beat)
    bands = (
        _low_gain(rows, target, beat),
        value(rows, target, "mid", beat),
        value(rows, target, "high", beat),
    )
    power = sum(share * band**2 for share, band in zip(BAND_SHARES, bands, strict=True))
    gain *= math.sqrt(power)
    if stem and addresses_stem(stem):
        gain *= value(rows, target, stem, beat)
    return gain
