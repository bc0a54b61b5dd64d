"""Decide how a DJ starts: with a first track, taking over from another DJ, or after a restart."""

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
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # between two searches for a track
RESUME_SECONDS = 1.5  # time for the server to report the state of an earlier DJ
NOT_SENT_LATE = (
    "play",
    "jump",
    "loop",
    "exit",
    "beat",
    "insert",
)  # commands that are not sent late


@dataclass(frozen=True)
class TakeOver:
    """Take over a mix that still plays: the set from there on, and `offset` as in `State`.

    `deck` plays the set's first track; `next_deck` the second one, if its transition has started.
    The decks `left` may hold tracks that the earlier DJ loaded.
    """

    mix: Set
    offset: float
    deck: str
    next_deck: str
    left: frozenset[str]


@dataclass(frozen=True)
class Busy:
    """These decks are playing. `take`: they come under manual control."""

    decks: tuple[str, ...]
    take: bool


@dataclass(frozen=True)
class Search:
    """Nothing plays: select a first track."""


def begin(
    state: State, link: ServerLink, manual: Container[str], previous: Mapping[str, Any], now: float
) -> TakeOver | Busy | Search | None:
    """Decide how to start while nothing is planned. `previous`: state of an earlier DJ."""
    found = resume_of(previous.get("resume"))
    taken = _takeover(link, found) if found is not None else None
    if taken is not None:
        return taken
    others = tuple(
        deck for deck in DECKS if link.audible(deck) and deck not in state.fading
    )
    take = not state.searched_at
    if others and (take or any(deck in manual for deck in others)):
        return Busy(others, take)
    if state.searched_at and now < state.searched_at + RETRY_SECONDS:
        return None
    return Search()


def _takeover(link: ServerLink, found: ResumeState) -> TakeOver | None:
    # The mix that an earlier DJ left on the server, if it still plays.
    mix, deck, following = found.mix, found.deck, found.following

    def plays(number: int, deck: str) -> bool:
        name = str(link.deck(deck, "track"))
        return (
            number < len(mix.entries) and link.runs(deck) and bool(name)
            and printable(name_of(mix.entries[number].path)).startswith(name)
        )  # fmt: skip

    next_plays = plays(1, following)
    if next_plays and not plays(0, deck):
        mix, deck, next_plays = without_first(mix), following, False
    elif not plays(0, deck):
        return None
    # The earlier DJ may have loaded a different track there by now.
    left = frozenset() if next_plays else frozenset({following} - {""})
    return TakeOver(mix, found.offset, deck, following if next_plays else "", left)


def set_after_restart(state: State, beat: float, bpm: float) -> Set | None:
    """Return the set with which to continue after a server restart.

    The audible track restarts at its current phrase. `beat`, `bpm`: last known values of the
    previous server's clock.
    """
    mix = state.mix
    if mix is None or (state.index < 0 and state.stage != Stage.MIXING):
        return mix
    beat -= state.offset
    number = max(0, state.index)
    mixing = state.index >= 0 and state.stage == Stage.MIXING
    if mixing and beat > place_of(mix, number + 1).begin:
        number += 1
    entry = from_phrase(mix.entries[number], track_beat(mix, number, beat))
    log.info("the server has restarted: continuing the mix with %s", name_of(entry.path))
    entries = (entry, *mix.entries[number + 1 :])
    return replace(mix, bpm=bpm, entries=entries, begin=0.0, mix_in_beats=0.0, mix_in_rows=())
