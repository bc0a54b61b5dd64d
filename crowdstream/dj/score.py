"""A set as timed commands in beats of its clock: the same ones for a file and for a server.

    tempo = tempo_map(mix)
    places(mix)[3].deck
    moves(mix, 3)       # all that is needed to go from track 2 to track 3

The moves of a track hold its loading, its start, the transition that leads to it, and the end of
the track before it. So a mix can be played while it is being planned: track by track.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from crowdstream.control.packets import Double
from crowdstream.dj.controls import SLOTS, Command, command, effect, insert
from crowdstream.dj.sets import Entry, Row, Set, Transition
from crowdstream.dj.tempo_map import TempoMap

DECKS = "ABCD"
LOAD_AHEAD_BEATS = 64  # half a minute: a slow card has read the first pages by then
TAIL_BEATS = 32  # in which echoes of a track that has left die away, before its deck is emptied

Stage = Literal["load", "prepare", "mix"]


@dataclass(frozen=True)
class Move:
    """A command at a beat of the set's clock.

    `stage`: "load" takes time, and what has to wait for it are "prepare" (nothing of it is heard)
    and then "mix", which has to be on its beat. `index`: of the track whose deck it is about.
    """

    beat: float
    address: str
    args: tuple[float | int | str, ...]
    stage: Stage = "mix"
    index: int = 0


@dataclass(frozen=True)
class Place:
    """Where a track lies in the set: beats of the clock, and its deck.

    `begin` to `alone` it comes in, from `going` to `end` it goes.
    """

    index: int
    deck: str
    begin: float
    alone: float
    going: float
    end: float


def places(mix: Set) -> list[Place]:
    """The place of each track."""
    found: list[Place] = []
    begin = came = 0.0
    for index, entry in enumerate(mix.entries):
        end = begin + entry.beats
        going = end - entry.overlap
        found.append(Place(index, DECKS[index % len(DECKS)], begin, begin + came, going, end))
        begin, came = going, entry.overlap
    return found


def tempo_map(mix: Set) -> TempoMap:
    """The tempo of the clock, all through the set."""
    tempo = TempoMap(mix.bpm)
    for entry, place in zip(mix.entries, places(mix), strict=True):
        for row in _rows(entry.transition):
            if row.who == "clock":
                tempo.add(place.going + row.at, row.value, row.over)
    return tempo


def sync_quantum(enter: float, begin: float, ratio: float) -> float:
    """Beats modulo which a track that enters at a beat of the clock is in phase; see /sync.

    The largest that leaves it where it was put: 4 for bars upon bars.
    """
    offset = enter - ratio * begin
    return next((q for q in (4.0, 2.0, 1.0, 0.5) if abs(offset / q - round(offset / q)) < 1e-6),
                0.25)  # fmt: skip


def moves(mix: Set, index: int) -> list[Move]:
    """The commands of track `index`, by beat; the first track's begin with the clock."""
    where = places(mix)
    entry, place = mix.entries[index], where[index]
    tempo = tempo_map(mix)
    made: list[Move] = []
    load_at = max(0.0, place.begin - LOAD_AHEAD_BEATS)
    if index >= len(DECKS):
        load_at = max(load_at, _emptied_at(where[index - len(DECKS)], place))
    load_at = min(load_at, place.begin)
    before = mix.entries[index - 1].transition if index else None
    if not index:
        made.append(Move(0.0, "/clock/tempo", (float(mix.bpm),), "prepare", 0))
    first = [row for row in _rows(before) if _is_first(row)]
    made += [
        Move(load_at, each.address, each.args, "prepare" if at else "load", index)
        for at, each in enumerate(_prepare(entry, place, first))
    ]
    made.append(Move(place.begin, f"/deck/{place.deck}/play", (), "mix", index))
    if index:
        made += _transition(mix, where, index, tempo)
        made += _end(mix, where, index - 1)
    return sorted(made, key=lambda move: move.beat)


