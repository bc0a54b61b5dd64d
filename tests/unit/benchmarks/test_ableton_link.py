"""The figures that the benchmark of Ableton Link makes of its readings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.ableton_link import settled_at

TIMES = np.arange(0.0, 10.0, 0.02)


def test_settled_is_when_a_calm_second_begins() -> None:
    found = np.zeros(len(TIMES))
    assert settled_at(TIMES, found) == 0.0
    found[TIMES < 2.0] = -50.0
    assert settled_at(TIMES, found) == pytest.approx(2.0, abs=0.03)
    found[np.abs(TIMES - 2.5) < 0.01] = 4.0
    assert settled_at(TIMES, found) == pytest.approx(2.5, abs=0.03)
    found[np.abs(TIMES - 8.0) < 0.01] = 4.0  # later: the machine has lost a block
    assert settled_at(TIMES, found) == pytest.approx(2.5, abs=0.03)


def test_without_a_calm_second_nothing_is_settled() -> None:
    assert settled_at(TIMES, np.full(len(TIMES), 9.0)) == math.inf
    assert settled_at(TIMES[:20], np.zeros(20)) == math.inf
