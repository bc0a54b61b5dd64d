"""Sets of plain files: what the benchmark finds in a set whose beats and levels are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import dj_folder
from benchmarks.corpus import CorpusTrack
from benchmarks.dj_folder import Findings
from crowdstream.dj.planning.candidates import Candidates, of_analyses
from crowdstream.dj.planning.planner import Planner, TrackRequest
from crowdstream.dj.setfile.model import Set
from tests.support.track_analyses import analysis


def truth(path: str, candidates: Candidates, late: float) -> CorpusTrack:
    """The true beats of a track, later than those of its grid by some seconds."""
    features = candidates.features(path)
    beats = np.array([features.second(beat) + late for beat in range(features.end)])
    return CorpusTrack(path, Path(path), features.bpm, beats, beats[::4], 4, False, None)


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    """Two tracks in the same key."""
    pair = {"/a": analysis(124.0, sung=()), "/b": analysis(126.0, sung=())}
    return of_analyses(pair)


@pytest.fixture(scope="module")
def mix(candidates: Candidates) -> Set:
    """A set of both tracks."""
    planner = Planner(candidates)
    begun = planner.first(TrackRequest(banned=frozenset({"/b"})))
    choice = planner.next(begun, TrackRequest())
    assert choice is not None
    return choice.added_to(begun)


@pytest.mark.parametrize("late", [0.0, 0.002, 0.03])
def test_an_offset_of_beats_is_found(candidates: Candidates, mix: Set, late: float) -> None:
    made = mix.entries[0].transition
    assert made is not None and made.bars
    tracks = {"/a": truth("/a", candidates, 0.0), "/b": truth("/b", candidates, late)}
    found = Findings()
    dj_folder._measure(mix, candidates, tracks, found)
    assert len(found.offsets) == pytest.approx(made.beats, abs=1)
    # While both play, the second track is up to 1.6 % slower or faster than at its own tempo.
    assert np.median(found.offsets) == pytest.approx(1000 * late, rel=0.02, abs=1e-6)
    assert found.kinds == Counter({made.kind: 1})
    assert found.lengths == Counter({made.bars: 1})


def test_a_step_in_loudness_is_found(candidates: Candidates, mix: Set) -> None:
    out, into = mix.entries
    louder = replace(mix, entries=(out, replace(into, gain_db=into.gain_db + 2.5)))
    made = out.transition
    assert made is not None
    if any(row.control == "trim" for row in made.rows):
        rows = tuple(
            replace(row, value=row.value + 2.5) if row.control == "trim" else row
            for row in made.rows
        )
        louder = replace(
            mix, entries=(replace(out, transition=replace(made, rows=rows)), louder.entries[1])
        )
    step = dj_folder._step(louder, 0, candidates) - dj_folder._step(mix, 0, candidates)
    assert step == pytest.approx(2.5)
