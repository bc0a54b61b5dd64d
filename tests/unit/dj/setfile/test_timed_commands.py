"""A set's timed commands, and their rendering with each beat on its frame."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from crowdstream.commands.registry import TABLE
from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.reader import parse_set
from crowdstream.dj.setfile.timed_commands import (
    DECKS,
    TimedCommand,
    all_commands,
    closing,
    placements,
    sync_quantum,
    tempo_map,
    track_commands,
)
from crowdstream.offline.dj_set import cues_of
from crowdstream.offline.renderer import Renderer
from crowdstream.offline.session import Session
from crowdstream.settings import Settings
from tests.support.offline_server import RATE
from tests.support.track_analyses import click_track, club

SET = """\
[set]
bpm = 120
[[track]]
path = "one"
bpm = 120
first_downbeat = 0.5
enter = 0
leave = 32
keylock = false
  [track.transition]
  kind = "by hand"
  bars = 4
  moves = [
    [0, "in", "level", 0],
    [7.5, "out", "level", 0], [7.5, "in", "level", 1],
    [8, "out", "echo", 0.3], [8, "out", "echo.feedback", 0.2],
  ]
[[track]]
path = "two"
bpm = 120
first_downbeat = 0.25
enter = 4
leave = 36
keylock = false
  [track.transition]
  kind = "cut"
  bars = 0
  moves = [[0, "clock", "tempo", 100]]
[[track]]
path = "three"
bpm = 50
first_downbeat = 0.1
ratio = 0.5
enter = 0
leave = 8
keylock = false
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    click_track(tmp_path, "one", 120, 0.5, 40)
    click_track(tmp_path, "two", 120, 0.25, 40)
    click_track(tmp_path, "three", 50, 0.1, 12)
    return tmp_path


@pytest.fixture(scope="module")
def mix() -> Set:
    return Planner(club(10), PlanOptions(14)).plan().mix


def test_takes_beat_agrees_with_the_command_table() -> None:
    for command in TABLE.commands:
        if command.address.startswith("/deck/{deck}/"):
            address = command.address.replace("{deck}", "A")
            assert TimedCommand(0.0, address, ()).takes_beat == command.scheduled, address


def test_placements_are_contiguous(mix: Set) -> None:
    where = placements(mix)
    for before, after in pairwise(where):
        assert after.begin == before.mix_out
        assert after.mix_in_end == before.end
        assert after.deck != before.deck
    assert {place.deck for place in where} == set(DECKS)


def test_the_commands_of_all_tracks_make_up_the_set(mix: Set) -> None:
    single = [move for index in range(len(mix.entries)) for move in track_commands(mix, index)]
    assert sorted(map(repr, single + closing(mix))) == sorted(map(repr, all_commands(mix)))


def test_later_tracks_do_not_change_the_commands_of_earlier_ones(mix: Set) -> None:
    shorter = mix
    for index in range(len(mix.entries) - 2, 0, -1):
        shorter = type(mix)(mix.bpm, mix.entries[: index + 2])
        assert track_commands(shorter, index) == track_commands(mix, index)


def test_every_command_is_valid_for_the_server(mix: Set) -> None:
    for move in all_commands(mix):
        command = TABLE.find(move.address)[0]
        if not move.address.endswith("/load"):
            command.bind(list(move.args))


def test_a_deck_is_loaded_after_its_previous_track_has_ended(mix: Set) -> None:
    where = placements(mix)
    loads = [move for move in all_commands(mix) if move.stage == "load"]
    assert len(loads) == len(where)
    for move in loads:
        if move.index >= len(DECKS):
            assert move.beat > where[move.index - len(DECKS)].end
        assert move.beat <= where[move.index].begin
    for index in range(4, len(where)):
        removed = [move for move in track_commands(mix, index) if "fx/remove" in move.address]
        slots = {move.args[0] for move in removed}
        inserted = {
            move.args[0]
            for before in (index - 4, index - 3)
            for move in track_commands(mix, before)
            if move.address == f"/deck/{where[index].deck}/fx/insert"
        }
        assert slots == inserted


def test_the_sync_quantum_keeps_a_track_where_it_was_placed() -> None:
    assert sync_quantum(32, 64, 1) == 4
    assert sync_quantum(34, 64, 1) == 2
    assert sync_quantum(3, 64, 1) == 1
    assert sync_quantum(4, 4, 0.5) == 2
    assert sync_quantum(0.3, 4, 1) == 0.25


def rendered(folder: Path) -> np.ndarray:
    path = folder / "set.toml"
    mix = parse_set(SET.encode(), path)
    blocks: list[np.ndarray] = []
    settings = Settings(limiter_lookahead=0.0, limiter_ceiling=0.0)
    with Session(settings, 64 << 20, RATE, whole=False) as session:
        Renderer(session, cues_of(mix, path), lambda block: blocks.append(block.copy())).run()
    return np.concatenate(blocks)


def test_each_click_is_rendered_on_its_frame(folder: Path) -> None:
    out = rendered(folder)
    tempo = tempo_map(parse_set(SET.encode(), folder / "set.toml"))
    # The first track is audible up to beat 23.5, then the second one, on the same bar lines.
    for beat in range(1, 16 + 32):
        frame = round(tempo.second(beat) * RATE)
        window = np.abs(out[frame - 400 : frame + 400, 0])
        assert abs(int(np.argmax(window)) - 400) <= 1, beat
        expected = 0.5 if beat % 4 == 0 else 0.25
        assert window.max() == pytest.approx(expected, rel=0.35), beat
    # Then a slower track with two clock beats per track beat.
    begin = tempo.second(48)
    for beat in range(1, 8):
        frame = round((begin + beat * 60 / 50) * RATE)
        window = np.abs(out[frame - 1500 : frame + 1500, 0])
        # The clock takes 20 ms to change from 120 to 100 BPM.
        assert abs(int(np.argmax(window)) - 1500) <= 0.02 * RATE, beat


def test_a_track_is_inaudible_before_its_mix_in(folder: Path) -> None:
    out = rendered(folder)
    tempo = tempo_map(parse_set(SET.encode(), folder / "set.toml"))
    # The second track's clicks are on the same beats: if both were audible, a click would be
    # twice as high.
    frame = round(tempo.second(20) * RATE)
    assert np.abs(out[frame - 100 : frame + 100]).max() < 0.6
