"""Positions of a set on the server's clock, and the safety loop that keeps a track from ending."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from crowdstream.dj.setfile.model import BEATS_PER_BAR, AutomationPoint, Set, SetEntry, Transition
from crowdstream.dj.setfile.timed_commands import DECKS, TimedCommand, TrackPlacement, placements
from crowdstream.osc.codec import Double

LOOP_BEATS = (32.0, 16.0, 8.0, 4.0)  # lengths of the safety loop in clock beats
SHORT_LOOP_BEATS = (2.0, 1.0, 0.5)  # the same where less of a track is in memory
PHRASE_BEATS = 16.0  # clock beats; a request for the next track takes effect at a multiple of this


def place_of(mix: Set, index: int) -> TrackPlacement:
    """Return the placement of a track in the set."""
    # Later tracks make no difference, and there may be many.
    return placements(replace(mix, entries=mix.entries[: index + 1]))[index]


def without_first(mix: Set) -> Set:
    """Return the set without its first track; all others keep their beats."""
    tempi = [row.value for row in _rows(mix.entries[0].transition) if row.target == "clock"]
    begin = place_of(mix, 1).begin
    return replace(
        mix, bpm=[mix.bpm, *tempi][-1], entries=mix.entries[1:], begin=begin,
        mix_in_beats=mix.entries[0].overlap, mix_in_rows=tuple(_rows(mix.entries[0].transition)),
    )  # fmt: skip


def _rows(transition: Transition | None) -> list[AutomationPoint]:
    return sorted(transition.rows, key=lambda row: row.at) if transition else []


def track_beat(mix: Set, index: int, beat: float) -> float:
    """Return the beat of a track's own grid at a beat of the set."""
    entry = mix.entries[index]
    return entry.enter + (beat - place_of(mix, index).begin) * entry.ratio


def beat_at(entry: SetEntry, second: float) -> float:
    """Return the beat of a track's own grid at a position in its file, in seconds."""
    pairs = entry.anchors
    at = next((n for n in range(1, len(pairs) - 1) if pairs[n][1] >= second), len(pairs) - 1)
    (left, begin), (right, end) = pairs[at - 1], pairs[at]
    return left + (second - begin) * (right - left) / (end - begin)


def set_beat(mix: Set, index: int, beat: float) -> float:
    """Return the beat of the set at which a beat of a track's own grid is due."""
    entry = mix.entries[index]
    return place_of(mix, index).begin + (beat - entry.enter) / entry.ratio


def loop_beats(place: TrackPlacement, limit: float = math.inf) -> float:
    """Return the length of a track's safety loop in clock beats, `limit` at most.

    It is a phrase, or less if the track plays alone for less than a phrase.
    """
    alone = place.mix_out - place.mix_in_end
    usual = next((beats for beats in LOOP_BEATS if beats <= alone), LOOP_BEATS[-1])
    if usual <= limit:
        return usual
    lengths = (*LOOP_BEATS, *SHORT_LOOP_BEATS)
    return next((beats for beats in lengths if beats <= limit), lengths[-1])


def safety_loop(mix: Set, index: int, limit: float = math.inf) -> tuple[float, float]:
    """Return the begin and end of a track's safety loop, in seconds in the file.

    `limit`: see `loop_beats`. The server repeats it without the DJ: set before the playhead gets
    there, it keeps playing until it is released.
    """
    entry, place = mix.entries[index], place_of(mix, index)
    end = track_beat(mix, index, place.mix_out)
    begin = max(entry.enter, end - loop_beats(place, limit) * entry.ratio)
    return max(0.0, entry.second(begin)), entry.second(end)


def at_constant_tempo(mix: Set, bpm: float) -> Set:
    """Return the set at one tempo: the clock's, set by a person or by the crowd."""
    entries = tuple(_without_tempo(entry) for entry in mix.entries)
    return replace(mix, bpm=bpm, entries=entries)


def _without_tempo(entry: SetEntry) -> SetEntry:
    transition = entry.transition
    if transition is None or not any(row.target == "clock" for row in transition.rows):
        return entry
    rows = tuple(row for row in transition.rows if row.target != "clock")
    return replace(entry, transition=replace(transition, rows=rows))


def reassigned(commands: Iterable[TimedCommand], decks: Mapping[int, str]) -> list[TimedCommand]:
    """Readdress commands to the decks that tracks actually occupy."""
    made = []
    for command in commands:
        own = f"/deck/{DECKS[command.index % len(DECKS)]}/"
        address = command.address
        if address.startswith(own) and command.index in decks:
            address = f"/deck/{decks[command.index]}/{address[len(own):]}"
        made.append(replace(command, address=address, args=exact(command.args)))
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


def with_mix_out(mix: Set, index: int, mix_out: float) -> Set:
    """Return the set with another mix-out beat, `mix_out`, for a track."""
    entry, place = mix.entries[index], place_of(mix, index)
    leave = entry.enter + (mix_out - place.begin + entry.overlap) * entry.ratio
    entries = list(mix.entries)
    entries[index] = replace(entry, leave=leave)
    return replace(mix, entries=tuple(entries))


def from_phrase(entry: SetEntry, beat: float) -> SetEntry:
    """Return the track with its mix-in point at the phrase that contains `beat` of its grid."""
    phrase = LOOP_BEATS[0] * entry.ratio
    passed = max(0.0, beat - entry.enter)
    enter = entry.enter + math.floor(passed / phrase) * phrase
    while enter > entry.enter and entry.leave - enter < phrase + entry.overlap * entry.ratio:
        enter -= phrase
    return replace(entry, enter=enter)
