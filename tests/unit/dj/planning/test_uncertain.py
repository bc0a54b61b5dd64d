"""Tracks with an uncertain beatgrid play alone; long silences in a track are not played."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from crowdstream.analysis.result import Analysis, Downbeat
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from crowdstream.audiofile.beatgrid import BeatGrid
from crowdstream.dj.autopilot.resume_state import entry_note, entry_of
from crowdstream.dj.planning.candidates import at_own_speed, of_analyses
from crowdstream.dj.planning.explain import explain
from crowdstream.dj.planning.planner import Planner, PlanOptions, TrackRequest
from crowdstream.dj.setfile.model import Set
from crowdstream.dj.setfile.reader import read_set
from crowdstream.dj.setfile.timed_commands import all_commands, placements
from crowdstream.dj.setfile.writer import write_set
from crowdstream.dj.track_features import TrackFeatures
from tests.support.drum_machine import RATE, beats_at, drums, worst_error
from tests.support.offline_server import level, write
from tests.support.track_analyses import analysis


def doubtful(found: Analysis, doubt: str = "its bars seem odd") -> Analysis:
    """Return the analysis with an uncertain beatgrid."""
    return replace(found, tempo=replace(found.tempo, confidence=0.4, doubt=doubt))


def with_pause(found: Analysis, begin: float, end: float) -> Analysis:
    """Return the analysis with a silence from `begin` to `end`, in seconds."""
    return replace(found, silences=((begin, end),))


@pytest.fixture(scope="module")
def mix() -> Set:
    """A set of six tracks, two of which are uncertain."""
    tracks = {f"/m/{n}.wav": analysis(122.0 + n, level=0.3 + 0.1 * n) for n in range(6)}
    for name in ("/m/2.wav", "/m/4.wav"):
        tracks[name] = doubtful(tracks[name])
    return Planner(of_analyses(tracks), PlanOptions(minutes=14, seed=3)).plan().mix


def test_a_track_whose_bars_have_three_beats_plays_alone() -> None:
    tracks = {f"/m/{n}.wav": analysis(122.0 + n, level=0.3 + 0.1 * n) for n in range(4)}
    waltz = tracks["/m/1.wav"]
    tracks["/m/1.wav"] = replace(waltz, downbeat=replace(waltz.downbeat, meter=3))
    mix = Planner(of_analyses(tracks), PlanOptions(minutes=9, seed=3)).plan().mix
    [number] = [n for n, entry in enumerate(mix.entries) if entry.path == "/m/1.wav"]
    assert mix.entries[number].uncertain and "3 beats" in mix.entries[number].why
    for entry in mix.entries[max(0, number - 1) : number + 1]:
        assert entry.transition is None or entry.transition.bars == 0


def test_a_waltz_with_an_upbeat_is_entered_on_a_phrase() -> None:
    # Its phrases are counted from the bar of the upbeat, which the file does not hold as a whole.
    found = analysis(124.0, level=0.5)
    waltz = replace(
        found, downbeat=replace(found.downbeat, meter=3), first_bar_beat=-3,
        phrases=tuple(range(-3, 380, 24)), sections=(),
    )  # fmt: skip
    planner = Planner(of_analyses({"/a": analysis(124.0), "/waltz": waltz}))
    for first in ("/a", "/waltz"):
        banned = frozenset({"/a", "/waltz"} - {first})
        choice = planner.next(planner.first(TrackRequest(banned=banned)), TrackRequest())
        assert choice is not None and choice.entry.path != first
        assert choice.entry.enter % (3 if first == "/a" else 4) == 0


def test_a_track_with_an_uncertain_downbeat_plays_alone() -> None:
    tracks = {f"/m/{n}.wav": analysis(122.0 + n, level=0.3 + 0.1 * n) for n in range(4)}
    tracks["/m/1.wav"] = replace(tracks["/m/1.wav"], downbeat=Downbeat(0.4))
    mix = Planner(of_analyses(tracks), PlanOptions(minutes=9, seed=3)).plan().mix
    [number] = [n for n, entry in enumerate(mix.entries) if entry.path == "/m/1.wav"]
    assert mix.entries[number].uncertain
    assert "its downbeat is uncertain" in mix.entries[number].why
    for entry in mix.entries[max(0, number - 1) : number + 1]:
        assert entry.transition is None or entry.transition.bars == 0


def test_no_track_overlaps_an_uncertain_one(mix: Set) -> None:
    assert sum(entry.uncertain for entry in mix.entries) == 2
    pairs = 0
    for one, other in pairwise(mix.entries):
        assert one.transition is not None
        if one.uncertain or other.uncertain:
            pairs += 1
            assert one.transition.bars == 0
            assert one.transition.kind in ("cut", "echo out")
    assert pairs >= 3
    where = placements(mix)
    for index, place in enumerate(where[:-1]):
        if mix.entries[index].uncertain:
            assert where[index + 1].begin >= place.end


def test_uncertain_tracks_are_marked_in_a_set_and_its_file(
    mix: Set, tmp_path: Path
) -> None:
    entry = next(entry for entry in mix.entries if entry.uncertain)
    assert "its bars seem odd" in entry.why
    text = "\n".join(explain(mix))
    assert f"{entry.bpm:.2f}? bpm" in text
    assert entry_of(entry_note(entry)).confidence == 0.4
    commands = [
        command for command in all_commands(mix) if command.address.endswith("/grid/confidence")
    ]
    assert [command.args for command in commands] == [(0.4,), (0.4,)]
    path = write(tmp_path / "one.wav", level(20.0))
    alone = replace(entry, path=str(path), enter=0.0, leave=16.0, transition=None, stems=())
    file = tmp_path / "set.toml"
    file.write_text(write_set(replace(mix, entries=(alone,)), tmp_path))
    assert read_set(file).entries[0].confidence == 0.4


def test_an_uncertain_varying_grid_is_replaced_by_a_constant_one() -> None:
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


def test_a_grid_that_no_deck_accepts_is_replaced_by_a_constant_one() -> None:
    found = analysis(120.0)
    anchors = ((0.0, 0.5), (100.0, 50.5), (101.0, 50.52), (300.0, 150.02))
    joined = replace(found.tempo, steady=False, confidence=0.9, anchors=anchors)
    features = TrackFeatures("/a", "a", at_own_speed(replace(found, tempo=joined)))
    assert features.uncertain and features.analysis.tempo.doubt
    assert BeatGrid.through(features.anchors).bpm == pytest.approx(120.0)
    good = replace(joined, anchors=((0.0, 0.5), (100.0, 50.5), (101.0, 51.1), (300.0, 150.6)))
    varying = replace(found, tempo=good)
    assert at_own_speed(varying) is varying


@pytest.mark.parametrize(
    ("begin", "end", "kept"), [(110.0, 150.0, (0.0, 110.0)), (20.0, 60.0, (60.0, 186.0))]
)
def test_only_the_longest_part_without_silence_is_played(
    begin: float, end: float, kept: tuple[float, float]
) -> None:
    features = TrackFeatures("/a", "a", with_pause(analysis(124.0), begin, end))
    assert features.playable_span == pytest.approx(kept, abs=1.0)
    assert features.second(features.begin) >= features.playable_span[0] - 1e-6
    assert features.second(features.end) <= features.playable_span[1] + 1e-6
    assert all(features.begin <= beat <= features.end for beat in features.phrases)
    assert f"silence of {end - begin:.0f} s" in features.left_out


def test_a_short_pause_is_played() -> None:
    features = TrackFeatures("/a", "a", with_pause(analysis(124.0), 50.0, 51.5))
    assert features.playable_span[1] == features.analysis.seconds
    assert not features.left_out


@pytest.mark.parametrize("end", [180.0, 179.9996, 180.0004])
def test_silence_at_the_end_is_left_out_however_it_is_rounded(end: float) -> None:
    found = replace(with_pause(analysis(124.0), 178.7, 180.0), seconds=end)
    features = TrackFeatures("/a", "a", found)
    assert features.playable_span == (0.0, 178.7)
    assert not features.left_out
    long = replace(with_pause(analysis(124.0), 170.0, 180.0), seconds=end)
    assert not TrackFeatures("/a", "a", long).left_out  # nothing but silence is


def test_the_silence_before_a_hidden_track_is_found() -> None:
    song, pause = drums(124.0, 40.0), np.zeros(9 * RATE, np.float32)
    found = analyse([ArraySound("a", np.concatenate([song, pause, drums(124.0, 31.0)]), RATE)])
    assert len(found.silences) == 1
    assert found.silences[0] == pytest.approx((40.0, 49.0), abs=0.2)
    assert not found.tempo.uncertain
    beats = np.concatenate([beats_at(124.0, 40.0), 49.0 + beats_at(124.0, 31.0)])
    assert worst_error(found.tempo.anchors, beats) < 0.01
