"""Scores of an analysis against the ground truth, and the variety of the generated tracks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.analysis_scores import Doubles, Guess, fitted_bpm, judge, related, summary
from tests.support.generated_tracks.composer import Composer
from tests.support.generated_tracks.tracks import Truth

BEATS: Doubles = 0.25 + np.arange(64, dtype=np.float64) * 0.5


def _truth() -> Truth:
    return Truth("house", 120.0, True, BEATS, 9, True, 0.0, 4, ((0.25, "drop"),), (), False)


def _judged(bpm: float, late: float = 0.0, downbeat: int = 0, key: int = 21) -> dict[str, object]:
    return judge(Guess(bpm, BEATS + late, float(BEATS[downbeat]), key, 1.0), _truth())


def test_right_results_count_as_right() -> None:
    row = _judged(120.0)
    assert (row["tempo"], row["octave"], row["downbeat"], row["key"]) == (True, False, True, True)
    assert row["grid"] == 0.0
    assert summary([row | {"steady": True}])["grid within 10 ms"] == 1.0
    row.pop("late")
    json.dumps(row)


@pytest.mark.parametrize("bpm", [60.0, 90.0, 160.0, 240.0])
def test_octave_errors_are_detected(bpm: float) -> None:
    row = _judged(bpm)
    assert row["octave"] and not row["downbeat"]


def test_wrong_results_count_as_wrong() -> None:
    beats = Guess(120.1, np.asarray(BEATS * 120 / 120.1, np.float64), None, None, 1.0)
    assert not judge(beats, _truth())["tempo"]
    assert _judged(120.0, late=0.012)["grid"] == pytest.approx(0.012)
    assert not _judged(120.0, downbeat=2)["downbeat"]
    assert not _judged(120.0, key=3)["key"]


def test_related_keys() -> None:
    a_minor, c_major, e_minor, a_major, b_major = 21, 0, 16, 9, 11
    assert all(related(a_minor, other) for other in (a_minor, c_major, e_minor, a_major))
    assert not related(a_minor, b_major)
    assert not related(c_major, e_minor)


def test_a_line_through_beats_skips_missing_ones() -> None:
    assert fitted_bpm(np.delete(BEATS, [7, 20, 21])) == pytest.approx(120.0)


def test_generated_tracks_cover_all_keys_tempos_and_kinds() -> None:
    composers = [Composer(seed, 20.0, None, None) for seed in range(10_000, 10_096)]
    assert len({(composer.tonic, composer.minor) for composer in composers}) == 24
    assert len({composer.style.name for composer in composers}) == 12
    tempos = [composer.bpm for composer in composers]
    assert min(tempos) < 75 and max(tempos) > 170
    assert sum(composer.swing > 0.1 for composer in composers) > 10
    assert any(not composer.steady for composer in composers)
