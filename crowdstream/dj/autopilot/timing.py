"""Where a mix lies on the server's clock, and the loop that keeps each track from ending."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Set, SetEntry, Transition
from crowdstream.dj.setfile.timed_commands import DECKS, Place, TimedCommand, places
from crowdstream.osc.codec import Double

LAPS = (32.0, 16.0, 8.0, 4.0)  # beats of the clock that are looped while the next is not ready
PHRASE = 16.0  # beats at whose multiples a person's wish for the next track is met


def place_of(mix: Set, index: int) -> Place:
    """Where a track lies in the set."""
    # Those after it make no difference, and there may be many of them.
    return places(replace(mix, entries=mix.entries[: index + 1]))[index]


def without_first(mix: Set) -> Set:
    """The set without its first track, which was played; all others stay at their beats."""
    tempi = [row.value for row in _rows(mix.entries[0].transition) if row.who == "clock"]
    begin = place_of(mix, 1).begin
    return replace(
        mix, bpm=[mix.bpm, *tempi][-1], entries=mix.entries[1:], begin=begin,
        came=mix.entries[0].overlap,
    )  # fmt: skip


def _rows(way: Transition | None) -> list[AutomationPoint]:
    return sorted(way.rows, key=lambda row: row.at) if way else []


def track_beat(mix: Set, index: int, beat: float) -> float:
    """The beat of a track's own grid at a beat of the set."""
    entry = mix.entries[index]
    return entry.enter + (beat - place_of(mix, index).begin) * entry.ratio


def set_beat(mix: Set, index: int, beat: float) -> float:
    """The beat of the set at which a beat of a track's own grid is due."""
    entry = mix.entries[index]
    return place_of(mix, index).begin + (beat - entry.enter) / entry.ratio


def lap(place: Place) -> float:
    """How many beats before its end a track loops while nothing follows: a phrase, if it has one
    for itself."""
    alone = place.going - place.alone
    return next((beats for beats in LAPS if beats <= alone), LAPS[-1])


def loop_of(mix: Set, index: int) -> tuple[float, float]:
    """Seconds in the file between which a track goes round until it is let out.

    Armed before it gets there, it needs nobody: without a DJ the phrase plays on and on.
    """
    entry, place = mix.entries[index], place_of(mix, index)
    end = track_beat(mix, index, place.going)
    begin = max(entry.enter, end - lap(place) * entry.ratio)
    return max(0.0, entry.second(begin)), entry.second(end)


def flat(mix: Set, bpm: float) -> Set:
    """The set at one tempo, that of the clock as a person or the crowd moves it."""
    entries = tuple(_untimed(entry) for entry in mix.entries)
    return replace(mix, bpm=bpm, entries=entries)


def _untimed(entry: SetEntry) -> SetEntry:
    way = entry.transition
    if way is None or not any(row.who == "clock" for row in way.rows):
        return entry
    rows = tuple(row for row in way.rows if row.who != "clock")
    return replace(entry, transition=replace(way, rows=rows))


def recast(moves: Iterable[TimedCommand], decks: Mapping[int, str]) -> list[TimedCommand]:
    """Moves on the decks that tracks have in fact, which need not be those of the score."""
    made = []
    for move in moves:
        own = f"/deck/{DECKS[move.index % len(DECKS)]}/"
        address = move.address
        if address.startswith(own) and move.index in decks:
            address = f"/deck/{decks[move.index]}/{address[len(own):]}"
        made.append(replace(move, address=address, args=exact(move.args)))
    return made


def exact(arguments: tuple[float | int | str, ...]) -> tuple[float | int | str, ...]:
    """Arguments as they are; a fraction far out keeps its digits."""
    return tuple(
        Double(value) if isinstance(value, float) and abs(value) > 4096 else value
        for value in arguments
    )


def next_bar(beat: float, bars: int = 1) -> float:
    """The first multiple of so many bars at or after a beat of the clock."""
    step = float(BEATS_PER_BAR * bars)
    return math.ceil(beat / step - 1e-9) * step


def ended_at(mix: Set, index: int, going: float) -> Set:
    """The set with a track that begins to go at another beat of the set."""
    entry, place = mix.entries[index], place_of(mix, index)
    leave = entry.enter + (going - place.begin + entry.overlap) * entry.ratio
    entries = list(mix.entries)
    entries[index] = replace(entry, leave=leave)
    return replace(mix, entries=tuple(entries))


def from_phrase(entry: SetEntry, beat: float) -> SetEntry:
    """A track that begins anew at the phrase in which `beat` of its grid lies."""
    phrase = LAPS[0] * entry.ratio
    passed = max(0.0, beat - entry.enter)
    enter = entry.enter + math.floor(passed / phrase) * phrase
    while enter > entry.enter and entry.leave - enter < phrase + entry.overlap * entry.ratio:
        enter -= phrase
    return replace(entry, enter=enter)
