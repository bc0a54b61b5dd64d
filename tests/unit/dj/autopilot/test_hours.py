"""Opening hours: a DJ that closes plays its track to the end, and plays again when it opens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.state import Stage
from crowdstream.dj.autopilot.track_selector import SetFileSelector
from tests.support.simulated_dj import (
    BPM,
    SimulatedDj,
    current_track,
    dj_command,
    endless,
    next_track,
    tone_set,
)

BEATS = 100  # of each track, see `endless`
LENGTH = BEATS * 60.0 / BPM


@pytest.fixture
def sim() -> Iterator[SimulatedDj]:
    with SimulatedDj() as made:
        yield made


def playing_deck(dj: Session) -> str:
    return dj.player.state.decks[dj.player.state.index]


def silent(sim: SimulatedDj) -> bool:
    return not np.abs(sim.block_out).any()


def close_and_hear_the_end(sim: SimulatedDj, dj: Session) -> float:
    """Close, wait for silence, and return the latest position in the track, in seconds."""
    assert dj_command(sim, "hours", 0) == ""
    latest, deadline = 0.0, sim.time + 200.0
    while dj.player.state.mix is not None:
        if dj.player.state.stage != Stage.MIXING and dj.player.state.index >= 0:
            deck = playing_deck(dj)
            latest = max(latest, sim.deck(deck, "position"))
        sim.step()
        assert sim.time < deadline
    return latest


@pytest.mark.parametrize("stage", [Stage.NONE, Stage.LOADING, Stage.READY])
def test_the_track_that_plays_is_complete_when_it_closes(
    sim: SimulatedDj, tmp_path: Path, stage: Stage
) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcd"))
    sim.until(lambda: len(dj.player.state.history) == 2 and dj.player.state.stage == stage)
    last = current_track(dj)
    assert close_and_hear_the_end(sim, dj) == pytest.approx(LENGTH, abs=0.05)
    played = dj.player.state.history
    assert Path(played[-1]).stem == last and len(played) == 2
    sim.seconds(20)
    assert silent(sim)
    assert not dj.player.state.finished and dj.state()["note"] == "closed"
    assert len(sim.gaps) == 1, "only the silence before the first track"


def test_the_incoming_track_of_a_transition_is_the_last_one(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcd"))
    sim.until(
        lambda: len(dj.player.state.history) == 2 and dj.player.state.stage == Stage.MIXING
        and dj.player.state.index == 0
    )
    incoming = next_track(dj)
    assert close_and_hear_the_end(sim, dj) == pytest.approx(LENGTH, abs=0.05)
    assert Path(dj.player.state.history[-1]).stem == incoming


def test_it_plays_again_when_it_opens_and_remembers_what_was_played(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcd"))
    sim.until(lambda: len(dj.player.state.history) == 2)
    close_and_hear_the_end(sim, dj)
    before = dj.player.state.history
    sim.seconds(10)
    assert dj_command(sim, "hours", 1) == ""
    sim.until(lambda: len(dj.player.state.history) == 4)
    played = dj.player.state.history
    assert played[:2] == before
    assert len(set(played)) == 4, "no track is repeated while others are left"


def test_opening_again_in_time_changes_nothing(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcd"))
    sim.until(lambda: len(dj.player.state.history) == 2)
    dj_command(sim, "hours", 0)
    sim.seconds(1)
    dj_command(sim, "hours", 1)
    sim.until(lambda: len(dj.player.state.history) == 4)
    assert len(sim.gaps) == 1


def test_a_dj_that_is_closed_before_it_has_begun_plays_nothing(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.start_dj(endless(tmp_path, "ab"))
    sim.until(lambda: sim.core.dj.connected)
    assert dj_command(sim, "hours", 0) == ""
    sim.seconds(15)
    assert silent(sim) and not sim.out.any()
    dj_command(sim, "hours", 1)
    sim.until(lambda: len(dj.player.state.history) == 1)


def test_a_new_dj_stays_closed(sim: SimulatedDj, tmp_path: Path) -> None:
    selector = endless(tmp_path, "abcd")
    dj = sim.start_dj(selector)
    sim.until(lambda: len(dj.player.state.history) == 1)
    close_and_hear_the_end(sim, dj)
    sim.seconds(6)
    sim.kill_dj(dj)
    other = sim.start_dj(selector)
    sim.seconds(15)
    assert other.player.state.closed and silent(sim)


def test_the_set_of_a_file_is_closed_as_well(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abc")))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == Stage.READY)
    dj_command(sim, "hours", 0)
    sim.until(lambda: dj.player.state.mix is None)
    assert [Path(path).stem for path in dj.player.state.history] == ["a"]
    sim.seconds(5)
    assert silent(sim) and not dj.player.state.finished


@pytest.mark.parametrize("stage", [Stage.READY, Stage.MIXING])
def test_a_set_file_that_is_opened_again_in_time_is_continued(
    sim: SimulatedDj, tmp_path: Path, stage: Stage
) -> None:
    dj = sim.start_dj(SetFileSelector(tone_set(tmp_path, "abcd", beats=100, leave=48.0)))
    sim.until(lambda: current_track(dj) == "a" and dj.player.state.stage == stage)
    dj_command(sim, "hours", 0)
    sim.seconds(5.0)
    playing = current_track(dj)
    assert playing == ("a" if stage == Stage.READY else "b") and next_track(dj) == ""
    dj_command(sim, "hours", 1)
    sim.until(lambda: dj.player.state.finished)
    names = [Path(path).stem for path in dj.player.state.history]
    assert names == ["a", "b", "c", "d"] and len(sim.gaps) == 1


def test_a_dj_that_is_opened_during_its_last_beats_plays_on(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcd"))
    sim.until(lambda: len(dj.player.state.history) == 2)
    dj_command(sim, "hours", 0)
    sim.until(lambda: dj.player.state.closing, 200.0)
    assert dj_command(sim, "hours", 1) == ""
    sim.until(lambda: len(dj.player.state.history) == 4)
    assert not dj.player.state.finished


def test_silence_after_closing_is_not_filled(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcd"))
    sim.until(lambda: len(dj.player.state.history) == 2 and dj.player.state.stage == Stage.READY)
    dj_command(sim, "hours", 0)
    sim.seconds(1)
    sim.send(f"/deck/{playing_deck(dj)}/stop")  # a person wants to go home
    sim.seconds(20)
    assert silent(sim) and dj.state()["note"] == "closed"


def test_only_tracks_of_the_folders_are_chosen(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(endless(tmp_path, "abcdef"))
    sim.until(lambda: len(dj.player.state.history) == 1 and dj.player.state.stage == Stage.READY)
    club = [os.fspath(tmp_path / f"{name}.wav") for name in "ef"]
    assert dj_command(sim, "folders", *club) == ""
    begin = len(dj.player.state.history)
    sim.until(lambda: len(dj.player.state.history) == begin + 4)
    assert {Path(path).stem for path in dj.player.state.history[begin:]} == {"e", "f"}
    assert dj_command(sim, "folders") == ""
    sim.until(lambda: Path(dj.player.state.history[-1]).stem in "abcd")
    assert len(sim.gaps) == 1


def test_only_tracks_with_the_tags_are_chosen(sim: SimulatedDj, tmp_path: Path) -> None:
    tags = {"c": ("Lounge", "Jazz"), "d": ("lounge",), "e": ("Techno",)}
    dj = sim.start_dj(endless(tmp_path, "abcdef", tags=tags))
    sim.until(lambda: len(dj.player.state.history) == 1 and dj.player.state.stage == Stage.READY)
    assert dj_command(sim, "tags", "LOUNGE", "nothing") == ""
    begin = len(dj.player.state.history)
    sim.until(lambda: len(dj.player.state.history) == begin + 4)
    assert {Path(path).stem for path in dj.player.state.history[begin:]} == {"c", "d"}
    # Folders and tags apply together, and without a track that fits, other music plays.
    assert dj_command(sim, "folders", os.fspath(tmp_path / "e.wav")) == ""
    sim.until(lambda: Path(dj.player.state.history[-1]).stem not in "cd")
    assert dj_command(sim, "folders") == ""
    sim.until(lambda: Path(dj.player.state.history[-1]).stem in "cd")
    assert len(sim.gaps) == 1


def test_another_dj_continues_with_the_tags(sim: SimulatedDj, tmp_path: Path) -> None:
    selector = endless(tmp_path, "abcd", tags={"b": ("lounge",)})
    dj = sim.start_dj(selector)
    sim.until(lambda: len(dj.player.state.history) == 1)
    dj_command(sim, "tags", "lounge")
    sim.seconds(6)
    sim.kill_dj(dj)
    other = sim.start_dj(selector)
    sim.seconds(15)
    assert other.player.state.tags == ("lounge",)


def test_an_empty_folder_does_not_silence_the_music(sim: SimulatedDj, tmp_path: Path) -> None:
    dj = sim.start_dj(endless(tmp_path, "abc"))
    sim.until(lambda: len(dj.player.state.history) == 1)
    assert dj_command(sim, "folders", "/nothing/here") == ""
    sim.until(lambda: len(dj.player.state.history) == 4)
    assert len(sim.gaps) == 1
