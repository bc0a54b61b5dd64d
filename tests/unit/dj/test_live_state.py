"""The live DJ's state, and what is decided from it: no server, no clock, nothing that happens."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import FrozenInstanceError, replace

import pytest

from crowdstream.dj.autopilot import handover, recovery
from crowdstream.dj.autopilot.handover import Surroundings, decide
from crowdstream.dj.autopilot.state import FOLLOWING, Stage, State
from crowdstream.dj.setfile.model import AutomationPoint, Set, SetEntry, Transition

ANCHORS = ((0.0, 0.0), (1.0, 0.5))
WAY = Transition(
    "swap", 2, (AutomationPoint(0, "in", "low", 0.0), AutomationPoint(4, "in", "low", 1.0))
)
MIX = Set(
    120.0,
    (
        SetEntry("/a.wav", ANCHORS, 0.0, 48.0, transition=WAY),
        SetEntry("/b.wav", ANCHORS, 0.0, 48.0, transition=WAY),
        SetEntry("/c.wav", ANCHORS, 0.0, 48.0),
    ),
)
PLAYS = State(mix=MIX, index=0, decks={0: "A"})
GOING = 40.0  # the beat of the set at which /a.wav begins to go


def around(
    beat: float, *, now: float = 100.0, hands: Container[str] = (), ends: bool = False
) -> Surroundings:
    return Surroundings(now, beat, 120.0, hands, ends, lambda: MIX)


def ready(state: State = PLAYS) -> State:
    loaded = replace(state, decks={**state.decks, state.next: "B"}).at(Stage.LOADING, 0.0)
    return loaded.at(Stage.READY, 10.0)


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_is_left_for_those_that_may_follow_it(stage: Stage) -> None:
    state = replace(PLAYS, stage=stage)
    for following in FOLLOWING[stage]:
        reached = state.at(following, 7.0)
        assert reached.stage is following and reached.since == 7.0
    for other in set(Stage) - FOLLOWING[stage]:
        with pytest.raises(AssertionError):
            state.at(other, 7.0)


def test_nothing_changes_a_state_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        PLAYS.index = 1  # type: ignore[misc]


def test_a_deck_is_free_again_and_a_load_that_was_dropped_is_known() -> None:
    loading = replace(PLAYS, decks={0: "A", 1: "B"}).at(Stage.LOADING, 1.0)
    dropped = loading.without_deck(2.0)
    assert dropped.decks == {0: "A"} and dropped.stage is Stage.NONE
    assert dropped.used == {"B"} == dropped.superseded
    kept = loading.at(Stage.READY, 2.0).without_deck(3.0)
    assert kept.used == {"B"} and not kept.superseded
    assert PLAYS.without_deck(1.0).used == frozenset()


def test_what_is_begun_anew_keeps_what_people_have_said() -> None:
    state = replace(
        ready(), wished=("/w",), banned=frozenset({"/x"}), holding=True, energy=0.4, laps=3,
        closing=True, quiet=1.0, armed=("A", 0.0, 1.0), before=MIX,
    )
    begun = state.begun(MIX, 5.0)
    assert (begun.wished, begun.holding, begun.energy) == (("/w",), True, 0.4)
    assert begun.banned == {"/x"}
    assert begun.index == -1 and begun.decks == {} and begun.used == {"A", "B"}
    assert (begun.laps, begun.closing, begun.quiet, begun.armed, begun.before) == (
        0, False, None, (), None,
    )  # fmt: skip


def test_what_is_remembered_comes_back_whatever_else_is_told() -> None:
    state = replace(
        PLAYS, holding=True, energy=0.5, wished=("/w", "/v"), banned=frozenset({"/x"}),
        history=("/a", "/b"),
    )
    again = State().remembering({"memory": state.remembered()})
    assert again.remembered() == state.remembered()
    assert State().remembering({"memory": "rubbish"}) == State()
    odd = State().remembering({"memory": {"energy": 9, "wished": [1, "/w"], "played": "no"}})
    assert odd.energy == 1.0 and odd.wished == ("/w",) and odd.history == ()


def test_the_next_track_comes_in_when_it_is_ready_and_its_time_has_come() -> None:
    assert decide(ready(), around(GOING - 10.0)) is None
    decision = decide(ready(), around(GOING - 3.0))
    assert isinstance(decision, handover.ComeIn)
    assert decision.note == "b.wav comes in by swap" and decision.offset == 0.0
    addresses = [move.address for move in decision.moves]
    assert "/deck/A/loop/exit" in addresses and "/deck/B/loop/set" in addresses


@pytest.mark.parametrize(
    ("state", "hands", "why"),
    [
        (PLAYS, (), "nothing is there to follow"),
        (replace(PLAYS, decks={0: "A", 1: "B"}).at(Stage.LOADING, 0.0), (), "still loading"),
        (replace(ready(), holding=True), (), "it is held"),
        (ready(), ("A",), "deck A is in a person's hands"),
    ],
)
def test_until_then_the_phrase_goes_round(state: State, hands: tuple[str, ...], why: str) -> None:
    assert decide(state, around(GOING - 3.0, hands=hands)) is None, "there still is time"
    decision = decide(state, around(GOING - 0.5, hands=hands))
    assert isinstance(decision, handover.GoRound)
    assert decision.offset == 32.0 and why in decision.note


def test_a_track_has_come_in_when_it_plays_alone() -> None:
    going = ready().at(Stage.GOING, 20.0)
    assert decide(going, around(GOING + 7.0)) is None
    decision = decide(going, around(GOING + 8.0))
    assert isinstance(decision, handover.Arrive)
    assert decision.deck == "B" and decision.left == {"A"}
    assert [entry.path for entry in decision.mix.entries] == ["/b.wav", "/c.wav"]


def test_the_last_track_of_a_set_file_is_let_out_and_ends() -> None:
    last = replace(PLAYS, mix=replace(MIX, entries=(replace(MIX.entries[0], transition=None),)))
    assert isinstance(decide(last, around(47.5)), handover.GoRound), "a set without end goes on"
    closing = decide(last, around(45.0, ends=True))
    assert isinstance(closing, handover.Close) and closing.moves
    assert decide(replace(last, closing=True), around(48.5, ends=True)) is None
    assert decide(replace(last, closing=True), around(49.5, ends=True)) == handover.Finish()


def test_the_loop_is_told_once_and_is_not_told_to_a_deck_in_hands() -> None:
    wanted = handover.loop_wanted(PLAYS, ())
    assert wanted is not None and wanted[0] == "A"
    assert handover.loop_wanted(replace(PLAYS, armed=wanted), ()) is None
    assert handover.loop_wanted(PLAYS, ("A",)) is None
    assert handover.loop_wanted(ready().at(Stage.GOING, 1.0), ()) is None


def test_silence_is_borne_for_a_while_and_then_something_begins() -> None:
    assert recovery.revive(PLAYS, True, 120.0, 5.0) == recovery.Silence(None)
    assert recovery.revive(PLAYS, False, 120.0, 5.0) == recovery.Silence(5.0)
    quiet = replace(PLAYS, quiet=5.0)
    assert recovery.revive(quiet, False, 120.0, 6.0) == recovery.Silence(5.0)
    begun = recovery.revive(quiet, False, 100.0, 5.0 + recovery.QUIET_SECONDS)
    assert begun.begin is not None and begun.begin.bpm == 100.0
    assert [entry.path for entry in begun.begin.entries] == ["/b.wav", "/c.wav"]
