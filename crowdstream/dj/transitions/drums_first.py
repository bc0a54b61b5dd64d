"""Drums first: the coming track's drums, then all of it at once in the place of the other."""

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
UNDER = 0.6  # gain of one track's drums under the other one in full: 1 to 2 dB more than that


def fit(meeting: TransitionContext) -> Fit:
    """For a coming track with a stem of drums that play there; the keys hardly matter."""
    if not meeting.into.has("drums") or not meeting.out.has("drums"):
        return Fit(0.0, "it takes stems of drums on both sides")
    facts = meeting.into.facts
    half = meeting.beats / 2
    drums = facts.mean(facts.activity("drums"), meeting.into.at(0), meeting.into.at(half))
    if drums < 0.3:
        return Fit(0.0, "the coming track has no drums there")
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    clash = 0.15 if meeting.key.cost > 0.3 else 0.0
    score = (0.45 + 0.2 * drums + clash) * (1 - 0.4 * min(1.0, hurry))
    return Fit(score, "the coming drums carry the change, melodies never meet")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """Drums come up in the first half; in the middle everything else changes on one beat."""
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
