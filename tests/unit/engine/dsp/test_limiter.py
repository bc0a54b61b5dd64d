"""The look-ahead limiter: no sample or true peak above the ceiling; otherwise a pure delay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import signal

from crowdstream.desk.constants import PEAK_BOUND
from crowdstream.desk.dsp_tables import peak_detector
from crowdstream.desk.opcodes import OP_LOOKAHEAD
from crowdstream.desk.ramps import RAMP_CEILING
from crowdstream.engine.dsp.limiter import AIM, HALF, RELEASE_SECONDS
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine

CEILING = 10 ** (-0.3 / 20)
LOOKAHEAD = 66  # 1.5 ms
DELAY = LOOKAHEAD + HALF
LENGTH = 1 << 15


def _limited(
    samples: np.ndarray,
    lookahead: int = LOOKAHEAD,
    ceiling: float = CEILING,
    frames: int = 0,
    blocks: int = 256,
) -> np.ndarray:
    with RenderHarness(pages=400) as harness:
        harness.ramp(RAMP_CEILING, ceiling)
        harness.send(OP_LOOKAHEAD, x=lookahead)
        harness.start(0, harness.load(samples))
        return harness.render(frames or len(samples), blocks)


def _band(hertz: float, seed: int = 1) -> np.ndarray:
    # Noise with a peak of 1, shape `(LENGTH, 2)`, band-limited to `hertz`.
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=(LENGTH, 2)), axis=0)
    spectrum[np.fft.rfftfreq(LENGTH, 1 / RATE) > hertz] = 0
    wave = np.fft.irfft(spectrum, LENGTH, axis=0)
    scaled: np.ndarray = wave / np.abs(wave).max()
    return scaled


def _true_peak(samples: np.ndarray, times: int) -> float:
    over = signal.resample_poly(samples.astype(np.float64), times, 1, axis=0)
    return float(np.abs(over).max())


def _decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


@pytest.mark.parametrize("blocks", [256, 100])
def test_below_the_ceiling_the_limiter_is_a_bit_exact_delay(blocks: int) -> None:
    samples = noise(20000, peak=0.3)
    out = _limited(samples, frames=20000 + DELAY, blocks=blocks)
    assert not out[:DELAY].any()
    assert np.array_equal(out[DELAY:], as_float(samples))


def test_a_loud_signal_below_the_ceiling_is_bit_exact() -> None:
    # Loud enough that the detector has to oversample.
    samples = sine(1000.0, 20000, level=0.96)
    out = _limited(samples)
    assert np.array_equal(out[DELAY:, 0], samples[: 20000 - DELAY])


@pytest.mark.parametrize("lookahead", [LOOKAHEAD, 441])
@pytest.mark.parametrize("peak", [1.2, 4.0])
@pytest.mark.parametrize("kind", ["noise 20k", "noise 8k", "bursts", "square", "clipped"])
def test_true_peaks_stay_at_the_ceiling(kind: str, peak: float, lookahead: int) -> None:
    gate = (np.arange(LENGTH) // 2000 % 2)[:, None]
    waves: dict[str, Callable[[], np.ndarray]] = {
        "noise 20k": lambda: _band(20000),
        "noise 8k": lambda: _band(8000),
        "bursts": lambda: _band(18000) * gate,
        "square": lambda: np.sign(_band(3000)),
        "clipped": lambda: np.clip(3 * _band(20000), -1, 1),
    }
    out = _limited((peak * waves[kind]()).astype(np.float32), lookahead)
    assert np.max(np.abs(out)) <= np.float32(CEILING)
    for times in (8, 16):
        assert _decibels(_true_peak(out, times) / CEILING) < 0.1
    # And it is not attenuated more than necessary.
    assert _decibels(_true_peak(out, 8) / CEILING) > -0.3


def test_the_true_peak_of_a_sine_between_its_samples_is_limited() -> None:
    # At a quarter of the sample rate and a phase of 45 degrees, all samples are 3 dB below the
    # peak.
    wave = 1.3 * np.sin(np.pi / 2 * np.arange(20000) + np.pi / 4)
    out = _limited(wave.astype(np.float32))[2000:]
    assert np.max(np.abs(out)) == pytest.approx(AIM * CEILING / np.sqrt(2), rel=2e-3)


def test_the_gain_is_down_before_the_peak_and_moves_smoothly() -> None:
    samples = np.full((30000, 2), (0.5, 0.25), np.float32)
    samples[10000] = (2.0, -0.5)
    out = _limited(samples, ceiling=1.0)[DELAY:]
    gain = out[:, 0] / samples[: len(out), 0]
    assert np.max(np.abs(gain - out[:, 1] / samples[: len(out), 1])) < 1e-6
    peak = _true_peak(samples[9900:10100], 64)
    assert gain[10000] == pytest.approx(AIM / peak, rel=0.01)
    assert np.all(gain[: 10000 - LOOKAHEAD - 1] == 1.0)
    assert np.max(np.abs(np.diff(gain))) < 3 * (1 - 1 / peak) / LOOKAHEAD
    # The gain recovers exponentially and ends at exactly 1.
    after = 10000 + int(RELEASE_SECONDS * RATE)
    assert gain[after] == pytest.approx(1 - (1 - 1 / peak) / np.e, abs=0.01)


def test_the_gain_returns_to_exactly_one() -> None:
    samples = np.full((90000, 2), 0.5, np.float32)
    samples[1000] = 2.0
    out = _limited(samples, ceiling=1.0)
    assert np.array_equal(out[-5000:], samples[-5000:])


def test_a_moving_ceiling_is_never_exceeded() -> None:
    samples = (1.5 * _band(15000)).astype(np.float32)
    with RenderHarness() as harness:
        harness.send(OP_LOOKAHEAD, x=LOOKAHEAD)
        harness.start(0, harness.load(samples))
        harness.ramp(RAMP_CEILING, 0.5, 177, frame=10000)
        harness.ramp(RAMP_CEILING, 0.9, 2000, frame=20000)
        out = np.abs(harness.render(LENGTH)).max(axis=1)
    frames = np.arange(LENGTH) - DELAY
    top = np.interp(frames, [9999, 10176, 19999, 21999], [1.0, 0.5, 0.5, 0.9])
    assert np.all(out <= top + 1e-6)
    assert np.max(out[11000:20000]) > 0.45


def test_a_non_finite_sample_leaves_no_trace() -> None:
    samples = np.full((20000, 2), 0.25, np.float32)
    samples[5000] = np.inf
    out = _limited(samples)
    assert np.all(np.isfinite(out))
    assert np.array_equal(out[-100:], samples[-100:])


def test_the_bound_for_skipping_oversampling_holds() -> None:
    taps = peak_detector()
    assert np.max(np.abs(taps).sum(axis=0)) * 1.001 < PEAK_BOUND
    assert np.array_equal(taps[:, 0], (np.arange(len(taps)) == HALF - 1).astype(np.float32))


@pytest.mark.parametrize("length", [1, 31, 1023, 9999])
@pytest.mark.parametrize("lookahead", [0, 3, LOOKAHEAD])
def test_block_length_changes_nothing(length: int, lookahead: int) -> None:
    def rendered(block: int) -> np.ndarray:
        with RenderHarness() as harness:
            harness.send(OP_LOOKAHEAD, x=lookahead)
            loud = noise(12000, peak=0.9)
            loud[3000:7000] //= 8
            harness.start(0, harness.load(loud), gain=1.7)
            harness.ramp(RAMP_CEILING, 0.6, 1003, frame=5001)
            return harness.render(12000, block)

    assert np.array_equal(rendered(length), rendered(256))


@pytest.mark.parametrize("length", [31, 1023])
@pytest.mark.parametrize("lookahead", [0, LOOKAHEAD])
def test_a_limiter_that_rests_and_wakes_again_is_the_same_in_any_blocks(
    length: int, lookahead: int
) -> None:
    samples = noise(82000, peak=0.3)
    samples[[1000, 80000]] = 32767  # the gain is exactly 1 again 61000 frames after the first

    def rendered(block: int) -> np.ndarray:
        return _limited(samples, lookahead, ceiling=0.7, blocks=block)

    whole = rendered(256)
    assert np.array_equal(rendered(length), whole)
    delay = DELAY if lookahead else 0
    assert np.array_equal(whole[75000 + delay : 79000], as_float(samples)[75000 : 79000 - delay])
    assert np.max(np.abs(whole[80000:])) <= np.float32(0.7)
