"""The measurements of the stretching benchmark, on sounds with known figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import stretch
from benchmarks.stretchers import Absent
from benchmarks.stretchers.here import Here
from benchmarks.stretchers.material import RATE, chord, jitter, kicks, loop_attacks, snr, stereo
from benchmarks.stretchers.signalsmith import Signalsmith


def test_jitter_is_the_deviation_of_attacks() -> None:
    wave, places = kicks()
    exact = jitter(wave, places, wave, 1.0)
    assert exact.count == len(places) and exact.max_ms < 1e-3
    late = np.concatenate((np.zeros(3000, np.float32), wave))
    assert jitter(wave, places, late, 1.0).max_ms < 1e-3  # a constant latency is none
    moved = np.zeros(len(wave) + 3000, np.float32)
    off = [441 if n % 2 else -441 for n in range(len(places))]
    for at, by, end in zip(places, off, [*places[1:], len(wave)], strict=True):
        moved[at + by : end + by - 882] = wave[at : end - 882]
    found = jitter(wave, places, moved, 1.0)
    assert found.max_ms >= 9.9 and found.rms_ms == pytest.approx(10.0, rel=0.5)


def test_noise_beside_the_partials_is_counted() -> None:
    wave, hertz = chord((261.626, 329.628, 391.995))
    assert snr(wave, hertz) > 100
    t = np.arange(len(wave)) / RATE
    beside = 0.01 * np.sin(2 * np.pi * 300 * t)
    expected = 10 * np.log10(3 * 0.1**2 / 0.01**2)
    assert snr(wave + beside.astype(np.float32), hertz) == pytest.approx(expected, abs=0.1)


def test_attacks_of_a_loop_are_found() -> None:
    wave, places = kicks()
    found = loop_attacks(wave)
    assert len(found) == len(places)
    assert max(abs(a - b) for a, b in zip(found, places, strict=True)) < 300


def test_this_project_keeps_its_documented_figures() -> None:
    wave, places = kicks()
    out = Here().stretch(stereo(wave), 1.06, RATE)
    beat = jitter(wave, places, out.sound[:, 0], 1.06)
    assert beat.count >= 35 and beat.rms_ms <= 0.3 and beat.max_ms <= 0.6
    notes, partials = stretch.CHORDS["C major"]
    sound, hertz = chord(notes, partials)
    assert snr(Here().stretch(stereo(sound), 1.06, RATE).sound[:, 0], hertz) >= 31


def test_a_missing_stretcher_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="nowhere"):
        Signalsmith(str(tmp_path / "nowhere")).check()
