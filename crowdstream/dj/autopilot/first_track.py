"""How a DJ begins: with a first track, where another DJ was, or anew on a server that has died."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from crowdstream.dj.autopilot.manual_override import DECKS
from crowdstream.dj.autopilot.resume_state import ResumeState, name_of, resume_of
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import from_phrase, place_of, track_beat, without_first
from crowdstream.dj.setfile.model import Set

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # between two searches for a track
RESUME_SECONDS = 1.5  # that a server may take to say what an earlier DJ did
ONCE = ("play", "jump", "loop", "exit", "beat", "insert")  # not to be made up for


@dataclass(frozen=True)
class TakeOver:
    """What an earlier DJ has left still plays: the set from there on, and `offset` as in `State`.

    `deck` plays its first track, `coming` the second, if that comes in already; `left` may hold
    what the earlier one has loaded.
    """

    mix: Set
    offset: float
    deck: str
    coming: str
    left: frozenset[str]


@dataclass(frozen=True)
class Busy:
    """These decks play already. `take`: they count as in a person's hands from now on."""

    decks: tuple[str, ...]
    take: bool


@dataclass(frozen=True)
class Search:
    """Nothing plays: a first track is to be looked for."""


def begin(
    state: State, link: ServerLink, hands: Container[str], told: Mapping[str, Any], now: float
) -> TakeOver | Busy | Search | None:
    """What a DJ that plays nothing yet does. `told`: what an earlier one has said of itself."""
    found = resume_of(told.get("resume"))
    taken = _taken_over(link, found) if found is not None else None
    if taken is not None:
        return taken
    others = tuple(deck for deck in DECKS if link.sounds(deck))
    take = not state.looked_at
    if others and (take or any(deck in hands for deck in others)):
        return Busy(others, take)
    if state.looked_at and now < state.looked_at + RETRY_SECONDS:
        return None
    return Search()


def _taken_over(link: ServerLink, found: ResumeState) -> TakeOver | None:
    # What an earlier DJ has left on the server, if that still plays.
    mix, deck, following = found.mix, found.deck, found.following

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
        return None
    # What it has loaded there may be another track by now.
    left = frozenset() if comes else frozenset({following} - {""})
    return TakeOver(mix, found.offset, deck, following if comes else "", left)


def rebuilt(state: State, beat: float, bpm: float) -> Set | None:
    """The server is another one: the track that was heard goes on with its phrase, in this set.

    `beat`, `bpm`: what the clock of the one before was last known to be at.
    """
    mix = state.mix
    if mix is None or (state.index < 0 and state.stage != Stage.GOING):
        return mix
    beat -= state.offset
    number = max(0, state.index)
    coming = state.index >= 0 and state.stage == Stage.GOING
    if coming and beat > place_of(mix, number + 1).begin:
        number += 1
    entry = from_phrase(mix.entries[number], track_beat(mix, number, beat))
    log.info("the server was started anew: the mix goes on with %s", name_of(entry.path))
    entries = (entry, *mix.entries[number + 1 :])
    return replace(mix, bpm=bpm, entries=entries, begin=0.0, came=0.0)
