"""Decide when and how to go from one track into the next, as values for the player to apply."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from crowdstream.dj.autopilot.resume_state import name_of
from crowdstream.dj.autopilot.state import Stage, State
from crowdstream.dj.autopilot.timing import (
    exact,
    loop_beats,
    next_bar,
    place_of,
    reassigned,
    safety_loop,
    without_first,
)
from crowdstream.dj.setfile import controls
from crowdstream.dj.setfile.model import BEATS_PER_BAR, Set
from crowdstream.dj.setfile.timed_commands import (
    TimedCommand,
    closing,
    sync_quantum,
    tempo_map,
    track_commands,
)

LEAD_SECONDS = 2.0  # before a transition: it is decided, and its commands are scheduled
FIRST_SECONDS = 0.5  # before the first track starts
SYNC_BEATS = 0.25  # before a start: its deck is synced in another phase
SETTLE_SECONDS = 0.4  # from a load to the start: the commands that prepare the track need it
MAX_HISTORY = 5000  # played tracks to remember
MAX_KINDS = 16  # transitions whose kinds to remember


@dataclass(frozen=True)
class HandoverContext:
    """Input to a decision besides the state. Beats are of the server's clock."""

    now: float
    beat: float
    bpm: float
    manual: Container[str]
    """Decks, and the tempo, that are under manual control."""
    ends: bool
    """Whether the set has an end."""
    effective_set: Callable[[], Set]
    """Return the set as it is played: at one tempo while the tempo is not the plan's."""
    problem: Callable[[], str] = lambda: ""
    """Return why no track can be chosen, if that is known."""

    @property
    def pace(self) -> float:
        """Tempo in beats per second."""
        return self.bpm / 60.0


@dataclass(frozen=True)
class StartTransition:
    """Start the transition into the next track with these commands. `offset`: as in `State`."""

    offset: float
    commands: tuple[TimedCommand, ...]
    note: str


@dataclass(frozen=True)
class FinishTransition:
    """The next track now plays alone. `mix`: the set from that track on."""

    mix: Set
    deck: str
    left: frozenset[str]
    """The deck of the previous track."""
    note: str


@dataclass(frozen=True)
class RepeatPhrase:
    """Repeat the last phrase of the playing track. `offset`: as in `State`."""

    offset: float
    note: str


@dataclass(frozen=True)
class EndSet:
    """End the last track with these commands."""

    commands: tuple[TimedCommand, ...]


@dataclass(frozen=True)
class SetFinished:
    """The set is over."""


Decision = StartTransition | FinishTransition | RepeatPhrase | EndSet | SetFinished


def transition_commands(state: State, effective_set: Set, number: int) -> list[TimedCommand]:
    """Return the commands of the transition into a track, by beat of the server's clock."""
    found = reassigned(track_commands(effective_set, number), state.decks)
    return [
        replace(command, beat=command.beat + state.offset)
        for command in found
        if command.stage == "mix"
    ]


def mix_in_commands(state: State, effective_set: Set) -> list[TimedCommand]:
    """Return the commands to the playing track, and to the clock, of the transition into it.

    Some are due long after the transition: its trim and the tempo are adapted slowly. By beat of
    the server's clock.
    """
    entry, deck = effective_set.entries[state.index], state.decks[state.index]
    tempo = tempo_map(replace(effective_set, entries=(entry,)))
    made = []
    for row in effective_set.mix_in_rows:
        if row.target != "out":
            beat = effective_set.begin + row.at
            each = controls.command(deck, row, entry.stems, tempo.seconds(beat, row.over))
            made.append(TimedCommand(beat + state.offset, each.address, exact(each.args)))
    return made


def decide(state: State, context: HandoverContext) -> Decision | None:
    """Decide whether to start the next track, or to repeat the phrase until it is ready."""
    mix, number = state.mix, state.next
    if mix is None:
        return None
    if state.stage == Stage.MIXING:
        alone = context.beat >= state.offset + place_of(mix, number).mix_in_end
        return _finish(state, mix) if alone else None
    ready = state.stage == Stage.READY and context.now > state.since + SETTLE_SECONDS
    if state.index < 0:
        return _first_start(state, mix, context) if ready else None
    place = place_of(mix, state.index)
    if state.closing:
        return SetFinished() if context.beat > state.offset + place.end + 1 else None
    if state.next_entry is None and _ends(state, place.mix_out, context):
        return EndSet((*_loop_exit(state, mix, place.mix_out), *_closing(state, mix)))
    earliest = place.mix_out
    if state.next_entry is not None:
        transition = mix.entries[state.index].transition
        earliest += min([0.0, *(row.at for row in transition.rows)]) if transition else 0.0
    left = (state.offset + earliest - context.beat) / context.pace
    if left > LEAD_SECONDS:
        return None
    if ready and left > SETTLE_SECONDS and not _blocked(state, context.manual):
        return start_transition(state, mix, context)
    if left > SETTLE_SECONDS:
        return None
    reason = _repeat_reason(state, context)
    note = f"{name_of(mix.entries[state.index].path)} loops: {reason}"
    return RepeatPhrase(state.offset + loop_beats(place, state.loop_limit), note)


