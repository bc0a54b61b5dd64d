"""From one track into the next: when it is decided, and what is told to the server then."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from crowdstream.dj.live.notes import name_of
from crowdstream.dj.live.timing import lap, loop_of, next_bar, place_of, recast, without_first
from crowdstream.dj.score import Move, closing, moves

if TYPE_CHECKING:
    from crowdstream.dj.live.player import Player

log = logging.getLogger(__name__)

LEAD_SECONDS = 2.0  # before a transition, in which it is decided on and told to the server
FIRST_SECONDS = 0.5  # before the first track begins
SETTLE_SECONDS = 0.4  # from a load to its start: what prepares it is on its way
MOST_HISTORY = 5000  # tracks of its past that it remembers


def shifted(player: Player, number: int) -> list[Move]:
    """The moves of going into a track, by beat of the server's clock."""
    found = recast(moves(player.heard(), number), player.decks)
    return [
        replace(move, beat=move.beat + player.offset) for move in found if move.stage == "mix"
    ]


def decide(player: Player, now: float, beat: float) -> None:
    """Go into the next track when it is time; until it is ready, go round once more."""
    if player.mix is None:
        return
    number = player.index + 1
    if player.stage == "going":
        if beat >= player.offset + place_of(player.mix, number).alone:
            _arrived(player, number)
        return
    ready = player.stage == "ready" and now > player.since + SETTLE_SECONDS
    pace = player.link.bpm / 60.0
    if player.index < 0:
        if ready:
            begin = next_bar(beat + FIRST_SECONDS * pace)
            player.offset = begin - place_of(player.mix, 0).begin
            _go(player, 0)
        return
    place = place_of(player.mix, player.index)
    if player.closing:
        player.finished = beat > player.offset + place.end + 1
        return
    if number >= len(player.mix.entries) and _ends(player, place.going, beat, pace):
        return
    earliest = place.going
    if number < len(player.mix.entries):
        way = player.mix.entries[player.index].transition
        earliest += min([0.0, *(row.at for row in way.rows)]) if way else 0.0
    left = (player.offset + earliest - beat) / pace
    if left > LEAD_SECONDS:
        return
    if ready and left > SETTLE_SECONDS and not _waits(player):
        _go(player, number)
    elif left <= SETTLE_SECONDS:
        player.offset += lap(place)
        player.laps += 1
        player.note = f"{name_of(player.mix.entries[player.index].path)} goes round: {_why(player)}"


def _waits(player: Player) -> bool:
    return player.holding or player.decks.get(player.index, "") in player.hands


def _why(player: Player) -> str:
    if player.holding:
        return "it is held"
    for deck in player.decks.values():
        if deck in player.hands:
            return f"deck {deck} is in a person's hands"
    return {"loading": "the next one is still loading"}.get(
        player.stage, "nothing is there to follow"
    )


def _ends(player: Player, going: float, beat: float, pace: float) -> bool:
    # The last track of a set file: nothing follows, and it may come to its end.
    near = player.offset + going - beat < 2 * LEAD_SECONDS * pace
    if not player.chooser.ends or not near or player.holding:
        return False
    assert player.mix is not None
    player.closing = True
    _let_out(player, going)
    made = recast(closing(player.mix), player.decks)
    player.out.add(replace(move, beat=move.beat + player.offset) for move in made)
    return True


def _let_out(player: Player, going: float) -> None:
    # One that leaves in loops of its own is out of the phrase with the first of them.
    assert player.mix is not None
    way = player.mix.entries[player.index].transition
    if way is not None and any(row.who == "out" and row.control == "loop" for row in way.rows):
        return
    exit_at = player.offset + going - 1
    player.out.add([Move(exit_at, f"/deck/{player.decks[player.index]}/loop/exit", ())])


def _go(player: Player, number: int) -> None:
    assert player.mix is not None
    made = shifted(player, number)
    if number:
        _let_out(player, place_of(player.mix, player.index).going)
    if not any(move.address == f"/deck/{player.decks[number]}/loop" for move in made):
        # From its first beat on it can't end, whatever becomes of the DJ.
        begin = place_of(player.mix, number).begin + player.offset
        loop = f"/deck/{player.decks[number]}/loop/set"
        made.append(Move(begin + 0.5, loop, loop_of(player.mix, number), index=number))
    player.out.add(made)
    player.laps = 0
    player.reach("going")
    way = player.mix.entries[number - 1].transition if number else None
    name = name_of(player.mix.entries[number].path)
    player.note = f"{name} comes in by {way.kind}" if way else f"{name} comes in"
    log.info("%s", player.note)


def _arrived(player: Player, number: int) -> None:
    assert player.mix is not None
    player.used |= {player.decks[player.index]} if number else set()
    player.decks = {0: player.decks[number]}
    if number:
        player.mix = without_first(player.mix)
    player.index, player.before, player.looked_at, player.granted = 0, None, 0.0, ""
    player.reach("none")
    entry = player.mix.entries[0]
    player.history = [*player.history[-MOST_HISTORY:], entry.path]
    player.note = entry.why or f"{name_of(entry.path)} plays"


def arm(player: Player) -> None:
    """Have the track that plays go round at its end, unless it is let out."""
    if player.mix is None or player.index < 0 or player.stage == "going" or player.closing:
        return
    deck = player.decks[player.index]
    wanted = (deck, *loop_of(player.mix, player.index))
    if wanted != player.armed and deck not in player.hands:
        player.armed = wanted
        player.link.send(f"/deck/{deck}/loop/set", *wanted[1:])
