"""Decide what to do when a deck has fallen silent, is about to, or is released by a person."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from crowdstream.dj.autopilot.handover import LEAD_SECONDS
from crowdstream.dj.autopilot.manual_override import DECKS
from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import (
    loop_beats,
    next_bar,
    place_of,
    set_beat,
    with_mix_out,
)
from crowdstream.dj.setfile.model import BEATS_PER_BAR, Set, Transition

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.5  # of silence before a track is started at once
STOP_SECONDS = 0.5  # minimum time before a released deck stops
# A file that cannot be read any more. A loop's crossfade needs the margin.
MARGIN_SECONDS = 0.25
MIN_LEAD_SECONDS = LEAD_SECONDS + 0.5  # before a transition, so that its commands are in time
MAX_LOOP_SECONDS = 8.0  # the server keeps 10 s from the playhead on, and may discard all else
STALL_SECONDS = 2.0  # of a read, from which the file counts as unreadable


@dataclass(frozen=True)
class Silence:
    """Start time of the silence, None if a deck is audible; and a set to start at once.

    `ends`: nothing is to start, as the DJ is closed: its last track has ended early.
    """

    since: float | None
    begin: Set | None = None
    ends: bool = False


@dataclass(frozen=True)
class StopDeck:
    """Stop a track that a person started, at a beat of the clock."""

    deck: str
    beat: float


@dataclass(frozen=True)
class ResumeTrack:
    """The DJ controls the playing track again. `offset`: as in `State`, from its playhead."""

    offset: float


@dataclass(frozen=True)
class PlayFromMemory:
    """Leave the playing track within the part that is in memory; see `State.loop_limit`."""

    mix: Set
    loop_limit: float
    note: str


@dataclass(frozen=True)
class StartOver:
    """What plays falls silent before a transition can end: start another track at once.

    `fading`: the decks that play until then.
    """

    fading: frozenset[str]


def check_memory(state: State, link: ServerLink) -> PlayFromMemory | StartOver | None:
    """Decide what to do if the file of the playing track can no longer be read.

    The server plays the part that is in memory, and then silence.
    """
    mix = state.mix
    if mix is None or state.index < 0 or state.closing or state.closed:
        return None
    if state.stage == Stage.MIXING:
        end = _end_in_memory(state, link, state.next)
        place = place_of(mix, state.next)
        if end is None or end >= place.mix_in_end + state.offset + BEATS_PER_BAR:
            return None
        return StartOver(frozenset(state.decks.values()))
    end = _end_in_memory(state, link, state.index)
    place, entry = place_of(mix, state.index), mix.entries[state.index]
    if end is None or end >= state.offset + place.end - 1e-6:
        return None
    pace = link.bpm / 60.0
    earliest = link.beat + MIN_LEAD_SECONDS * pace

    def before(beat: float, step: float) -> float:
        # The bar, or the beat, that begins last before a beat of the clock.
        return state.offset + place.begin + (beat - state.offset - place.begin) // step * step

    mix_out = before(end - entry.overlap, BEATS_PER_BAR)
    if mix_out < earliest and entry.transition is not None:
        # No time for an overlap.
        cut = Transition("cut", 0, tuple(row for row in entry.transition.rows
                                         if row.target == "clock"), "its file is gone")  # fmt: skip
        entries = list(mix.entries)
        entries[state.index] = replace(entry, transition=cut)
        mix = replace(mix, entries=tuple(entries))
        mix_out = before(end, BEATS_PER_BAR)
    if mix_out < earliest:
        mix_out = before(end, 1.0)
    limit = min(mix_out - link.beat, MAX_LOOP_SECONDS * pace) - MARGIN_SECONDS * pace
    if limit <= 0:
        return StartOver(frozenset({state.decks[state.index]}))
    mix = with_mix_out(mix, state.index, mix_out - state.offset)
    name = name_of(entry.path)
    return PlayFromMemory(
        mix, limit, f"{name} cannot be read any more: it is left after the part in memory"
    )


def _end_in_memory(state: State, link: ServerLink, number: int) -> float | None:
    # The beat of the clock at which a track falls silent, as its file cannot be read any more; None
    # if it can be.
    assert state.mix is not None
    deck = state.decks.get(number, "")
    stalled = float(link.status.get("stalled_s", 0.0)) > STALL_SECONDS
    if link.deck(deck, "state") != "broken" and not stalled:
        return None
    buffered = float(link.deck(deck, "buffered"))
    position = float(link.deck(deck, "position"))
    if position + buffered >= float(link.deck(deck, "length")) - MARGIN_SECONDS:
        return None
    beat = state.mix.entries[number].beat(position + buffered - MARGIN_SECONDS)
    return state.offset + set_beat(state.mix, number, beat)


def check_silence(state: State, audible: bool, bpm: float, now: float) -> Silence:
    """Start a track if no deck has been audible for a while, whatever the reason."""
    # The first track starts on a bar, up to 12 s after this was decided.
    if state.mix is None or state.index < 0 or state.closing or audible:
        return Silence(None)
    since = now if state.silent_since is None else state.silent_since
    if now - since < QUIET_SECONDS:
        return Silence(since)
    if state.closed:
        return Silence(since, ends=True)
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
    plays = link.runs(what)
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
        offset += loop_beats(place, state.loop_limit)
    return offset
