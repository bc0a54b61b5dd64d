"""Highs out: the incoming track takes over on the phrase; the outgoing hi-hats fade over it."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    FADE_LEAD_BEATS,
    FADE_OUT_BEATS,
    MID_FADE_BEATS,
    Fit,
    TransitionContext,
    bass_of,
    tempo_rows,
    tempo_strain,
)

KIND = "highs out"
LENGTHS: dict[float, float] = {4: 1.0, 8: 1.0}  # bars: factor on the score
BARS = tuple(LENGTHS)
LEAD_AT = 0.0
MELODY_OVERLAP = 0.1
BEATMATCHED = True
UNDER_GAIN = 0.7  # linear gain of the outgoing highs under the incoming track


def fit(context: TransitionContext) -> Fit:
    """Rate it: suits an incoming track that starts there with energy; keys matter little."""
    after = context.into.energy(0, 16)
    if after < 0.3:
        return Fit(0.0, "the incoming track does not start with enough energy")
    score = (0.4 + 0.25 * after) * LENGTHS.get(context.bars, 0.8)
    score *= 1 - 0.4 * tempo_strain(context)
    return Fit(score, "the new track takes over; the old hi-hats fade out over it")


def rows(context: TransitionContext) -> list[AutomationPoint]:
    """On the first beat, mids and lows change; then the highs that are left fade out."""
    low = bass_of(context.out)
    return [
        AutomationPoint(-MID_FADE_BEATS, "out", "mid", 0, MID_FADE_BEATS),
        *(
            AutomationPoint(-FADE_LEAD_BEATS, "out", band, 0, FADE_OUT_BEATS)
            for band in sorted({"low", low})
        ),
        AutomationPoint(-MID_FADE_BEATS, "out", "high", UNDER_GAIN, MID_FADE_BEATS),
        AutomationPoint(0, "out", "high", 0, context.beats),
        *tempo_rows(context),
    ]
