"""The autopilot's state and its decisions, as pure functions without a server or a clock."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import FrozenInstanceError, replace

import pytest

from crowdstream.dj.autopilot import handover, recovery
from crowdstream.dj.autopilot.handover import HandoverContext, decide
from crowdstream.dj.autopilot.state import FOLLOWING, Stage, State
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition

ANCHORS = ((0.0, 0.0), (1.0, 0.5))
BASS_SWAP = Transition(
    "swap", 2, (AutomationPoint(0, "in", "low", 0.0), AutomationPoint(4, "in", "low", 1.0))
)
MIX = Set(
    120.0,
    (
        SetEntry("/a.wav", ANCHORS, 0.0, 48.0, transition=BASS_SWAP),
        SetEntry("/b.wav", ANCHORS, 0.0, 48.0, transition=BASS_SWAP),
        SetEntry("/c.wav", ANCHORS, 0.0, 48.0),
    ),
)
PLAYS = State(mix=MIX, index=0, decks={0: "A"})
MIXING = 40.0  # beat of the set at which /a.wav starts to mix out


def context(
    beat: float, *, now: float = 100.0, manual: Container[str] = (), ends: bool = False
) -> HandoverContext:
    return HandoverContext(now, beat, 120.0, manual, ends, lambda: MIX)


def ready(state: State = PLAYS) -> State:
    loaded = replace(state, decks={**state.decks, state.next: "B"}).at_stage(Stage.LOADING, 0.0)
    return loaded.at_stage(Stage.READY, 10.0)


@pytest.mark.parametrize("stage", Stage)
def test_only_permitted_stages_may_follow(stage: Stage) -> None:
    state = replace(PLAYS, stage=stage)
    for following in FOLLOWING[stage]:
        moved = state.at_stage(following, 7.0)
        assert moved.stage is following and moved.since == 7.0
    for other in set(Stage) - FOLLOWING[stage]:
        with pytest.raises(AssertionError):
            state.at_stage(other, 7.0)


def test_a_state_is_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        PLAYS.index = 1  # type: ignore[misc]


def test_releasing_a_deck_remembers_a_dropped_load() -> None:
    loading = replace(PLAYS, decks={0: "A", 1: "B"}).at_stage(Stage.LOADING, 1.0)
    dropped = loading.without_deck(2.0)
    assert dropped.decks == {0: "A"} and dropped.stage is Stage.NONE
    assert dropped.used == {"B"} == dropped.superseded
    kept = loading.at_stage(Stage.READY, 2.0).without_deck(3.0)
    assert kept.used == {"B"} and not kept.superseded
    assert PLAYS.without_deck(1.0).used == frozenset()


def test_a_new_set_keeps_peoples_requests() -> None:
    state = replace(
        ready(),
        queue=("/w",),
        banned=frozenset({"/x"}),
        holding=True,
        energy=0.4,
        laps=3,
        closing=True,
        silent_since=1.0,
        armed=("A", 0.0, 1.0),
        before=MIX,
    )
    restarted = state.with_set(MIX, 5.0)
    assert (restarted.queue, restarted.holding, restarted.energy) == (("/w",), True, 0.4)
    assert restarted.banned == {"/x"}
    assert restarted.index == -1 and restarted.decks == {} and restarted.used == {"A", "B"}
    assert (restarted.laps, restarted.closing, restarted.silent_since) == (0, False, None)
    assert (restarted.armed, restarted.before) == ((), None)


def test_memory_is_restored_and_invalid_memory_ignored() -> None:
    state = replace(
        PLAYS,
        holding=True,
        energy=0.5,
        queue=("/w", "/v"),
        banned=frozenset({"/x"}),
        history=("/a", "/b"),
    )
    restored = State().with_memory({"memory": state.memory()})
    assert restored.memory() == state.memory()
    assert State().with_memory({"memory": "rubbish"}) == State()
    odd = State().with_memory({"memory": {"energy": 9, "wished": [1, "/w"], "played": "no"}})
    assert odd.energy == 1.0 and odd.queue == ("/w",) and odd.history == ()


def test_the_transition_starts_when_the_next_track_is_ready_and_due() -> None:
    assert decide(ready(), context(MIXING - 10.0)) is None
    decision = decide(ready(), context(MIXING - 3.0))
    assert isinstance(decision, handover.StartTransition)
    assert decision.note == "mixing in b.wav by swap" and decision.offset == 0.0
    addresses = [command.address for command in decision.commands]
    assert "/deck/A/loop/exit" in addresses and "/deck/B/loop/set" in addresses


@pytest.mark.parametrize(
    ("state", "manual", "reason"),
    [
        (PLAYS, (), "no track follows yet"),
        (replace(PLAYS, decks={0: "A", 1: "B"}).at_stage(Stage.LOADING, 0.0), (), "still loading"),
        (replace(ready(), holding=True), (), "the DJ is on hold"),
        (ready(), ("A",), "deck A is under manual control"),
    ],
)
def test_the_phrase_repeats_until_the_next_track_can_start(
    state: State, manual: tuple[str, ...], reason: str
) -> None:
    assert decide(state, context(MIXING - 3.0, manual=manual)) is None, "there is still time"
    decision = decide(state, context(MIXING - 0.5, manual=manual))
    assert isinstance(decision, handover.RepeatPhrase)
    assert decision.offset == 32.0 and reason in decision.note


def test_the_transition_finishes_when_the_new_track_plays_alone() -> None:
    mixing = ready().at_stage(Stage.MIXING, 20.0)
    assert decide(mixing, context(MIXING + 7.0)) is None
    decision = decide(mixing, context(MIXING + 8.0))
    assert isinstance(decision, handover.FinishTransition)
    assert decision.deck == "B" and decision.left == {"A"}
    assert [entry.path for entry in decision.mix.entries] == ["/b.wav", "/c.wav"]


def test_the_last_track_of_a_set_file_ends() -> None:
    last = replace(PLAYS, mix=replace(MIX, entries=(replace(MIX.entries[0], transition=None),)))
    assert isinstance(decide(last, context(47.5)), handover.RepeatPhrase), (
        "an endless set continues"
    )
    closing = decide(last, context(45.0, ends=True))
    assert isinstance(closing, handover.EndSet) and closing.commands
    assert decide(replace(last, closing=True), context(48.5, ends=True)) is None
    assert decide(replace(last, closing=True), context(49.5, ends=True)) == handover.SetFinished()


def test_the_safety_loop_is_sent_once_and_not_to_a_manual_deck() -> None:
    wanted = handover.pending_loop(PLAYS, ())
    assert wanted is not None and wanted[0] == "A"
    assert handover.pending_loop(replace(PLAYS, armed=wanted), ()) is None
    assert handover.pending_loop(PLAYS, ("A",)) is None
    assert handover.pending_loop(ready().at_stage(Stage.MIXING, 1.0), ()) is None


def test_a_track_starts_after_a_while_of_silence() -> None:
    assert recovery.check_silence(PLAYS, True, 120.0, 5.0) == recovery.Silence(None)
    assert recovery.check_silence(PLAYS, False, 120.0, 5.0) == recovery.Silence(5.0)
    silent = replace(PLAYS, silent_since=5.0)
    assert recovery.check_silence(silent, False, 120.0, 6.0) == recovery.Silence(5.0)
    decision = recovery.check_silence(silent, False, 100.0, 5.0 + recovery.QUIET_SECONDS)
    assert decision.begin is not None and decision.begin.bpm == 100.0
    assert [entry.path for entry in decision.begin.entries] == ["/b.wav", "/c.wav"]
