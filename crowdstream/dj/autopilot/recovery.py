"""Decide what to do when a deck has fallen silent, or is released from manual control."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from crowdstream.dj.autopilot.handover import LEAD_SECONDS
from crowdstream.dj.autopilot.manual_override import DECKS
from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import loop_beats, next_bar, place_of, set_beat
from crowdstream.dj.setfile.model import Set

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.5  # of silence before a track is started at once
STOP_SECONDS = 0.5  # minimum time before a released deck stops


@dataclass(frozen=True)
class Silence:
    """Start time of the silence, None if a deck is audible; and a set to start at once."""

    since: float | None
    begin: Set | None = None


@dataclass(frozen=True)
class StopDeck:
    """Stop a track that a person started, at a beat of the clock."""

    deck: str
    beat: float


@dataclass(frozen=True)
class ResumeTrack:
    """The DJ controls the playing track again. `offset`: as in `State`, from its playhead."""

    offset: float


def check_silence(state: State, audible: bool, bpm: float, now: float) -> Silence:
    """Start a track if no deck has been audible for a while, whatever the reason."""
    waiting = state.index < 0 and state.stage != Stage.MIXING
    if state.mix is None or waiting or state.closing or audible:
        return Silence(None)
    since = now if state.silent_since is None else state.silent_since
    if now - since < QUIET_SECONDS:
        return Silence(since)
    entries, number = state.mix.entries, state.next
    if number >= len(entries) or state.stage == Stage.MIXING:
        number = max(0, min(number, len(entries) - 1))
    log.warning("no deck is audible: starting %s", name_of(entries[number].path))
    begin = replace(
        state.mix, bpm=bpm, entries=entries[number:], begin=0.0, mix_in_beats=0.0, mix_in_rows=()
    )
    return Silence(since, begin)


def after_release(state: State, link: ServerLink, what: str) -> StopDeck | ResumeTrack | None:
    """Decide what to do with a deck, or the tempo, after its release."""
    if what not in DECKS:
        return None
    plays = link.deck(what, "state") == "playing"
    if what not in state.decks.values():
        bar = next_bar(link.beat + STOP_SECONDS * link.bpm / 60.0)
        return StopDeck(what, bar) if plays else None
    if state.decks.get(state.index) == what and state.stage != Stage.MIXING:
        return ResumeTrack(realigned_offset(state, link) if plays else state.offset)
    return None


def realigned_offset(state: State, link: ServerLink) -> float:
    """Return the set's offset according to the playhead of the playing track."""
    assert state.mix is not None
    deck, place = state.decks[state.index], place_of(state.mix, state.index)
    at = set_beat(state.mix, state.index, float(link.deck(deck, "beat")))
    offset = 4.0 * round((float(link.status.get("beat", 0.0)) - at) / 4.0)
    while offset + place.mix_out < link.beat + LEAD_SECONDS * link.bpm / 60.0:
        offset += loop_beats(place)
    return offset
