"""Positions of a set on the server's clock, and the safety loop that keeps a track from ending."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Set, SetEntry, Transition
from crowdstream.dj.setfile.timed_commands import DECKS, Place, TimedCommand, places
from crowdstream.osc.codec import Double

LAPS = (32.0, 16.0, 8.0, 4.0)  # lengths of the safety loop in clock beats
PHRASE = 16.0  # clock beats; a request for the next track takes effect at a multiple of this


def place_of(mix: Set, index: int) -> Place:
    """Return the placement of a track in the set."""
    # Later tracks make no difference, and there may be many.
    return places(replace(mix, entries=mix.entries[: index + 1]))[index]


def without_first(mix: Set) -> Set:
    """Return the set without its first track; all others keep their beats."""
    tempi = [row.value for row in _rows(mix.entries[0].transition) if row.who == "clock"]
    begin = place_of(mix, 1).begin
    return replace(
        mix, bpm=[mix.bpm, *tempi][-1], entries=mix.entries[1:], begin=begin,
        came=mix.entries[0].overlap,
    )  # fmt: skip


def _rows(way: Transition | None) -> list[AutomationPoint]:
    return sorted(way.rows, key=lambda row: row.at) if way else []


def track_beat(mix: Set, index: int, beat: float) -> float:
    """Return the beat of a track's own grid at a beat of the set."""
    entry = mix.entries[index]
    return entry.enter + (beat - place_of(mix, index).begin) * entry.ratio


def set_beat(mix: Set, index: int, beat: float) -> float:
    """Return the beat of the set at which a beat of a track's own grid is due."""
    entry = mix.entries[index]
    return place_of(mix, index).begin + (beat - entry.enter) / entry.ratio


def lap(place: Place) -> float:
    """Return the length of a track's safety loop in clock beats.

    It is a phrase, or less if the track plays alone for less than a phrase.
    """
    alone = place.going - place.alone
    return next((beats for beats in LAPS if beats <= alone), LAPS[-1])


def loop_of(mix: Set, index: int) -> tuple[float, float]:
    """Return the begin and end of a track's safety loop, in seconds in the file.

    The server repeats it without the DJ: set before the playhead gets there, it keeps playing
    until it is released.
    """
    entry, place = mix.entries[index], place_of(mix, index)
    end = track_beat(mix, index, place.going)
    begin = max(entry.enter, end - lap(place) * entry.ratio)
    return max(0.0, entry.second(begin)), entry.second(end)


def flat(mix: Set, bpm: float) -> Set:
    """Return the set at one tempo: the clock's, set by a person or by the crowd."""
    entries = tuple(_untimed(entry) for entry in mix.entries)
    return replace(mix, bpm=bpm, entries=entries)


def _untimed(entry: SetEntry) -> SetEntry:
    way = entry.transition
    if way is None or not any(row.who == "clock" for row in way.rows):
        return entry
    rows = tuple(row for row in way.rows if row.who != "clock")
    return replace(entry, transition=replace(way, rows=rows))


def recast(moves: Iterable[TimedCommand], decks: Mapping[int, str]) -> list[TimedCommand]:
    """Readdress commands to the decks that tracks actually occupy."""
    made = []
    for move in moves:
        own = f"/deck/{DECKS[move.index % len(DECKS)]}/"
        address = move.address
        if address.startswith(own) and move.index in decks:
            address = f"/deck/{decks[move.index]}/{address[len(own):]}"
        made.append(replace(move, address=address, args=exact(move.args)))
    return made


def exact(arguments: tuple[float | int | str, ...]) -> tuple[float | int | str, ...]:
    """Return the arguments with large fractions as doubles, so that they keep their precision."""
    return tuple(
        Double(value) if isinstance(value, float) and abs(value) > 4096 else value
        for value in arguments
    )


def next_bar(beat: float, bars: int = 1) -> float:
    """Return the first multiple of `bars` bars at or after a beat of the clock."""
    step = float(BEATS_PER_BAR * bars)
    return math.ceil(beat / step - 1e-9) * step


def ended_at(mix: Set, index: int, going: float) -> Set:
    """Return the set with another mix-out beat, `going`, for a track."""
    entry, place = mix.entries[index], place_of(mix, index)
    leave = entry.enter + (going - place.begin + entry.overlap) * entry.ratio
    entries = list(mix.entries)
    entries[index] = replace(entry, leave=leave)
    return replace(mix, entries=tuple(entries))


def from_phrase(entry: SetEntry, beat: float) -> SetEntry:
    """Return the track with its mix-in point at the phrase that contains `beat` of its grid."""
    phrase = LAPS[0] * entry.ratio
    passed = max(0.0, beat - entry.enter)
    enter = entry.enter + math.floor(passed / phrase) * phrase
    while enter > entry.enter and entry.leave - enter < phrase + entry.overlap * entry.ratio:
        enter -= phrase
    return replace(entry, enter=enter)
