"""A cappella: the voice of the one that goes, over the beat of the one that comes."""

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
CHANGE_BEATS = 2.0  # in which the old beat goes


def fit(meeting: TransitionContext) -> Fit:
    """For a voice with a stem of its own that sings for most of it, over a key that agrees."""
    if not meeting.out.has("vocals"):
        return Fit(0.0, "the voice has no stem of its own")
    facts = meeting.out.facts
    bars = facts.bars(meeting.out.at(0), meeting.out.at(meeting.beats))
    sung = sum(facts.voice[bar] > VOICE for bar in bars) / max(1, len(bars))
    if sung < 0.5:
        return Fit(0.0, "there is not enough voice there")
    if meeting.into.sings(0, meeting.beats) and not meeting.into.has("vocals"):
        return Fit(0.0, "the coming track sings, too")
    if meeting.key.cost > 0.35:
        return Fit(0.0, f"a voice over {meeting.key.words}")
    beat = meeting.into.energy(0, meeting.beats)
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    score = (0.5 + 0.3 * sung + 0.2 * beat) * (1 - 0.5 * min(1.0, hurry))
    return Fit(score, f"the voice sings {sung:.0%} of these bars, over the new beat")


def rows(meeting: TransitionContext) -> list[AutomationPoint]:
    """On the one the new beat takes over; the voice stays, and leaves in an echo."""
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