def closing(mix: Set) -> list[Move]:
    """The end of the last track; what it leaves on its deck stays there."""
    where = places(mix)
    place = where[-1]
    made = list(_transition(mix, where, len(where), tempo_map(mix)))
    return [*made, Move(place.end, f"/deck/{place.deck}/stop", (), "mix", place.index)]


def all_moves(mix: Set) -> list[Move]:
    """Those of the whole set, by beat."""
    made = [move for index in range(len(mix.entries)) for move in moves(mix, index)]
    return sorted(made + closing(mix), key=lambda move: move.beat)


def _rows(transition: Transition | None) -> tuple[Row, ...]:
    return transition.rows if transition else ()


def _is_first(row: Row) -> bool:
    # What the coming track begins with: set before it plays, as even 20 ms of it would be heard.
    return row.who == "in" and row.at <= 0 and not row.over


def _emptied_at(previous: Place, place: Place) -> float:
    return min(previous.end + TAIL_BEATS, place.begin)


def _prepare(entry: Entry, place: Place, first: list[Row]) -> Iterator[Command]:
    base = f"/deck/{place.deck}"
    yield Command(f"{base}/load", (entry.path,))
    yield Command(f"{base}/quantize", (0.0,))
    pairs = tuple(Double(number) for pair in entry.anchors for number in pair)
    yield Command(f"{base}/grid/points", pairs)
    yield Command(f"{base}/sync/ratio", (float(entry.ratio),))
    yield Command(f"{base}/sync", (1, sync_quantum(entry.enter, place.begin, entry.ratio)))
    yield Command(f"{base}/keylock", (int(entry.keylock),))
    yield Command(f"{base}/pitch", (0.0,))
    yield Command(f"{base}/trim", (float(entry.gain_db),))
    yield Command(f"{base}/level", (1.0,))
    yield Command(f"{base}/eq", (0.0, 0.0, 0.0))
    yield Command(f"{base}/filter", (0.0,))
    yield Command(f"{base}/filter/resonance", (0.0,))
    yield Command(f"{base}/seek/beat", (float(entry.enter),))
    for row in first:
        if name := effect(row.control):
            yield insert(place.deck, name)
        yield command(place.deck, row, entry.stems, 0.0)


def _transition(mix: Set, where: list[Place], index: int, tempo: TempoMap) -> Iterator[Move]:
    # Into track `index`, or where there is none, out of the last one.
    going, coming = where[index - 1], where[min(index, len(where) - 1)]
    inserted: set[tuple[str, str]] = set()
    rows = sorted(_rows(mix.entries[index - 1].transition), key=lambda row: row.at)
    for row in rows:
        side = index if row.who == "in" else index - 1
        deck = coming.deck if row.who == "in" else going.deck
        name = effect(row.control) if row.who != "clock" else ""
        fresh = bool(name) and (deck, name) not in inserted
        if name:
            inserted.add((deck, name))
        if _is_first(row):
            continue
        beat = going.going + row.at
        if fresh:
            each = insert(deck, name)
            yield Move(beat, each.address, each.args, "mix", side)
        seconds = tempo.seconds(beat, row.over)
        each = command(deck, row, mix.entries[side].stems, seconds)
        yield Move(beat, each.address, each.args, "mix", side)


def _end(mix: Set, where: list[Place], index: int) -> list[Move]:
    place = where[index]
    base = f"/deck/{place.deck}"
    empty = place.end + TAIL_BEATS
    if index + len(DECKS) < len(where):
        empty = _emptied_at(place, where[index + len(DECKS)])
    before = _rows(mix.entries[index - 1].transition) if index else ()
    names = {effect(row.control) for row in before if row.who == "in"}
    names |= {effect(row.control) for row in _rows(mix.entries[index].transition)
              if row.who == "out"}  # fmt: skip
    made = [Move(place.end, f"{base}/stop", (), "mix", index)]
    made += [
        Move(empty, f"{base}/fx/remove", (SLOTS[name],), "mix", index)
        for name in sorted(names - {""})
    ]
    made.append(Move(empty, f"{base}/unload", (), "mix", index))
    return made
