"""The DJ at work: it mixes on phrases, and plays on through all that can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crowdstream.dj.autopilot.track_selector import EndlessSelector, SetFileSelector
from crowdstream.dj.planning.candidates import of_analyses
from crowdstream.dj.planning.planner import Planner, Wishes
from tests.support.simulated_dj import BPM, SimulatedDj, ask, coming, endless, made, meeting, plays


@pytest.fixture
def sim() -> Iterator[SimulatedDj]:
    with SimulatedDj() as made:
        yield made


def test_it_mixes_on_the_beat_where_the_set_says_so_to_the_end(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "abc")))
    sim.until(lambda: plays(dj) == "a")
    assert meeting(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert sim.status()["deck.B.low"] == 0.0
    assert meeting(sim, "B", "C") == pytest.approx(40.0, abs=1e-3)
    sim.until(lambda: plays(dj) == "c")
    assert sim.deck("B", "low") == 0.0 and sim.deck("C", "low") == 1.0
    sim.until(lambda: dj.player.state.finished)
    assert len(sim.holes) == 1, "only the one before the first track"
    assert sim.fails() == []


@pytest.mark.parametrize("bad", ["no sound at all", ""])
def test_a_file_that_is_bad_or_gone_is_left_out(sim: SimulatedDj, tmp_path: Path, bad: str) -> None:
    mix = made(tmp_path, "abc")
    path = Path(mix.entries[1].path)
    path.write_text(bad) if bad else path.unlink()
    dj = sim.join(SetFileSelector(mix))
    sim.until(lambda: plays(dj) == "a")
    assert meeting(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    sim.until(lambda: plays(dj) == "c")
    assert list(dj.player.state.bad) == [str(path)] and len(sim.holes) == 1


def test_the_phrase_goes_round_until_a_late_load_is_there(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "ab")))
    sim.until(lambda: plays(dj) == "a" and dj.player.state.stage == "none")
    sim.pages_a_block = 0
    sim.until(lambda: "goes round: the next one is still loading" in dj.player.state.note)
    sim.until(lambda: sim.deck("A", "beat") < 20.0)  # back from 40 to 8
    sim.pages_a_block = 1000
    assert meeting(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.holes) == 1


def test_a_load_that_never_comes_is_given_up(sim: SimulatedDj, tmp_path: Path) -> None:
    chooser = endless(tmp_path, "abc")
    dj = sim.join(chooser)
    sim.until(lambda: plays(dj) and dj.player.state.stage == "loading")
    mix = dj.player.state.mix
    assert mix is not None
    stuck = mix.entries[1].path
    elsewhere = {**dj.player.state.decks, 1: "E"}  # so nobody says that it is done
    dj.player.state = replace(dj.player.state, decks=elsewhere)
    sim.until(lambda: stuck in dj.player.state.bad)
    sim.until(lambda: dj.player.state.stage == "going")
    assert dj.player.state.mix is not None
    assert dj.player.state.mix.entries[1].path != stuck and len(sim.holes) == 1


def test_an_empty_folder_is_waited_for(sim: SimulatedDj, tmp_path: Path) -> None:
    full = endless(tmp_path, "a")
    shelves = [of_analyses({}), full._shelf()]
    dj = sim.join(EndlessSelector(Planner, lambda: shelves[0], lambda: 0.5))
    sim.until(lambda: "there is no track to play" in dj.player.state.note)
    shelves.reverse()
    sim.until(lambda: plays(dj) == "a", 10.0)


def test_one_track_is_mixed_into_itself_without_an_end(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.join(endless(tmp_path, "a"))
    sim.until(lambda: len(dj.player.state.history) == 4)
    assert len(sim.holes) == 1


@pytest.mark.parametrize("dies", [False, True])
def test_a_repeat_gives_way_to_what_is_analysed_meanwhile(
    sim: SimulatedDj, tmp_path: Path, dies: bool
) -> None:
    full = endless(tmp_path, "abc")
    shelves = [of_analyses({}), full._shelf()]
    path = shelves[1].cards[0].path
    shelves[0] = of_analyses({path: shelves[1].facts(path).analysis})
    chooser = EndlessSelector(
        lambda cards: Planner(cards, Wishes()), lambda: shelves[0], lambda: 0.0
    )
    dj = sim.join(chooser)
    sim.until(lambda: coming(dj) == "a" and dj.player.state.stage == "ready")
    if dies:
        sim.seconds(1.0)
        sim.leave(dj)
        dj = sim.join(chooser)
        sim.until(lambda: coming(dj) == "a")
    shelves.reverse()
    sim.until(lambda: coming(dj) in ("b", "c"), 15.0)
    sim.until(lambda: plays(dj) in ("b", "c"))
    assert len(sim.holes) == 1


def test_a_long_night_repeats_nothing_before_all_were_played_and_stays_small(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.join(endless(tmp_path, "abcd"))
    longest = 0
    while len(dj.player.state.history) < 8:
        sim.step()
        longest = max(longest, len(dj.player.state.mix.entries) if dj.player.state.mix else 0)
    played = dj.player.state.history
    assert len(set(played[:4])) == 4
    assert all(one not in played[at - 2 : at] for at, one in enumerate(played) if at > 1)
    assert longest == 2 and len(sim.holes) == 1


def test_a_dj_that_dies_is_followed_by_another_that_plays_the_rest(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    mix = made(tmp_path, "abcd")
    one = sim.join(SetFileSelector(mix))
    sim.until(lambda: plays(one) == "b" and one.player.state.stage == "ready")
    assert ask(sim, "hold", 1) == ""
    sim.seconds(1.0)
    sim.leave(one)
    sim.seconds(15.0)  # the phrase goes round without anybody
    assert sim.deck("B", "state") == "playing" and sim.deck("B", "loop")
    two = sim.join(SetFileSelector(mix))
    sim.until(lambda: plays(two) == "b", 5.0)
    assert "goes on where" in two.player.state.note and two.player.state.holding
    assert ask(sim, "hold", 0) == ""
    assert meeting(sim, "B", "D") == pytest.approx(40.0, abs=1e-3)
    assert sim.deck("C", "state") == "empty"
    sim.until(lambda: plays(two) == "d")
    sim.until(lambda: two.player.state.finished)
    assert len(sim.holes) == 1


def test_a_dj_that_dies_in_a_transition_leaves_it_to_the_next_one(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    mix = made(tmp_path, "abc")
    one = sim.join(SetFileSelector(mix))
    sim.until(lambda: plays(one) == "a")
    sim.until(lambda: sim.deck("B", "beat") > 1.0)
    sim.leave(one)
    two = sim.join(SetFileSelector(mix))
    sim.until(lambda: plays(two) == "b")
    sim.seconds(1.0)
    assert sim.deck("A", "state") != "playing" and sim.deck("B", "low") == 1.0
    assert meeting(sim, "B", "C") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.holes) == 1


@pytest.mark.parametrize(
    ("killed", "track", "phrase"),
    [(40.0, "a", 32.0), (87.5, "a", 64.0), (94.0, "a", 64.0), (101.0, "b", 0.0)],
)
def test_a_server_that_comes_back_goes_on_with_what_was_heard(
    sim: SimulatedDj, tmp_path: Path, killed: float, track: str, phrase: float
) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "abc", beats=112, leave=104.0)))
    sim.until(lambda: plays(dj) == "a" and sim.deck("A", "beat") > killed)
    sim.seconds(0.4)  # it has heard of that
    with SimulatedDj() as after:
        sim.die(dj, 4.0, after)
        after.until(lambda: after.deck("A", "state") == "playing", 6.0)
        status = after.status()
        assert status["deck.A.track"] == track and status["bpm"] == BPM
        assert phrase <= status["deck.A.beat"] < phrase + 0.5 and abs(status["deck.A.phase"]) < 1e-3
        assert meeting(after, "A", "B") == pytest.approx(96.0, abs=1e-3)
        assert len(after.holes) == 1


