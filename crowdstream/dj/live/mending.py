"""What to do when decks are not as the DJ has left them: silence, or a person's hands."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from crowdstream.dj.live.hands import DECKS
from crowdstream.dj.live.notes import name_of
from crowdstream.dj.live.passing import LEAD_SECONDS
from crowdstream.dj.live.timing import lap, next_bar, place_of, set_beat

if TYPE_CHECKING:
    from crowdstream.dj.live.player import Player

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.5  # of silence, after which something is played at once
STOP_SECONDS = 0.5  # at least, before a deck that was given back stops


def revive(player: Player, now: float) -> None:
    """Play something when nothing is heard, whatever the reason."""
    waiting = player.index < 0 and player.stage != "going"
    sounds = any(player.link.sounds(deck) for deck in DECKS)
    if player.mix is None or waiting or player.closing or sounds:
        player.quiet = None
        return
    if player.quiet is None:
        player.quiet = now
    if now - player.quiet < QUIET_SECONDS:
        return
    number = player.index + 1
    if number >= len(player.mix.entries) or player.stage == "going":
        number = max(0, min(number, len(player.mix.entries) - 1))
    log.warning("nothing is heard: %s is played", name_of(player.mix.entries[number].path))
    entries = player.mix.entries[number:]
    player.start(replace(player.mix, bpm=player.link.bpm, entries=entries, begin=0.0, came=0.0))


def given(player: Player, what: str) -> None:
    """A deck is the DJ's again."""
    if what not in DECKS:
        return
    plays = player.link.deck(what, "state") == "playing"
    if what not in player.decks.values():
        # Whatever a person has played there ends with a bar, and makes room.
        if plays:
            bar = next_bar(player.link.beat + STOP_SECONDS * player.link.bpm / 60.0)
            player.link.at(bar, f"/deck/{what}/stop")
            player.used.add(what)
    elif player.decks.get(player.index) == what and player.stage != "going":
        player.armed = ()
        if plays:
            realign(player)


def realign(player: Player) -> None:
    """Take the place of the set from where the track's playhead is."""
    assert player.mix is not None
    deck, place = player.decks[player.index], place_of(player.mix, player.index)
    at = set_beat(player.mix, player.index, float(player.link.deck(deck, "beat")))
    player.offset = 4.0 * round((float(player.link.status.get("beat", 0.0)) - at) / 4.0)
    while player.offset + place.going < player.link.beat + LEAD_SECONDS * player.link.bpm / 60.0:
        player.offset += lap(place)