def _blocked(state: State, manual: Container[str]) -> bool:
    return state.holding or state.decks.get(state.index, "") in manual


def _repeat_reason(state: State, context: HandoverContext) -> str:
    if state.holding:
        return "the DJ is on hold"
    for deck in state.decks.values():
        if deck in context.manual:
            return f"deck {deck} is under manual control"
    loading = state.stage == Stage.LOADING
    if loading:
        return "the next track is still loading"
    problem = context.problem() if state.next_entry is None else ""
    return f"there is nothing else to play ({problem})" if problem else "no track follows yet"


def _ends(state: State, mix_out: float, context: HandoverContext) -> bool:
    # The last track of a set file: nothing follows, so it may end.
    near = state.offset + mix_out - context.beat < 2 * LEAD_SECONDS * context.pace
    return context.ends and near and not state.holding


def _closing(state: State, mix: Set) -> list[TimedCommand]:
    made = reassigned(closing(mix), state.decks)
    return [replace(command, beat=command.beat + state.offset) for command in made]


def _loop_exit(state: State, mix: Set, mix_out: float) -> list[TimedCommand]:
    # A transition with loops of its own replaces the safety loop with the first of them.
    transition = mix.entries[state.index].transition
    if transition is not None and any(
        row.target == "out" and row.control == "loop" for row in transition.rows
    ):
        return []
    exit_at = state.offset + mix_out - 1
    return [TimedCommand(exit_at, f"/deck/{state.decks[state.index]}/loop/exit", ())]


def _first_start(state: State, mix: Set, context: HandoverContext) -> StartTransition:
    begin = next_bar(context.beat + FIRST_SECONDS * context.pace)
    placed = replace(state, offset=begin - place_of(mix, 0).begin)
    started = start_transition(placed, mix, context)
    stops = [
        TimedCommand(begin, f"/deck/{deck}/stop", ())
        for deck in sorted(state.fading) if deck not in context.manual
    ]  # fmt: skip
    return replace(started, commands=(*started.commands, *stops))


def start_transition(state: State, mix: Set, context: HandoverContext) -> StartTransition:
    """Return the start of the transition into the next track of `mix`, the set of `state`."""
    number = state.next
    made = transition_commands(state, context.effective_set(), number)
    out = _loop_exit(state, mix, place_of(mix, state.index).mix_out) if number else []
    if not any(command.address == f"/deck/{state.decks[number]}/loop" for command in made):
        # The safety loop is set with the first beat, so the track cannot end even if the DJ dies.
        begin = place_of(mix, number).begin + state.offset
        loop = f"/deck/{state.decks[number]}/loop/set"
        made.append(TimedCommand(begin + 0.5, loop, safety_loop(mix, number), index=number))
    made += _sync_again(state, mix)
    transition = mix.entries[number - 1].transition if number else None
    name = name_of(mix.entries[number].path)
    note = f"mixing in {name} by {transition.kind}" if transition else f"starting {name}"
    return StartTransition(state.offset, (*out, *made), note)


def _sync_again(state: State, mix: Set) -> list[TimedCommand]:
    # The next track's deck was prepared to start on a bar. If it starts on another beat, as the
    # file of the playing track is lost, sync would move it to the phase of the bars.
    entry = mix.entries[state.next]
    begin = place_of(mix, state.next).begin + state.offset
    quantum = sync_quantum(entry.enter, begin, entry.ratio)
    if quantum >= BEATS_PER_BAR:
        return []
    address = f"/deck/{state.decks[state.next]}/sync"
    return [TimedCommand(begin - SYNC_BEATS, address, (1, quantum), index=state.next)]


def _finish(state: State, mix: Set) -> FinishTransition:
    number = state.next
    left = frozenset({state.decks[state.index]} if number else state.fading)
    played = without_first(mix) if number else mix
    entry = played.entries[0]
    return FinishTransition(
        played, state.decks[number], left, entry.why or f"{name_of(entry.path)} plays"
    )


def pending_loop(state: State, manual: Container[str]) -> tuple[str, float, float] | None:
    """Return deck, begin and end of the playing track's safety loop, if it has to be sent.

    Return None if that loop is set already, or if the deck is not the DJ's to control.
    """
    if state.mix is None or state.index < 0 or state.stage == Stage.MIXING or state.closing:
        return None
    deck = state.decks[state.index]
    wanted = (deck, *safety_loop(state.mix, state.index, state.loop_limit))
    return wanted if wanted != state.armed and deck not in manual else None
