"""Tracks whose beat grid is uncertain play alone, and silence within a track is not played."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from crowdstream.analysis.result import Analysis
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from crowdstream.dj.autopilot.resume_state import entry_note, entry_of
from crowdstream.dj.planning.candidates import at_own_speed, of_analyses
from crowdstream.dj.planning.explain import explain
from crowdstream.dj.planning.planner import Planner, Wishes
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.reader import read_set
from crowdstream.dj.setfile.timed_commands import all_moves, places
from crowdstream.dj.setfile.writer import write_set
from crowdstream.dj.track_features import TrackFeatures
from tests.support.drum_machine import RATE, beats_at, drums, worst_error
from tests.support.offline_server import level, write
from tests.support.track_analyses import analysis


def doubtful(found: Analysis, doubt: str = "its bars seem odd") -> Analysis:
    """The analysis with an uncertain grid."""
    return replace(found, tempo=replace(found.tempo, confidence=0.4, doubt=doubt))


def with_pause(found: Analysis, begin: float, end: float) -> Analysis:
    """The analysis of a track in which nothing is heard for a while."""
    return replace(found, silences=((begin, end),))


@pytest.fixture(scope="module")
def night() -> Set:
    """A set of six tracks, two of which are uncertain."""
    tracks = {f"/m/{n}.wav": analysis(122.0 + n, level=0.3 + 0.1 * n) for n in range(6)}
    for name in ("/m/2.wav", "/m/4.wav"):
        tracks[name] = doubtful(tracks[name])
    return Planner(of_analyses(tracks), Wishes(minutes=14, seed=3)).plan().mix


def test_no_track_is_laid_upon_an_uncertain_one(night: Set) -> None:
    assert sum(entry.uncertain for entry in night.entries) == 2
    met = 0
    for one, other in pairwise(night.entries):
        assert one.transition is not None
        if one.uncertain or other.uncertain:
            met += 1
            assert one.transition.bars == 0
            assert one.transition.kind in ("cut", "echo out")
    assert met >= 3
    where = places(night)
    for index, place in enumerate(where[:-1]):
        if night.entries[index].uncertain:
            assert where[index + 1].begin >= place.end


def test_a_set_says_which_tracks_are_uncertain_and_its_file_keeps_it(
    night: Set, tmp_path: Path
) -> None:
    entry = next(entry for entry in night.entries if entry.uncertain)
    assert "its bars seem odd" in entry.why
    said = "\n".join(explain(night))
    assert f"{entry.bpm:.2f}? bpm" in said
    assert entry_of(entry_note(entry)).confidence == 0.4
    moves = [move for move in all_moves(night) if move.address.endswith("/grid/confidence")]
    assert [move.args for move in moves] == [(0.4,), (0.4,)]
    path = write(tmp_path / "one.wav", level(20.0))
    alone = replace(entry, path=str(path), enter=0.0, leave=16.0, transition=None, stems=())
    file = tmp_path / "set.toml"
    file.write_text(write_set(replace(night, entries=(alone,)), tmp_path))
    assert read_set(file).entries[0].confidence == 0.4


def test_an_uncertain_track_whose_grid_moves_is_played_at_its_own_speed() -> None:
    found = analysis(120.0)
    moving = replace(
        found.tempo, steady=False, confidence=0.4,
        anchors=((0.0, 0.5), (100.0, 60.5), (101.0, 61.0), (300.0, 150.0)),
    )  # fmt: skip
    even = at_own_speed(replace(found, tempo=moving)).tempo
    steps = [(b - a) / (n - m) for (m, a), (n, b) in pairwise(even.anchors)]
    assert steps == pytest.approx([60 / 120.0] * len(steps))
    assert (even.confidence, even.uncertain) == (0.4, True)
    assert at_own_speed(found) is found


@pytest.mark.parametrize(
    ("begin", "end", "kept"), [(110.0, 150.0, (0.0, 110.0)), (20.0, 60.0, (60.0, 186.0))]
)
def test_the_longest_part_without_silence_is_played(
    begin: float, end: float, kept: tuple[float, float]
) -> None:
    facts = TrackFeatures("/a", "a", with_pause(analysis(124.0), begin, end))
    assert facts.stretch == pytest.approx(kept, abs=1.0)
    assert facts.second(facts.begin) >= facts.stretch[0] - 1e-6
    assert facts.second(facts.end) <= facts.stretch[1] + 1e-6
    assert all(facts.begin <= beat <= facts.end for beat in facts.phrases)
    assert f"silence of {end - begin:.0f} s" in facts.left_out


def test_a_short_pause_is_played() -> None:
    facts = TrackFeatures("/a", "a", with_pause(analysis(124.0), 50.0, 51.5))
    assert facts.stretch[1] == facts.analysis.seconds
    assert not facts.left_out


def test_a_hidden_track_has_its_own_beats_and_the_silence_is_found() -> None:
    song, pause = drums(124.0, 40.0), np.zeros(9 * RATE, np.float32)
    found = analyse([ArraySound("a", np.concatenate([song, pause, drums(124.0, 31.0)]), RATE)])
    assert len(found.silences) == 1
    assert found.silences[0] == pytest.approx((40.0, 49.0), abs=0.2)
    assert not found.tempo.uncertain
    beats = np.concatenate([beats_at(124.0, 40.0), 49.0 + beats_at(124.0, 31.0)])
    assert worst_error(found.tempo.anchors, beats) < 0.01
