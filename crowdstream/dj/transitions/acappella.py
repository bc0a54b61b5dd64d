"""A cappella: the outgoing track's vocals over the incoming track's beat."""

from __future__ import annotations

from crowdstream.dj.setfile.model import AutomationPoint
from crowdstream.dj.track_features import VOICE
from crowdstream.dj.transitions.base import (
    EASY_CHANGE,
    GONE_BEATS,
    SWAP_BEATS,
    Fit,
    TransitionContext,
    tempo_rows,
)

KIND = "a cappella"
BARS: tuple[float, ...] = (8, 16)
TURN = 0.0
MELODIES = 1.0
BEATMATCHED = True
CHANGE_BEATS = 2.0  # fade of the outgoing beat


def fit(meeting: TransitionContext) -> Fit:
    """Rate it: needs a vocal stem that is active most of the time, and a compatible key."""
    if not meeting.out.has("vocals"):
        return Fit(0.0, "the vocals have no stem of their own")
    facts = meeting.out.facts
    bars = facts.bars(meeting.out.at(0), meeting.out.at(meeting.beats))
    sung = sum(facts.voice[bar] > VOICE for bar in bars) / max(1, len(bars))
    if sung < 0.5:
        return Fit(0.0, "too few vocals there")
    if meeting.into.sings(0, meeting.beats) and not meeting.into.has("vocals"):
        return Fit(0.0, "the incoming track has vocals, too")
    if meeting.key.cost > 0.35:
        return Fit(0.0, f"vocals over {meeting.key.words}")
    beat = meeting.into.energy(0, meeting.beats)
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    score = (0.5 + 0.3 * sung + 0.2 * beat) * (1 - 0.5 * min(1.0, hurry))
    return Fit(score, f"vocals in {sung:.0%} of these bars, over the new beat")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """The new beat takes over at the start; the vocals stay, and leave with an echo."""
    beats = meeting.beats
    others = [name for name in meeting.out.facts.stems if name != "vocals"]
    found = [
        *(
            AutomationPoint(-SWAP_BEATS, "out", name, 0, GONE_BEATS)
            for name in others
            if name == "bass"
        ),
        *(AutomationPoint(0, "out", name, 0, CHANGE_BEATS) for name in others if name != "bass"),
        AutomationPoint(beats - 8, "out", "echo.feedback", 0.5),
        AutomationPoint(beats - 8, "out", "echo", 0.4, 4),
        AutomationPoint(beats - 4, "out", "vocals", 0, 4),
        *tempo_rows(meeting),
    ]
    if meeting.into.has("vocals"):
        found += [
            AutomationPoint(0, "in", "vocals", 0),
            AutomationPoint(beats, "in", "vocals", 1, 0.5),
        ]
    return found
