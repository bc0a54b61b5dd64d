"""Playback rate: purity against the ideal and against soxr, and absence of clicks."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from scipy import signal

from crowdstream.desk.opcodes import OP_KEYLOCK, OP_SYNC
from crowdstream.desk.ramps import VOICE_PITCH, VOICE_RATE, VOICE_STEM, voice_ramp
from tests.support.render_harness import RATE, RenderHarness, sine

FRAMES = 32768
SETTLED = 400
# A resampled full-scale sine exceeds full scale slightly between its samples. At half level it
# stays below the limiter, with the same ratio of error to signal.
LEVEL = 0.5

TEMPO = -1  # change the clock's tempo instead of a ramp


def _played(hertz: float, rate: float, frames: int = FRAMES) -> np.ndarray:
    # The left channel of a full-scale float32 sine played at this rate.
    samples = sine(hertz, int((frames + SETTLED) * rate) + 2000)
    with RenderHarness(pages=64) as harness:
        harness.start(0, harness.load(samples), rate=rate, gain=LEVEL)
        out = harness.render(frames + SETTLED, 512)
        assert int(harness.desk.ledger["limited_frames"]) == 0
    return out[SETTLED:, 0].astype(np.float64) / LEVEL


def _without(hertz: float, wave: np.ndarray) -> np.ndarray:
    # The residual after subtracting the best-fitting sine of this frequency (least squares).
    angle = 2 * np.pi * hertz / RATE * np.arange(len(wave))
    basis = np.stack([np.sin(angle), np.cos(angle), np.ones(len(wave))], axis=1)
    fit, *_ = np.linalg.lstsq(basis, wave, rcond=None)
    rest: np.ndarray = wave - basis @ fit
    return rest


def _decibels(ratio: float) -> float:
    return float(20 * np.log10(max(ratio, 1e-12)))


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(wave**2)))


def _highest_spur(hertz: float, wave: np.ndarray) -> float:
    # The largest spectral line away from `hertz`, in dB relative to a full-scale sine.
    window = np.kaiser(len(wave), 20)
    spectrum = np.abs(np.fft.rfft(wave * window)) / (window.sum() / 2)
    bin_hertz = RATE / len(wave)
    near = np.abs(np.arange(len(spectrum)) * bin_hertz - hertz) < 12 * bin_hertz
    spectrum[near] = 0
    return _decibels(float(spectrum.max()))


@pytest.mark.parametrize("hertz", [1000.0, 10000.0])
@pytest.mark.parametrize("rate", [1.06, 0.94, 1.0999])
def test_distortion_and_noise_near_rate_one(hertz: float, rate: float) -> None:
    wave = _played(hertz, rate)
    assert _decibels(_rms(_without(hertz * rate, wave)) / np.sqrt(0.5)) <= -100


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.94, 1.06, 1.15, 1.3, 1.5, 1.75, 2.0, 3.0, 4.0])
def test_an_18_khz_tone_has_no_image_or_alias(rate: float) -> None:
    wave = _played(18000.0, rate)
    at = 18000.0 * rate
    kept = at if at < RATE / 2 else -1e6
    limit = -80.0
    assert _highest_spur(kept, wave) <= limit


@pytest.mark.parametrize(
    ("rate", "hertz"), [(0.25, 1000.0), (0.5, 5000.0), (1.3, 3000.0), (2.0, 4000.0), (4.0, 2000.0)]
)
def test_other_rates_have_as_little_distortion(rate: float, hertz: float) -> None:
    wave = _played(hertz, rate)
    assert _decibels(_rms(_without(hertz * rate, wave)) / np.sqrt(0.5)) <= -98
    assert abs(_decibels(_rms(wave) / np.sqrt(0.5))) < 0.05


def test_the_output_agrees_with_soxr() -> None:
    # Music has little energy above 14 kHz; up to there, both must agree on every sample.
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft(rng.normal(size=40000))
    spectrum[int(14000 / RATE * 40000) :] = 0
    music = np.fft.irfft(spectrum)
    music *= 0.5 / np.max(np.abs(music))
    rate = 1.06
    oracle = soxr.resample(music, RATE * rate, RATE, quality="VHQ")
    with RenderHarness() as harness:
        harness.start(0, harness.load(music.astype(np.float32)), rate=rate)
        out = harness.render(30000)[:, 0].astype(np.float64)
    middle = slice(2000, 28000)
    error = _rms(out[middle] - oracle[middle]) / _rms(oracle[middle])
    assert _decibels(error) < -85


def test_the_position_does_not_drift_over_a_long_time() -> None:
    # No rounding error accumulates: after 100 s the playhead is where the rate implies.
    with RenderHarness() as harness:
        harness.start(0, harness.load(np.zeros(100, np.int16)), rate=1.06, loop=(0, 100))
        harness.render(4_410_000, 2048)
        voice = harness.desk.voices[0]
        played = int(voice["play"]) + float(voice["fraction"])
    assert abs(played - 4_410_000 * 1.06) < 1e-3


def _steepest(wave: np.ndarray) -> float:
    # Largest second difference, in which a click in a slow sine stands out.
    return float(np.max(np.abs(np.diff(wave, 2))))


@pytest.mark.parametrize(
    ("row", "first", "last"),
    [
        (voice_ramp(0, VOICE_RATE), 1.0, 1.06),
        (voice_ramp(0, VOICE_RATE), 1.06, 1.0),
        (TEMPO, 1.0, 1.2),
        (TEMPO, 1.05, 1.15),
        (voice_ramp(0, VOICE_RATE), 1.0, 4.0),
        (voice_ramp(0, VOICE_RATE), 4.0, 0.25),
        (TEMPO, 2.1, 0.9),
    ],
)
@pytest.mark.parametrize("frames", [1, 50, 3000])
def test_changes_of_rate_and_bank_make_no_click(
    row: int, first: float, last: float, frames: int
) -> None:
    hertz = 200.0
    with RenderHarness() as harness:
        source = harness.load(sine(hertz, 60000, level=0.5))
        if row == TEMPO:
            harness.tempo(first)
            harness.start(0, source)
            harness.tempo(last, frames, frame=2000)
        else:
            harness.start(0, source, rate=first)
            harness.ramp(row, last, frames, frame=2000)
        out = harness.render(8000)[500:, 0]
    fastest = 2 * np.pi * hertz * max(first, last) / RATE
    # A step of the rate bends the wave by at most the difference of the slopes.
    bend = 0.5 * 2 * np.pi * hertz * abs(last - first) / RATE / min(frames, 20)
    assert _steepest(out) < 0.5 * fastest**2 * 1.1 + bend + 2e-5


@pytest.mark.parametrize(("first", "last"), [(1.215, 1.225), (1.225, 1.215), (1.49, 1.51)])
def test_a_change_of_filter_bank_is_crossfaded(first: float, last: float) -> None:
    # Two banks differ most near the cut-off frequency. A sudden step between them would spread
    # over all frequencies; the tone itself stays above 18 kHz.
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(14000.0, 20000, level=0.5)), rate=first)
        harness.ramp(voice_ramp(0, VOICE_RATE), last, 4000, frame=2000)
        out = harness.render(8000)[:, 0].astype(np.float64)
    low = signal.sosfilt(signal.butter(10, 8000, fs=RATE, output="sos"), out)
    assert np.max(np.abs(out)) > 0.1
    assert _decibels(float(np.max(np.abs(low[500:])))) < -62


@pytest.mark.parametrize("rate", [0.25, 1.06, 1.3, 2.0, 4.0])
def test_a_file_is_played_to_its_last_sample_at_any_rate(rate: float) -> None:
    # An impulse near the end is still played completely, followed by silence.
    samples = np.zeros(4000, np.float32)
    samples[3990] = 0.5
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), rate=rate)
        out = harness.render(int(8000 / rate))[:, 0]
    assert abs(float(out.sum()) * rate - 0.5) < 0.01
    assert abs(int(np.argmax(out)) - 3990 / rate) <= 1


@pytest.mark.parametrize("how", ["rate", "keylock", "pitch", "synced", "synced, keylock"])
def test_a_stem_fades_in_the_time_that_was_asked_for(how: str) -> None:
    with RenderHarness(pages=64) as harness:
        source = harness.load(np.full(200_000, 0.5, np.float32))
        rate = 1.0 if "synced" in how else 1.5
        # At 60 BPM the track plays twice as fast in sync with the clock's 120 BPM.
        harness.start(0, source, rate=rate, grid=harness.grid((0.0, 0.0), (1.0, RATE)))
        if "keylock" in how or how == "pitch":
            harness.send(OP_KEYLOCK, target=0, index=1)
        if how == "pitch":
            harness.ramp(voice_ramp(0, VOICE_PITCH), 1.25)
        if "synced" in how:
            harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0)
        harness.ramp(voice_ramp(0, VOICE_STEM), 0.0, 40000, frame=10000)
        out = harness.render(70000)[:, 0]
    assert np.flatnonzero(out > 1e-4)[-1] == pytest.approx(50000, abs=300)
