"""Meter: how clearly the beats of a grid repeat after bars."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.analysis.downbeat import METERS, REPEATS, missing_bars
from crowdstream.analysis.tempo import Doubles


def traits(bar: int) -> Doubles:
    """Return the traits of music whose onsets and harmony repeat after `bar` beats only."""
    repeats = [1.0 if beats % bar == 0 else -0.2 for beats in REPEATS]
    return np.kron(np.eye(len(METERS)), np.array([*repeats, *repeats, 0.0, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("meter", METERS)
def test_no_bars_are_missing_in_the_right_meter(meter: int) -> None:
    assert missing_bars(traits(meter), meter) == 0.0


@pytest.mark.parametrize(("bar", "heard", "missing"), [
    (6, 4, 1.2), (4, 3, 1.2), (3, 4, 1.2), (3, 2, 1.2), (8, 3, 1.2), (12, 4, 0.0),
])  # fmt: skip
def test_bars_are_missing_in_a_wrong_meter(bar: int, heard: int, missing: float) -> None:
    # Six beats are a bar of three at twice its tempo.
    assert missing_bars(traits(bar), heard) == pytest.approx(missing)


def test_harmony_does_not_count() -> None:
    found = traits(4)
    found[:, len(REPEATS) : 2 * len(REPEATS)] = traits(3)[:, : len(REPEATS)]
    assert missing_bars(found, 4) == 0.0


def test_no_bars_are_missing_in_a_track_too_short_to_tell() -> None:
    assert missing_bars(np.zeros_like(traits(4)), 4) == 0.0
