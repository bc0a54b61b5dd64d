"""Drop swap: the incoming track's build under the outgoing track, which its drop then replaces."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.transitions.base import (
    EASY_CHANGE,
    GONE_BEATS,
    SWAP_BEATS,
    Fit,
    TransitionContext,
    bass_of,
    swap_voices,
    tempo_rows,
)

KIND = "drop swap"
BARS: tuple[float, ...] = (4, 8, 16)
TURN = 1.0
MELODIES = 0.6
BEATMATCHED = True
UNDER = 0.6  # linear gain of the build under a track at full level


def fit(meeting: TransitionContext) -> Fit:
    """Rate it: needs a drop of the incoming track at the end of the transition."""
    place = meeting.into.at(meeting.beats)
    if not any(abs(place - drop) < 1e-6 for drop in meeting.into.facts.starts("drop")):
        return Fit(0.0, "the incoming track has no drop at the end of the transition")
    before = meeting.into.energy(0, meeting.beats)
    after = meeting.into.energy(meeting.beats, meeting.beats + 32)
    rise = max(0.0, min(1.0, after - before))
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    score = (0.7 + 0.3 * rise + 0.1 * max(0.0, meeting.lift)) * (1 - 0.5 * min(1.0, hurry))
    return Fit(min(1.0, score), "the drop lands on the phrase where the outgoing track ends")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """Fade in the build without its bass; on the drop, everything changes."""
    beats = meeting.beats
    handed = [row for row in swap_voices(meeting, beats) if row.who == "in"]
    return [
        AutomationPoint(0, "in", "level", 0),
        AutomationPoint(0, "in", "level", UNDER, beats / 2),
        AutomationPoint(beats / 2, "in", "level", 0.8, beats / 2 - 1),
        AutomationPoint(beats, "in", "level", 1),
        AutomationPoint(0, "in", bass_of(meeting.into), 0),
        AutomationPoint(beats, "in", bass_of(meeting.into), 1),
        AutomationPoint(beats / 2, "out", "filter", 0.35, beats / 2),
        AutomationPoint(beats - 4, "out", "level", 0.6, 4),
        AutomationPoint(beats - SWAP_BEATS, "out", bass_of(meeting.out), 0, GONE_BEATS),
        *handed,
        *tempo_rows(meeting),
    ]
