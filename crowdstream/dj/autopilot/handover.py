"""Decide when and how to go from one track into the next, as values for the player to apply."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import lap, loop_of, next_bar, place_of, recast, without_first
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.timed_commands import TimedCommand, closing, moves

LEAD_SECONDS = 2.0  # before a transition: it is decided, and its commands are scheduled
FIRST_SECONDS = 0.5  # before the first track starts
SETTLE_SECONDS = 0.4  # from a load to the start: the commands that prepare the track need it
MAX_HISTORY = 5000  # played tracks to remember


@dataclass(frozen=True)
class Surroundings:
    """Input to a decision besides the state. Beats are of the server's clock."""

    now: float
    beat: float
    bpm: float
    hands: Container[str]
    """Decks, and the tempo, that are under manual control."""
    ends: bool
    """Whether the set has an end."""
    heard: Callable[[], Set]
    """Return the set as it is played: at one tempo while the tempo is not the plan's."""

    @property
    def pace(self) -> float:
        """Tempo in beats per second."""
        return self.bpm / 60.0


@dataclass(frozen=True)
class ComeIn:
    """Start the transition into the next track with these commands. `offset`: as in `State`."""

    offset: float
    moves: tuple[TimedCommand, ...]
    note: str


@dataclass(frozen=True)
class Arrive:
    """The next track now plays alone. `mix`: the set from that track on."""

    mix: Set
    deck: str
    left: frozenset[str]
    """The deck of the previous track."""
    note: str


@dataclass(frozen=True)
class GoRound:
    """Repeat the last phrase of the playing track. `offset`: as in `State`."""

    offset: float
    note: str


@dataclass(frozen=True)
class Close:
    """End the last track with these commands."""

    moves: tuple[TimedCommand, ...]


@dataclass(frozen=True)
class Finish:
    """The set is over."""


Decision = ComeIn | Arrive | GoRound | Close | Finish


def shifted(state: State, heard: Set, number: int) -> list[TimedCommand]:
    """Return the commands of the transition into a track, by beat of the server's clock."""
    found = recast(moves(heard, number), state.decks)
    return [
        replace(move, beat=move.beat + state.offset) for move in found if move.stage == "mix"
    ]


def decide(state: State, around: Surroundings) -> Decision | None:
    """Decide whether to start the next track, or to repeat the phrase until it is ready."""
    mix, number = state.mix, state.next
    if mix is None:
        return None
    if state.stage == Stage.GOING:
        alone = around.beat >= state.offset + place_of(mix, number).alone
        return _arrival(state, mix) if alone else None
    ready = state.stage == Stage.READY and around.now > state.since + SETTLE_SECONDS
    if state.index < 0:
        return _beginning(state, mix, around) if ready else None
    place = place_of(mix, state.index)
    if state.closing:
        return Finish() if around.beat > state.offset + place.end + 1 else None
    if state.coming is None and _ends(state, place.going, around):
        return Close((*_let_out(state, mix, place.going), *_closing(state, mix)))
    earliest = place.going
    if state.coming is not None:
        way = mix.entries[state.index].transition
        earliest += min([0.0, *(row.at for row in way.rows)]) if way else 0.0
    left = (state.offset + earliest - around.beat) / around.pace
    if left > LEAD_SECONDS:
        return None
    if ready and left > SETTLE_SECONDS and not _waits(state, around.hands):
        return _entrance(state, mix, around)
    if left > SETTLE_SECONDS:
        return None
    why = _why(state, around.hands)
    note = f"{name_of(mix.entries[state.index].path)} loops: {why}"
    return GoRound(state.offset + lap(place), note)


def _waits(state: State, hands: Container[str]) -> bool:
    return state.holding or state.decks.get(state.index, "") in hands


def _why(state: State, hands: Container[str]) -> str:
    if state.holding:
        return "the DJ is on hold"
    for deck in state.decks.values():
        if deck in hands:
            return f"deck {deck} is under manual control"
    loading = state.stage == Stage.LOADING
    return "the next track is still loading" if loading else "no track follows yet"


def _ends(state: State, going: float, around: Surroundings) -> bool:
    # The last track of a set file: nothing follows, so it may end.
    near = state.offset + going - around.beat < 2 * LEAD_SECONDS * around.pace
    return around.ends and near and not state.holding


def _closing(state: State, mix: Set) -> list[TimedCommand]:
    made = recast(closing(mix), state.decks)
    return [replace(move, beat=move.beat + state.offset) for move in made]


def _let_out(state: State, mix: Set, going: float) -> list[TimedCommand]:
    # A transition with loops of its own replaces the safety loop with the first of them.
    way = mix.entries[state.index].transition
    if way is not None and any(row.who == "out" and row.control == "loop" for row in way.rows):
        return []
    exit_at = state.offset + going - 1
    return [TimedCommand(exit_at, f"/deck/{state.decks[state.index]}/loop/exit", ())]


def _beginning(state: State, mix: Set, around: Surroundings) -> ComeIn:
    begin = next_bar(around.beat + FIRST_SECONDS * around.pace)
    placed = replace(state, offset=begin - place_of(mix, 0).begin)
    return _entrance(placed, mix, around)


def _entrance(state: State, mix: Set, around: Surroundings) -> ComeIn:
    number = state.next
    made = shifted(state, around.heard(), number)
    out = _let_out(state, mix, place_of(mix, state.index).going) if number else []
    if not any(move.address == f"/deck/{state.decks[number]}/loop" for move in made):
        # The safety loop is set with the first beat, so the track cannot end even if the DJ dies.
        begin = place_of(mix, number).begin + state.offset
        loop = f"/deck/{state.decks[number]}/loop/set"
        made.append(TimedCommand(begin + 0.5, loop, loop_of(mix, number), index=number))
    way = mix.entries[number - 1].transition if number else None
    name = name_of(mix.entries[number].path)
    note = f"mixing in {name} by {way.kind}" if way else f"starting {name}"
    return ComeIn(state.offset, (*out, *made), note)


def _arrival(state: State, mix: Set) -> Arrive:
    number = state.next
    left = frozenset({state.decks[state.index]} if number else ())
    played = without_first(mix) if number else mix
    entry = played.entries[0]
    return Arrive(played, state.decks[number], left, entry.why or f"{name_of(entry.path)} plays")


def loop_wanted(state: State, hands: Container[str]) -> tuple[str, float, float] | None:
    """Return deck, begin and end of the playing track's safety loop, if it has to be sent.

    Return None if that loop is set already, or if the deck is not the DJ's to control.
    """
    if state.mix is None or state.index < 0 or state.stage == Stage.GOING or state.closing:
        return None
    deck = state.decks[state.index]
    wanted = (deck, *loop_of(state.mix, state.index))
    return wanted if wanted != state.armed and deck not in hands else None
