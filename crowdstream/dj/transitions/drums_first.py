"""Drums first: bring in the drums, then replace everything else on one beat."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    EASY_CHANGE,
    GONE_BEATS,
    HANDOVER_BEATS,
    SWAP_BEATS,
    Fit,
    TransitionContext,
    tempo_rows,
)

KIND = "drums first"
BARS: tuple[float, ...] = (8, 16)
TURN = 0.5
MELODIES = 0.0
BEATMATCHED = True
UNDER = 0.6  # linear gain of one track's drums under the full other track: 1 to 2 dB more than it


def fit(meeting: TransitionContext) -> Fit:
    """Rate it: needs drum stems on both sides, active in the incoming track; keys matter little."""
    if not meeting.into.has("drums") or not meeting.out.has("drums"):
        return Fit(0.0, "both tracks need a drum stem")
    facts = meeting.into.facts
    half = meeting.beats / 2
    drums = facts.mean(facts.activity("drums"), meeting.into.at(0), meeting.into.at(half))
    if drums < 0.3:
        return Fit(0.0, "the incoming track has no drums there")
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    clash = 0.15 if meeting.key.cost > 0.3 else 0.0
    score = (0.45 + 0.2 * drums + clash) * (1 - 0.4 * min(1.0, hurry))
    return Fit(score, "the incoming drums carry the change; the melodies never overlap")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """Fade in the drums over the first half; swap everything else on one beat in the middle."""
    half = meeting.beats / 2
    others_in = [name for name in meeting.into.facts.stems if name != "drums"]
    others_out = [name for name in meeting.out.facts.stems if name != "drums"]
    return [
        *(AutomationPoint(0, "in", name, 0) for name in others_in),
        AutomationPoint(0, "in", "drums", 0),
        AutomationPoint(0, "in", "drums", UNDER, half),
        AutomationPoint(half - HANDOVER_BEATS, "out", "drums", UNDER, HANDOVER_BEATS),
        *(AutomationPoint(half - SWAP_BEATS, "out", name, 0, GONE_BEATS) for name in others_out),
        *(AutomationPoint(half, "in", name, 1, 0.25) for name in others_in),
        AutomationPoint(half, "in", "drums", 1, HANDOVER_BEATS),
        AutomationPoint(half, "out", "drums", 0, half),
        *tempo_rows(meeting),
    ]
