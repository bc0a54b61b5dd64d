"""How a DJ begins: with a first track, where another DJ was, or anew on a server that has died."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from crowdstream.dj.live.chooser import NothingToPlay
from crowdstream.dj.live.hands import DECKS
from crowdstream.dj.live.mending import realign
from crowdstream.dj.live.notes import Resume, name_of, resume_of
from crowdstream.dj.live.passing import shifted
from crowdstream.dj.live.timing import from_phrase, place_of, track_beat, without_first

if TYPE_CHECKING:
    from crowdstream.dj.live.player import Player

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # between two searches for a track
RESUME_SECONDS = 1.5  # that a server may take to say what an earlier DJ did
_ONCE = ("play", "jump", "loop", "exit", "beat", "insert")  # not to be made up for


def begin(player: Player, now: float, since: float) -> None:
    """Have a player that plays nothing yet begin, if it can. `since`: it knows the server."""
    if player.told is None and now < since + RESUME_SECONDS:
        return
    told, player.told = player.told or {}, {}
    found = resume_of(told.get("resume"))
    if found is not None and _resume(player, found):
        player.remember(told)
        player.note = "goes on where another DJ was"
        return
    others = [deck for deck in DECKS if player.link.sounds(deck)]
    if others and not player.looked_at:
        for deck in others:
            player.hands.take(deck, now)
    if any(deck in player.hands for deck in others):
        player.looked_at = now
        player.note = f"deck {', '.join(others)} plays already: stop it, or /dj/give all"
        return
    if player.looked_at and now < player.looked_at + RETRY_SECONDS:
        return
    player.looked_at = now
    try:
        player.start(player.chooser.first(player.asked(now)))
    except NothingToPlay as error:
        player.note = str(error)


def _resume(player: Player, found: Resume) -> bool:
    # What an earlier DJ has left on the server, if that still plays.
    link, mix, deck, following = player.link, found.mix, found.deck, found.following

    def plays(number: int, deck: str) -> bool:
        name = str(link.deck(deck, "track"))
        return (
            number < len(mix.entries) and link.deck(deck, "state") == "playing" and bool(name)
            and name_of(mix.entries[number].path).startswith(name)
        )  # fmt: skip

    comes = plays(1, following)
    if comes and not plays(0, deck):
        mix, deck, comes = without_first(mix), following, False
    elif not plays(0, deck):
        return False
    player.start(player.chooser.resumed(mix))
    player.go_on(deck, found.offset, following if comes else "")
    if comes:
        # The rest of a transition, and what nobody has sent of it meanwhile.
        moves = shifted(player, 1)
        player.out.add(move for move in moves if move.beat > link.beat)
        player.out.now(
            move for move in moves if move.beat <= link.beat and not move.address.endswith(_ONCE)
        )
    else:
        player.used |= {following} - {""}  # what it has loaded there may be another track by now
        realign(player)
    return True


def rebuild(player: Player, beat: float, bpm: float) -> None:
    """The server is another one: the track that was heard goes on with its phrase.

    `beat`, `bpm`: what the clock of the one before was last known to be at.
    """
    mix = player.mix
    if mix is None:
        return
    player.hands.give("all")
    player.decks, player.used, player.leaving = {}, set(), set()
    if player.index < 0 and player.stage != "going":
        player.start(mix)
        return
    beat -= player.offset
    number = max(0, player.index)
    if player.index >= 0 and player.stage == "going" and beat > place_of(mix, number + 1).begin:
        number += 1
    entry = from_phrase(mix.entries[number], track_beat(mix, number, beat))
    log.info("the server was started anew: the mix goes on with %s", name_of(entry.path))
    entries = (entry, *mix.entries[number + 1 :])
    player.start(replace(mix, bpm=bpm, entries=entries, begin=0.0, came=0.0))
