"""A set as commands timed in beats of its clock, for rendering as well as for a live server.

    tempo = tempo_map(mix)
    placements(mix)[3].deck
    track_commands(mix, 3)       # all commands to go from track 2 to track 3

The commands of a track load it, start it, carry out the transition into it, and stop the track
before it. A mix can therefore be played track by track while it is still being planned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from crowdstream.dj.setfile.controls import SLOTS, Command, command, effect, insert
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition
from crowdstream.dj.setfile.tempo_map import TempoMap
from crowdstream.osc.codec import Double

DECKS = "ABCD"
LOAD_AHEAD_BEATS = 64  # half a minute: enough for a slow SD card to read the first pages
TAIL_BEATS = 32  # time for the previous track's echoes to die away before its deck is reused

Stage = Literal["load", "prepare", "mix"]

# Deck commands that take effect on arrival: the server cannot schedule them for a beat.
_IMMEDIATE = (
    "/load", "/unload", "/quantize", "/grid", "/grid/point", "/grid/points", "/grid/confidence",
    "/grid/clear", "/fx/list", "/hotcue/clear",
)  # fmt: skip


@dataclass(frozen=True)
class TimedCommand:
    """A command at a beat of the set's clock.

    `stage`: "load" takes time; "prepare" (inaudible) has to wait for it, and "mix" has to be on
    its beat. `index`: the track whose deck the command addresses.
    """

    beat: float
    address: str
    args: tuple[float | int | str, ...]
    stage: Stage = "mix"
    index: int = 0

    @property
    def takes_beat(self) -> bool:
        """Whether the server can schedule the command for a beat of its clock."""
        return not (self.address.startswith("/deck/") and self.address[7:] in _IMMEDIATE)


@dataclass(frozen=True)
class TrackPlacement:
    """Placement of a track in the set: its deck, and positions in clock beats.

    The track mixes in from `begin` to `mix_in_end`, and mixes out from `mix_out` to `end`.
    """

    index: int
    deck: str
    begin: float
    mix_in_end: float
    mix_out: float
    end: float


def placements(mix: Set) -> list[TrackPlacement]:
    """Return the placement of each track."""
    found: list[TrackPlacement] = []
    begin, mix_in_beats = mix.begin, mix.mix_in_beats
    for index, entry in enumerate(mix.entries):
        end = begin + entry.beats
        mix_out = end - entry.overlap
        found.append(
            TrackPlacement(
                index, DECKS[index % len(DECKS)], begin, begin + mix_in_beats, mix_out, end
            )
        )
        begin, mix_in_beats = mix_out, entry.overlap
    return found


def tempo_map(mix: Set) -> TempoMap:
    """Return the tempo of the clock throughout the set."""
    tempo = TempoMap(mix.bpm)
    for entry, place in zip(mix.entries, placements(mix), strict=True):
        for row in _rows(entry.transition):
            if row.target == "clock":
                tempo.add(place.mix_out + row.at, row.value, row.over)
    return tempo


def sync_quantum(enter: float, begin: float, ratio: float) -> float:
    """Return the quantum for /sync: the phase of a track is kept modulo this number of beats.

    `enter`: track beat that is played at clock beat `begin`. The largest quantum that leaves the
    track where it was placed is chosen; 4 aligns bars with bars.
    """
    offset = enter - ratio * begin
    return next((q for q in (4.0, 2.0, 1.0, 0.5) if abs(offset / q - round(offset / q)) < 1e-6),
                0.25)  # fmt: skip


def track_commands(mix: Set, index: int) -> list[TimedCommand]:
    """Return the commands of track `index`, by beat; those of the first one start the clock."""
    return _commands(mix, placements(mix), tempo_map(mix), index)


def _commands(
    mix: Set, where: list[TrackPlacement], tempo: TempoMap, index: int
) -> list[TimedCommand]:
    place = where[index]
    load_at = _load_beat(where, index)
    made: list[TimedCommand] = []
    if not index:
        made.append(TimedCommand(0.0, "/clock/tempo", (float(mix.bpm),), "prepare", 0))
    for name in _left_behind(mix, index):
        slot = (SLOTS[name],)
        made.append(TimedCommand(load_at, f"/deck/{place.deck}/fx/remove", slot, "prepare", index))
    made += [
        TimedCommand(load_at, each.address, each.args, "prepare" if at else "load", index)
        for at, each in enumerate(_prepare(mix, place))
    ]
    made.append(TimedCommand(place.begin, f"/deck/{place.deck}/play", (), "mix", index))
    if index:
        made += _transition(mix, where, index, tempo)
        made.append(_stop(where[index - 1]))
    return sorted(made, key=lambda each: each.beat)


def closing(mix: Set) -> list[TimedCommand]:
    """Return the commands that end the last track; its effects stay on the deck."""
    where = placements(mix)
    made = [*_transition(mix, where, len(where), tempo_map(mix)), _stop(where[-1])]
    return sorted(made, key=lambda each: each.beat)


def all_commands(mix: Set) -> list[TimedCommand]:
    """Return the commands of the whole set, by beat."""
    where, tempo = placements(mix), tempo_map(mix)
    made = [each for index in range(len(where)) for each in _commands(mix, where, tempo, index)]
    return sorted(made + closing(mix), key=lambda each: each.beat)


def _stop(place: TrackPlacement) -> TimedCommand:
    return TimedCommand(place.end, f"/deck/{place.deck}/stop", (), "mix", place.index)


def _rows(transition: Transition | None) -> tuple[AutomationPoint, ...]:
    return transition.rows if transition else ()


def _load_beat(where: list[TrackPlacement], index: int) -> float:
    begin = where[index].begin
    ahead = max(0.0, begin - LOAD_AHEAD_BEATS)
    if index >= len(DECKS):
        # Later if necessary, so that the deck's previous track has died away.
        ahead = max(ahead, where[index - len(DECKS)].end + TAIL_BEATS)
    return min(ahead, begin)


def _incoming_points(mix: Set, index: int) -> list[AutomationPoint]:
    # The points for track `index` in the transition into it.
    before = _rows(mix.entries[index - 1].transition) if index else ()
    return [row for row in before if row.target == "in"]


def _outgoing_points(mix: Set, index: int) -> list[AutomationPoint]:
    # The points for track `index` in the transition out of it.
    return [row for row in _rows(mix.entries[index].transition) if row.target == "out"]


def _effects(rows: list[AutomationPoint]) -> set[str]:
    return {effect(row.control) for row in rows} - {""}


def _left_behind(mix: Set, index: int) -> list[str]:
    # Effects that the deck's previous track has left in its chain.
    if index < len(DECKS):
        return []
    before = index - len(DECKS)
    return sorted(_effects(_incoming_points(mix, before) + _outgoing_points(mix, before)))


def _is_first(row: AutomationPoint) -> bool:
    # Initial values of the incoming track: set before it plays, as even 20 ms would be audible.
    return row.target == "in" and row.at <= 0 and not row.over


def _prepare(mix: Set, place: TrackPlacement) -> Iterator[Command]:
    entry: SetEntry = mix.entries[place.index]
    base = f"/deck/{place.deck}"
    yield Command(f"{base}/load", (entry.path,))
    yield Command(f"{base}/quantize", (0.0,))
    pairs = tuple(Double(number) for pair in entry.anchors for number in pair)
    yield Command(f"{base}/grid/points", pairs)
    if entry.uncertain:
        yield Command(f"{base}/grid/confidence", (float(entry.confidence),))
    yield Command(f"{base}/sync/ratio", (float(entry.ratio),))
    yield Command(f"{base}/sync", (1, sync_quantum(entry.enter, place.begin, entry.ratio)))
    yield Command(f"{base}/keylock", (int(entry.keylock),))
    yield Command(f"{base}/pitch", (float(entry.pitch),))
    yield Command(f"{base}/trim", (float(entry.gain_db),))
    yield Command(f"{base}/level", (1.0,))
    yield Command(f"{base}/eq", (0.0, 0.0, 0.0))
    yield Command(f"{base}/filter", (0.0,))
    yield Command(f"{base}/filter/resonance", (0.0,))
    yield Command(f"{base}/seek/beat", (float(entry.enter),))
    inserted: set[str] = set()
    for row in filter(_is_first, _incoming_points(mix, place.index)):
        name = effect(row.control)
        if name and name not in inserted:
            inserted.add(name)
            yield insert(place.deck, name)
        yield command(place.deck, row, entry.stems, 0.0)


def _transition(
    mix: Set, where: list[TrackPlacement], index: int, tempo: TempoMap
) -> Iterator[TimedCommand]:
    # Into track `index`; after the last track, out of that one.
    begin = where[index - 1].mix_out
    # An effect is inserted with the first point that uses it, unless it is in the chain already.
    inserted = {(index - 1, name) for name in _effects(_incoming_points(mix, index - 1))}
    first = [row for row in _rows(mix.entries[index - 1].transition) if _is_first(row)]
    inserted |= {(index, name) for name in _effects(first)}
    rows = sorted(_rows(mix.entries[index - 1].transition), key=lambda row: row.at)
    for row in rows:
        if _is_first(row):
            continue
        side = index if row.target == "in" else index - 1
        deck, beat = where[side].deck, begin + row.at
        name = effect(row.control) if row.target != "clock" else ""
        if name and (side, name) not in inserted:
            inserted.add((side, name))
            each = insert(deck, name)
            yield TimedCommand(beat, each.address, each.args, "mix", side)
        each = command(deck, row, mix.entries[side].stems, tempo.seconds(beat, row.over))
        yield TimedCommand(beat, each.address, each.args, "mix", side)
