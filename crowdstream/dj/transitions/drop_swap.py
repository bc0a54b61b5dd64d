"""The drop swap: the build of the coming track under the other one, and its drop in its place."""

from __future__ import annotations

from crowdstream.dj.sets import Row
from crowdstream.dj.transitions.base import (
    EASY_CHANGE,
    GONE_BEATS,
    SWAP_BEATS,
    Fit,
    Meeting,
    bass_of,
    swap_voices,
    tempo_rows,
)

KIND = "drop swap"
BARS: tuple[float, ...] = (4, 8, 16)
TURN = 1.0
MELODIES = 0.6
BEATMATCHED = True
UNDER = 0.6  # gain of the build under a track at its full


def fit(meeting: Meeting) -> Fit:
    """For a coming track whose drop is at the transition's end."""
    place = meeting.into.at(meeting.beats)
    if not any(abs(place - drop) < 1e-6 for drop in meeting.into.facts.starts("drop")):
        return Fit(0.0, "no drop of the coming track is at its end")
    before = meeting.into.energy(0, meeting.beats)
    after = meeting.into.energy(meeting.beats, meeting.beats + 32)
    rise = max(0.0, min(1.0, after - before))
    hurry = max(0.0, meeting.change - EASY_CHANGE) / 0.04
    score = (0.7 + 0.3 * rise + 0.1 * max(0.0, meeting.lift)) * (1 - 0.5 * min(1.0, hurry))
    return Fit(min(1.0, score), "its drop comes on the phrase on which the other one leaves")


def rows(meeting: Meeting) -> list[Row]:
    """The build comes up without its bass; on the drop everything changes."""
    beats = meeting.beats
    handed = [row for row in swap_voices(meeting, beats) if row.who == "in"]
    return [
        Row(0, "in", "level", 0),
        Row(0, "in", "level", UNDER, beats / 2),
        Row(beats / 2, "in", "level", 0.8, beats / 2 - 1),
        Row(beats, "in", "level", 1),
        Row(0, "in", bass_of(meeting.into), 0),
        Row(beats, "in", bass_of(meeting.into), 1),
        Row(beats / 2, "out", "filter", 0.35, beats / 2),
        Row(beats - 4, "out", "level", 0.6, 4),
        Row(beats - SWAP_BEATS, "out", bass_of(meeting.out), 0, GONE_BEATS),
        *handed,
        *tempo_rows(meeting),
    ]
