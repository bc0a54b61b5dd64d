"""The DJ among people: their hands, their words, and how much they dance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.track_selector import SetFileSelector, TrackSelector
from crowdstream.dj.setfile.model import AutomationPoint, Transition
from crowdstream.movement.map_file import read_map
from crowdstream.settings.files import PRESETS
from tests.support.offline_server import ME
from tests.support.simulated_dj import SimulatedDj, ask, coming, endless, made, meeting, plays


@pytest.fixture
def sim() -> Iterator[SimulatedDj]:
    with SimulatedDj() as made:
        yield made


def test_a_person_has_a_deck_until_it_is_given_back(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "ab")))
    sim.until(lambda: plays(dj) == "a" and dj.player.state.stage == "ready")
    sim.until(lambda: sim.deck("A", "beat") > 14.0)
    sim.send("/deck/A/eq/mid", 0.5)
    sim.until(lambda: "A" in dj.player.hands, 1.0)
    sim.seconds(20.0)
    assert plays(dj) == "a" and sim.deck("B", "state") == "ready"
    assert sim.deck("A", "mid") == 0.5 and "in a person's hands" in dj.player.state.note
    sim.send("/deck/A/seek/beat", 2.0)  # it goes on from there, too
    sim.seconds(0.5)
    assert ask(sim, "give", "A") == ""
    assert meeting(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.holes) == 1


def test_a_person_has_the_tempo_until_it_is_given_back(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = made(tmp_path, "ab")
    assert mix.entries[0].transition is not None
    rows = mix.entries[0].transition.rows
    dj = sim.join(SetFileSelector(mix))
    sim.until(lambda: plays(dj) == "a" and sim.deck("A", "beat") > 14.0)
    sim.send("/clock/tempo", 220.0)
    sim.until(lambda: "tempo" in dj.player.hands, 1.0)
    assert len(rows) and meeting(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert sim.status()["bpm"] == 220.0
    assert ask(sim, "give", "tempo") == "" and "tempo" not in dj.player.hands


def test_a_person_who_stops_what_plays_gets_the_next_track(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "abc")))
    sim.until(lambda: plays(dj) == "a" and sim.deck("A", "beat") > 14.0)
    sim.send("/deck/A/stop")
    sim.until(lambda: plays(dj) == "b", 8.0)
    assert len(sim.holes) == 2 and sim.holes[1][1] < 6.0


def test_next_comes_with_the_next_phrase(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = made(tmp_path, "ab", beats=208, leave=200.0)
    dj = sim.join(SetFileSelector(mix))
    sim.until(lambda: sim.core.dj.there)
    assert "nothing plays yet" in ask(sim, "next")
    sim.until(lambda: plays(dj) == "a" and dj.player.state.stage == "ready")
    assert ask(sim, "next") == ""
    assert meeting(sim, "A", "B") == pytest.approx(16.0, abs=1e-3)


def test_a_phrase_that_was_to_be_the_last_one_goes_round_when_it_is_held(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "ab", beats=208, leave=200.0)))
    sim.until(lambda: plays(dj) == "a" and dj.player.state.stage == "ready")
    assert ask(sim, "next") == "" == ask(sim, "hold", 1)
    sim.seconds(10.0)
    assert sim.deck("A", "beat") < 16.0
    assert ask(sim, "hold", 0) == ""
    assert meeting(sim, "A", "B") == pytest.approx(16.0, abs=1e-3)


def test_a_person_who_takes_the_next_deck_leaves_others_to_it(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "ab")))
    sim.until(lambda: plays(dj) == "a" and sim.deck("A", "beat") > 14.0)
    sim.send("/deck/B/play")
    assert meeting(sim, "A", "C") == pytest.approx(40.0, abs=1e-3)
    sim.until(lambda: plays(dj) == "b")
    assert sim.deck("B", "state") == "playing"
    assert ask(sim, "give", "B") == ""
    sim.until(lambda: sim.deck("B", "state") != "playing", 3.0)
    assert sim.deck("C", "state") == "playing"


def test_a_deck_taken_in_a_transition_is_left_alone(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = made(tmp_path, "ab", beats=112, leave=64.0)
    rows = (
        AutomationPoint(0, "in", "low", 0.0),
        AutomationPoint(28, "in", "low", 1.0),
        AutomationPoint(28, "out", "low", 0.0),
    )
    way = Transition("bass swap", 8, rows)
    entries = (replace(mix.entries[0], transition=way), *mix.entries[1:])
    dj = sim.join(SetFileSelector(replace(mix, entries=entries)))
    meeting(sim, "A", "B")
    sim.send("/deck/B/eq/low", 0.3)
    sim.until(lambda: plays(dj) == "b")
    assert sim.deck("B", "low") == pytest.approx(0.3) and sim.deck("A", "low") == 0.0


def test_hold_stays_and_lets_go(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "ab")))
    sim.until(lambda: plays(dj) == "a")
    assert ask(sim, "hold", 1) == ""
    sim.seconds(20.0)
    assert plays(dj) == "a" and sim.deck("B", "state") == "ready"
    assert ask(sim, "hold", 0) == ""
    assert meeting(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.holes) == 1


@pytest.fixture
def endless_dj(sim: SimulatedDj, tmp_path: Path) -> Session:
    """In its first track, the calmest; the next one is loaded."""
    dj = sim.join(endless(tmp_path, "abcdef"))
    sim.until(lambda: plays(dj) == "a" and dj.player.state.stage == "ready")
    return dj


def test_skip_takes_another_next_track(sim: SimulatedDj, endless_dj: Session) -> None:
    first = coming(endless_dj)
    assert ask(sim, "skip") == ""
    sim.until(lambda: coming(endless_dj) not in ("", first), 2.0)


def test_energy_chooses_among_tracks_until_it_is_auto(
    sim: SimulatedDj, endless_dj: Session
) -> None:
    assert ask(sim, "energy", 1.0) == "" and endless_dj.player.state.energy == 1.0
    sim.until(lambda: len(endless_dj.player.state.history) == 2 and coming(endless_dj))
    assert coming(endless_dj) in "ef"
    assert ask(sim, "energy", "auto") == "" and endless_dj.player.state.energy is None


def test_queue_plays_wishes_next_in_their_order(sim: SimulatedDj, endless_dj: Session) -> None:
    assert "knows no such track" in ask(sim, "queue", "nothing")
    assert ask(sim, "queue", "e.wav") == ""
    sim.until(lambda: coming(endless_dj) == "e" and endless_dj.player.state.stage == "ready", 2.0)
    assert ask(sim, "queue", "f.wav") == "" == ask(sim, "queue", "b.wav")
    sim.until(lambda: plays(endless_dj) == "b")
    names = [Path(path).stem for path in endless_dj.player.state.history]
    assert names == ["a", "e", "f", "b"]


def test_the_reply_to_a_load_that_was_dropped_is_not_taken_for_the_next_one(
    sim: SimulatedDj, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dj = sim.join(SetFileSelector(made(tmp_path, "abcd", beats=480, leave=472.0)))
    sim.until(lambda: plays(dj) == "a" and dj.player.state.stage == "ready")
    sim.pages_a_block = 0  # the loader does not get on
    known = dj.link.deck
    # The server's status lags behind: the deck that loads still counts as empty.
    monkeypatch.setattr(dj.link, "deck", lambda deck, name: (
        "empty" if name == "state" and deck != "A" else known(deck, name)
    ))  # fmt: skip
    assert ask(sim, "ban", "b.wav") == ""
    sim.until(lambda: coming(dj) == "c" and dj.player.state.stage == "loading", 30.0)
    assert ask(sim, "queue", "b.wav") == ""
    sim.until(lambda: coming(dj) == "b" and dj.player.state.stage == "loading", 30.0)
    sim.seconds(1.0)
    sim.pages_a_block = 1000
    monkeypatch.undo()
    sim.until(lambda: dj.player.state.stage == "ready", 10.0)
    assert dj.player.state.mix is not None and not dj.player.state.bad
    assert [Path(entry.path).stem for entry in dj.player.state.mix.entries] == ["a", "b", "c", "d"]


def test_ban_keeps_a_track_out_and_leads_on_from_what_plays(
    sim: SimulatedDj, endless_dj: Session
) -> None:
    first = coming(endless_dj)
    assert ask(sim, "ban", f"{first}.wav") == ""
    sim.until(lambda: coming(endless_dj) not in ("", first), 2.0)
    sim.until(lambda: endless_dj.player.state.stage == "ready", 2.0)
    assert ask(sim, "ban") == ""
    sim.until(lambda: plays(endless_dj) != "a", 20.0)
    sim.until(lambda: len(endless_dj.player.state.history) == 7)
    assert not {"a", first} & {Path(path).stem for path in endless_dj.player.state.history[1:]}


# The crowd -----------------------------------------------------------------------------------


def crowd(sim: SimulatedDj, movement: float, seconds: float) -> list[float]:
    """Movement is told ten times a second; the tempo of each second."""
    tempi = []
    for tenth in range(round(10 * seconds)):
        sim.send("/dance/total_movement", movement, sender=ME)
        sim.seconds(0.1)
        if tenth % 10 == 9:
            tempi.append(float(sim.status()["bpm"]))
    return tempi


def test_the_crowd_moves_the_tempo_within_the_comfort_of_the_track(tmp_path: Path) -> None:
    chart = replace(read_map(PRESETS / "crowd.toml", 120.0), silent_seconds=5.0)
    with SimulatedDj(bpm=120.0) as sim:
        chooser: TrackSelector = endless(tmp_path, "a", 120.0)
        dj = sim.join(chooser, CrowdInput(chart))
        sim.until(lambda: plays(dj) == "a")
        up = crowd(sim, 0.6, 12.0)
        assert up == sorted(up) and up[-1] == pytest.approx(120.0 * 1.08, abs=0.01)
        assert up[5] - up[4] == pytest.approx(25.0 / 20.0, abs=0.02), "attack: 25 BPM in 20 s"
        assert dj.player.asked(sim.time).energy == pytest.approx(1.0, abs=0.01)
        down = crowd(sim, 0.0, 25.0)
        assert down[-1] == pytest.approx(120.0 * 0.92, abs=0.01), "not 105: the track would suffer"
        assert down[5] - down[6] == pytest.approx(25.0 / 30.0, abs=0.02), "release: 25 BPM in 30 s"
        sim.seconds(22.0)
        assert sim.status()["bpm"] == pytest.approx(120.0), "nobody tells of it: the plan's"
        assert len(sim.holes) == 1
