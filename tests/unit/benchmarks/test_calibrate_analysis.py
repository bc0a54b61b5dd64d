"""Confidences are fitted to one set of tracks and checked with another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibrate_analysis import (
    BINS,
    MODELS,
    Material,
    Outcome,
    fit_and_check,
    require_apart,
)
from benchmarks.common import BenchmarkError
from benchmarks.corpus import CorpusTrack

NO_TIMES = np.zeros(0)


def track(folder: str, name: str) -> CorpusTrack:
    """Return a track of a corpus; nothing of it is read here."""
    path = Path(folder, "corpus", f"{name}.wav")
    return CorpusTrack(name, path, 120.0, NO_TIMES, NO_TIMES, 4, False, None)


def outcomes(seed: int, count: int, slope: float = 1.0) -> list[Outcome]:
    """Return results whose probability of being right is the logistic function of a trait.

    slope: of the trait in that function.
    """
    dice = np.random.default_rng(seed)
    made = []
    for trait in dice.normal(0.5, 2.0, count):
        right = bool(dice.random() < 1 / (1 + np.exp(-slope * trait)))
        traits = np.array([trait, dice.normal()])
        made.append(Outcome(traits, traits, dict.fromkeys(MODELS, right)))
    return made


@pytest.mark.parametrize(("fitted", "checked"), [
    (Material(range(0), [track("a", "x/1")]), Material(range(0), [track("b", "x/1")])),
    (Material(range(0), [track("a", "x/1")]), Material(range(0), [track("a/../a", "x/1")])),
    (Material(range(30), []), Material(range(29, 40), [])),
])  # fmt: skip
def test_no_track_is_both_fitted_to_and_checked_with(fitted: Material, checked: Material) -> None:
    with pytest.raises(BenchmarkError, match="both fitted to and checked with"):
        require_apart(fitted, checked)


def test_different_tracks_are_apart() -> None:
    require_apart(
        Material(range(30), [track("a", "x/1")]), Material(range(30, 40), [track("a", "x/2")])
    )


def test_one_file_under_two_names_is_one_track(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    one, other = track(str(tmp_path), "1"), track(str(tmp_path), "2")
    one.path.write_bytes(b"")
    other.path.symlink_to(one.path)
    with pytest.raises(BenchmarkError, match="2"):
        require_apart(Material(range(0), [one]), Material(range(0), [other]))


def test_checked_tracks_have_no_influence_on_the_weights() -> None:
    fitted = outcomes(1, 60)
    models, _reports = fit_and_check(fitted, outcomes(2, 20))
    others, _reports = fit_and_check(fitted, outcomes(3, 40, slope=-1.0))
    for name in MODELS:
        assert np.array_equal(models[name][0], others[name][0])
        assert models[name][1] == others[name][1]


def test_the_report_describes_the_checked_tracks_only() -> None:
    _models, reports = fit_and_check(outcomes(4, 600), outcomes(5, 400))
    _models, wrong = fit_and_check(outcomes(4, 600), outcomes(5, 400, slope=-1.0))
    for name in MODELS:
        rows, worst = reports[name]
        assert sum(int(str(row["tracks"])) for row in rows) == 400
        assert len(rows) == BINS and worst < 0.2
        assert wrong[name][1] > 0.5


def test_a_result_that_no_track_has_is_reported() -> None:
    keyless = [Outcome(one.rhythm, None, {}) for one in outcomes(6, 5)]
    with pytest.raises(BenchmarkError, match="add tracks"):
        fit_and_check(outcomes(7, 5), keyless)
