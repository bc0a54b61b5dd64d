"""Loudness compared with pyloudnorm and the figures in the recommendations."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from scipy import signal

from crowdstream.audiofile.loudness import SILENCE, LoudnessMeter
from crowdstream.desk.dsp_tables import k_weighting

RATE = 44100


def _measure(samples: np.ndarray, rate: int = RATE, piece: int = 44100) -> LoudnessMeter:
    meter = LoudnessMeter(rate)
    for begin in range(0, len(samples), piece):
        meter.feed(samples[begin : begin + piece])
    return meter


def _music(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    # Pink-like noise with swells and pauses, so that the gates take effect.
    rng = np.random.default_rng(seed)
    frames = round(seconds * rate)
    noise = np.asarray(signal.lfilter([0.05], [1, -0.95], rng.normal(size=(frames, 2)), axis=0))
    swell = 0.05 + np.abs(np.sin(np.linspace(0, 5 + seed, frames)))[:, None] ** 4
    swell[frames // 3 : frames // 2] *= 0.002
    music: np.ndarray = noise * swell
    return music


def _sine(level: float, seconds: float, hertz: float = 997.0) -> np.ndarray:
    wave = 10 ** (level / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return np.stack([wave, wave], 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_integrated_loudness_matches_pyloudnorm(seed: int, rate: int) -> None:
    samples = _music(6, seed, rate)
    expected = pyloudnorm.Meter(rate).integrated_loudness(samples)
    assert _measure(samples, rate).integrated() == pytest.approx(expected, abs=0.1)


def test_the_k_weighting_has_the_coefficients_of_the_recommendation() -> None:
    shelf, highpass = k_weighting(48000)
    assert shelf == pytest.approx(
        (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241,
         0.73248077421585), abs=1e-9,
    )
    assert highpass == pytest.approx((1, -2, 1, -1.99004745483398, 0.99007225036621), abs=1e-9)


def test_the_reference_tone_reads_minus_23_lufs() -> None:
    # EBU Tech 3341, case 1: 1 kHz at -23 dBFS in both channels is -23 LUFS by all measures.
    meter = _measure(_sine(-23, 20, 1000))
    for found in (meter.integrated(), meter.momentary(), meter.short_term()):
        assert found == pytest.approx(-23.0, abs=0.1)
    assert meter.peak == pytest.approx(10 ** (-23 / 20), rel=1e-3)
    assert meter.seconds == 20.0


def test_passages_below_the_gates_do_not_count() -> None:
    # EBU Tech 3341, cases 3 and 4: passages far below the rest do not count.
    parts = [_sine(level, seconds, 1000) for level, seconds in
             ((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10))]
    assert _measure(np.concatenate(parts)).integrated() == pytest.approx(-23.0, abs=0.1)


def test_short_term_and_momentary_report_the_loudest_passage() -> None:
    samples = np.concatenate([_sine(-30, 5), _sine(-20, 1), _sine(-30, 5)])
    meter = _measure(samples)
    assert meter.momentary() == pytest.approx(-20.0, abs=0.1)
    third = 10 * np.log10((10**-2.0 + 2 * 10**-3.0) / 3)
    assert meter.short_term() == pytest.approx(third, abs=0.1)


@pytest.mark.parametrize("piece", [32, 1000, 1024, 4410, 13337, 500000])
def test_the_slice_size_does_not_matter(piece: int) -> None:
    samples = _music(6, 1)
    expected = _measure(samples, piece=len(samples))
    found = _measure(samples, piece=piece)
    assert found.integrated() == pytest.approx(expected.integrated(), abs=1e-6)
    assert found.momentary() == pytest.approx(expected.momentary(), abs=1e-6)


def test_silence_and_very_short_audio() -> None:
    assert _measure(np.zeros((RATE * 2, 2))).integrated() == SILENCE
    assert LoudnessMeter(RATE).integrated() == SILENCE
    assert _measure(_sine(-20, 0.05)).integrated() == SILENCE
    assert _measure(_sine(-20, 0.2)).momentary() == pytest.approx(-20, abs=0.2)


def test_audio_before_a_gap_does_not_affect_audio_after_it() -> None:
    meter = _measure(_sine(0, 1.05))
    meter.mark_gap()
    meter.feed(np.zeros((RATE, 2)))
    assert meter.momentary() == pytest.approx(0, abs=0.1)
    assert len(meter._powers) == 20
    assert not any(meter._powers[10:])
