"""The DJ and people: manual control, commands, and the crowd's movement."""

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
from tests.support.simulated_dj import (
    SimulatedDj,
    current_track,
    dj_command,
    endless,
    next_track,
    start_beat,
    tone_set,
)


@pytest.fixture
def sim() -> Iterator[SimulatedDj]:
    with SimulatedDj() as sim:
        yield sim


def test_a_deck_is_under_manual_control_until_released(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab")))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "ready")
    sim.until(lambda: sim.deck("A", "beat") > 14.0)
    sim.send("/deck/A/eq/mid", 0.5)
    sim.until(lambda: "A" in dj.player.override, 1.0)
    sim.seconds(20.0)
    assert current_track(dj) == "a" and sim.deck("B", "state") == "ready"
    assert sim.deck("A", "mid") == 0.5 and "under manual control" in dj.player.state.note
    sim.send("/deck/A/seek/beat", 2.0)  # the mix also continues from there
    sim.seconds(0.5)
    assert dj_command(sim, "give", "A") == ""
    assert start_beat(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.gaps) == 1


def test_the_tempo_is_under_manual_control_until_released(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = tone_set(tmp_path, "ab")
    assert mix.entries[0].transition is not None
    rows = mix.entries[0].transition.rows
    dj = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(dj) == "a" and sim.deck("A", "beat") > 14.0)
    sim.send("/clock/tempo", 220.0)
    sim.until(lambda: "tempo" in dj.player.override, 1.0)
    assert len(rows) and start_beat(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert sim.status()["bpm"] == 220.0
    assert dj_command(sim, "give", "tempo") == "" and "tempo" not in dj.player.override


@pytest.mark.parametrize("beat", [60.0, 93.0, 97.0])
def test_the_mix_goes_on_after_a_reset_of_the_clock(
    sim: SimulatedDj, tmp_path: Path, beat: float
) -> None:
    mix = tone_set(tmp_path, "abc", beats=112, leave=104.0)
    dj = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: current_track(dj) == "b" and dj.player.state.stage == "ready")
    sim.until(lambda: sim.deck("B", "beat") > beat)
    sim.send("/clock/reset")
    if beat < 96.0:
        sim.until(lambda: sim.deck("C", "state") == "playing", 15.0)
        assert start_beat(sim, "B", "C") == pytest.approx(96.0, abs=1e-3)
    sim.until(lambda: current_track(dj) == "c", 15.0)
    sim.seconds(1.0)
    assert sim.deck("B", "state") == "ready" and sim.deck("C", "low") == 1.0
    sim.until(lambda: dj.player.state.finished, 60.0)
    assert len(sim.gaps) == 1


@pytest.mark.parametrize("beat", [33.5, 41.0])
def test_commands_that_a_person_cancels_are_sent_again(
    sim: SimulatedDj, tmp_path: Path, beat: float
) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abc", beats=112)))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "going")
    sim.until(lambda: sim.deck("A", "beat") > beat)
    sim.send("/cancel")
    if beat < 40.0:
        assert start_beat(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    sim.until(lambda: current_track(dj) == "b", 5.0)
    sim.seconds(1.0)
    assert sim.deck("A", "state") != "playing" and sim.deck("B", "low") == 1.0
    assert not list(dj.player.override)


def test_stopping_the_playing_deck_starts_the_next_track(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abc")))
    sim.until(lambda: current_track(dj) == "a" and sim.deck("A", "beat") > 14.0)
    sim.send("/deck/A/stop")
    sim.until(lambda: current_track(dj) == "b", 8.0)
    assert len(sim.gaps) == 2 and sim.gaps[1][1] < 6.0


def test_next_starts_the_transition_at_the_next_phrase(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = tone_set(tmp_path, "ab", beats=208, leave=200.0)
    dj = sim.start_dj(SetFileSelector(mix))
    sim.until(lambda: sim.core.dj.connected)
    assert "nothing plays yet" in dj_command(sim, "next")
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "ready")
    assert dj_command(sim, "next") == ""
    assert start_beat(sim, "A", "B") == pytest.approx(16.0, abs=1e-3)


@pytest.mark.parametrize("held", [False, True])
def test_next_waits_for_a_track_that_is_loading(
    sim: SimulatedDj, tmp_path: Path, held: bool
) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab", beats=208, leave=200.0)))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage != "ready")
    assert dj.handle_command("next", ()) == ""
    if held:  # the later request counts
        assert dj.handle_command("hold", (1,)) == ""
        sim.seconds(10.0)
        assert dj.player.state.stage == "ready" and dj.handle_command("hold", (0,)) == ""
    first = 200.0 - 8.0 if held else 16.0
    assert start_beat(sim, "A", "B") == pytest.approx(first, abs=1e-3)
    sim.until(lambda: current_track(dj) == "b")
    assert "no other track follows" in dj_command(sim, "next")


def test_hold_repeats_the_phrase_that_next_had_made_the_last(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab", beats=208, leave=200.0)))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "ready")
    assert dj_command(sim, "next") == "" == dj_command(sim, "hold", 1)
    sim.seconds(10.0)
    assert sim.deck("A", "beat") < 16.0
    assert dj_command(sim, "hold", 0) == ""
    assert start_beat(sim, "A", "B") == pytest.approx(16.0, abs=1e-3)


def test_if_the_next_deck_is_taken_another_deck_is_used(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab")))
    sim.until(lambda: current_track(dj) == "a" and sim.deck("A", "beat") > 14.0)
    sim.send("/deck/B/play")
    assert start_beat(sim, "A", "C") == pytest.approx(40.0, abs=1e-3)
    sim.until(lambda: current_track(dj) == "b")
    assert sim.deck("B", "state") == "playing"
    assert dj_command(sim, "give", "B") == ""
    sim.until(lambda: sim.deck("B", "state") != "playing", 3.0)
    assert sim.deck("C", "state") == "playing"


def test_a_track_that_a_person_displaces_while_it_loads_is_loaded_elsewhere(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    mix = tone_set(tmp_path, "abc")
    dj = sim.start_dj(SetFileSelector(replace(mix, entries=mix.entries[:2])))
    sim.until(lambda: current_track(dj) == "a" and sim.deck("A", "beat") > 14.0)
    assert dj_command(sim, "hold", 1) == ""
    dj.player.reconsider()
    sim.pages_a_block = 0
    sim.until(lambda: dj.player.state.stage == "loading")
    sim.seconds(0.2)
    sim.send(f"/deck/{dj.player.state.decks[1]}/load", mix.entries[2].path)
    sim.seconds(0.5)
    sim.pages_a_block = 1000
    sim.until(lambda: dj.player.state.stage == "ready", 10.0)
    assert next_track(dj) == "b" and not dj.player.state.bad


def test_a_deck_taken_during_a_transition_is_left_alone(sim: SimulatedDj, tmp_path: Path) -> None:
    mix = tone_set(tmp_path, "ab", beats=112, leave=64.0)
    rows = (
        AutomationPoint(0, "in", "low", 0.0),
        AutomationPoint(28, "in", "low", 1.0),
        AutomationPoint(28, "out", "low", 0.0),
    )
    transition = Transition("bass swap", 8, rows)
    entries = (replace(mix.entries[0], transition=transition), *mix.entries[1:])
    dj = sim.start_dj(SetFileSelector(replace(mix, entries=entries)))
    start_beat(sim, "A", "B")
    sim.send("/deck/B/eq/low", 0.3)
    sim.until(lambda: current_track(dj) == "b")
    assert sim.deck("B", "low") == pytest.approx(0.3) and sim.deck("A", "low") == 0.0


def test_hold_keeps_the_track_until_it_is_lifted(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "ab")))
    sim.until(lambda: current_track(dj) == "a")
    assert dj_command(sim, "hold", 1) == ""
    sim.seconds(20.0)
    assert current_track(dj) == "a" and sim.deck("B", "state") == "ready"
    assert dj_command(sim, "hold", 0) == ""
    assert start_beat(sim, "A", "B") == pytest.approx(40.0, abs=1e-3)
    assert len(sim.gaps) == 1


@pytest.fixture
def endless_dj(sim: SimulatedDj, tmp_path: Path) -> Session:
    """A DJ that plays its first, calmest track, with the next one loaded."""
    dj = sim.start_dj(endless(tmp_path, "abcdef"))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "ready")
    return dj


def test_skip_selects_another_next_track(sim: SimulatedDj, endless_dj: Session) -> None:
    first = next_track(endless_dj)
    assert dj_command(sim, "skip") == ""
    sim.until(lambda: next_track(endless_dj) not in ("", first), 2.0)


def test_energy_governs_selection_until_set_to_auto(sim: SimulatedDj, endless_dj: Session) -> None:
    assert dj_command(sim, "energy", 1.0) == "" and endless_dj.player.state.energy == 1.0
    sim.until(lambda: len(endless_dj.player.state.history) == 2 and next_track(endless_dj))
    assert next_track(endless_dj) in "ef"
    assert dj_command(sim, "energy", "auto") == "" and endless_dj.player.state.energy is None


def test_queue_plays_requests_in_order(sim: SimulatedDj, endless_dj: Session) -> None:
    assert "knows no such track" in dj_command(sim, "queue", "nothing")
    assert dj_command(sim, "queue", "e.wav") == ""
    sim.until(
        lambda: next_track(endless_dj) == "e" and endless_dj.player.state.stage == "ready", 2.0
    )
    assert dj_command(sim, "queue", "f.wav") == "" == dj_command(sim, "queue", "b.wav")
    sim.until(lambda: current_track(endless_dj) == "b")
    names = [Path(path).stem for path in endless_dj.player.state.history]
    assert names == ["a", "e", "f", "b"]


def test_the_reply_to_a_dropped_load_is_not_attributed_to_the_next(
    sim: SimulatedDj, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abcd", beats=480, leave=472.0)))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == "ready")
    sim.pages_a_block = 0  # the loader makes no progress
    known = dj.link.deck
    # The server's status lags behind: the loading deck is still reported as empty.
    monkeypatch.setattr(dj.link, "deck", lambda deck, name: (
        "empty" if name == "state" and deck != "A" else known(deck, name)
    ))  # fmt: skip
    assert dj_command(sim, "ban", "b.wav") == ""
    sim.until(lambda: next_track(dj) == "c" and dj.player.state.stage == "loading", 30.0)
    assert dj_command(sim, "queue", "b.wav") == ""
    sim.until(lambda: next_track(dj) == "b" and dj.player.state.stage == "loading", 30.0)
    sim.seconds(1.0)
    sim.pages_a_block = 1000
    monkeypatch.undo()
    sim.until(lambda: dj.player.state.stage == "ready", 10.0)
    assert dj.player.state.mix is not None and not dj.player.state.bad
    assert [Path(entry.path).stem for entry in dj.player.state.mix.entries] == ["a", "b", "c", "d"]


def test_ban_excludes_a_track_and_leaves_the_playing_one(
    sim: SimulatedDj, endless_dj: Session
) -> None:
    first = next_track(endless_dj)
    assert dj_command(sim, "ban", f"{first}.wav") == ""
    sim.until(lambda: next_track(endless_dj) not in ("", first), 2.0)
    sim.until(lambda: endless_dj.player.state.stage == "ready", 2.0)
    assert dj_command(sim, "ban") == ""
    sim.until(lambda: current_track(endless_dj) != "a", 20.0)
    sim.until(lambda: len(endless_dj.player.state.history) == 7)
    assert not {"a", first} & {Path(path).stem for path in endless_dj.player.state.history[1:]}


# The crowd


def report_movement(sim: SimulatedDj, movement: float, seconds: float) -> list[float]:
    """Report movement ten times per second; return the tempo after each second."""
    tempos = []
    for tenth in range(round(10 * seconds)):
        sim.send("/dance/total_movement", movement, sender=ME)
        sim.seconds(0.1)
        if tenth % 10 == 9:
            tempos.append(float(sim.status()["bpm"]))
    return tempos


def test_the_crowd_moves_the_tempo_within_the_range_of_the_track(tmp_path: Path) -> None:
    movement_map = replace(read_map(PRESETS / "crowd.toml", 120.0), silent_seconds=5.0)
    with SimulatedDj(bpm=120.0) as sim:
        selector: TrackSelector = endless(tmp_path, "a", 120.0)
        dj = sim.start_dj(selector, CrowdInput(movement_map))
        sim.until(lambda: current_track(dj) == "a")
        up = report_movement(sim, 0.6, 12.0)
        assert up == sorted(up) and up[-1] == pytest.approx(120.0 * 1.08, abs=0.01)
        assert up[5] - up[4] == pytest.approx(25.0 / 20.0, abs=0.02), "attack: 25 BPM in 20 s"
        assert dj.player.selection_request(sim.time).energy == pytest.approx(1.0, abs=0.01)
        down = report_movement(sim, 0.0, 25.0)
        assert down[-1] == pytest.approx(120.0 * 0.92, abs=0.01), "not 105: too slow for the track"
        assert down[5] - down[6] == pytest.approx(25.0 / 30.0, abs=0.02), "release: 25 BPM in 30 s"
        sim.seconds(22.0)
        assert sim.status()["bpm"] == pytest.approx(120.0), (
            "without reports, the tempo is the plan's"
        )
        assert len(sim.gaps) == 1
