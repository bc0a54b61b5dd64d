"""The EQ against scipy's filters; flat gains are bit-exact; no clicks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from crowdstream.desk.constants import LANES
from crowdstream.desk.dsp_tables import HIGH_HZ, LOW_HZ
from crowdstream.desk.ramps import eq_ramp
from crowdstream.engine.dsp.equalizer import MIX, WARM_UP_FRAMES
from tests.support.render_harness import RATE, RenderHarness, as_float, check_golden, noise, sine

READY = 2000  # frames after which filters and crossfade have settled
TAIL = 1 << 15


def _response(gains: tuple[float, float, float], rate: float = RATE) -> tuple[np.ndarray, ...]:
    # Frequencies and complex response, measured with an impulse through the active EQ.
    samples = np.zeros((READY + TAIL, 1), np.float32)
    samples[READY] = 0.4
    with RenderHarness(rate) as harness:
        for band, gain in enumerate(gains):
            harness.ramp(eq_ramp(0, band), gain)
        harness.start(0, harness.load(samples))
        out = harness.render(READY + TAIL)[READY:, 0].astype(np.float64) / 0.4
    return np.fft.rfftfreq(TAIL, 1 / rate), np.fft.rfft(out)


def _oracle(gains: tuple[float, float, float], hertz: np.ndarray, rate: float) -> np.ndarray:
    # An 8th-order Linkwitz-Riley pair is two 4th-order Butterworth filters in series.
    def pair(crossover: float) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for kind in ("low", "high"):
            sections = signal.butter(4, crossover, kind, fs=rate, output="sos")
            _w, response = signal.sosfreqz(sections, hertz, fs=rate)
            found.append(response**2)
        return found[0], found[1]

    low, rest = pair(LOW_HZ)
    mid_low, mid_high = pair(HIGH_HZ)
    around = mid_low + mid_high  # the low band passes the upper crossover's all-pass, too
    total: np.ndarray = (
        gains[0] * low * around + gains[1] * rest * mid_low + gains[2] * rest * mid_high
    )
    return total


@pytest.mark.parametrize("rate", [44100.0, 48000.0, 96000.0, 32000.0])
@pytest.mark.parametrize(
    "gains",
    [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (0.3, 1.7, 0.6)],
)
def test_the_response_matches_the_textbook(gains: tuple[float, float, float], rate: float) -> None:
    hertz, response = _response(gains, rate)
    heard = (hertz >= 20) & (hertz <= min(20000, 0.45 * rate))
    expected = _oracle(gains, hertz[heard], rate)
    assert np.max(np.abs(response[heard] - expected)) < 2e-4


@pytest.mark.parametrize("gain", [0.0625, 0.25, 0.5, 0.999, 1.4, 2.0])
def test_equal_gains_are_flat(gain: float) -> None:
    hertz, response = _response((gain, gain, gain))
    heard = (hertz >= 20) & (hertz <= 20000)
    decibels = 20 * np.log10(np.abs(response[heard]) / gain)
    assert np.max(np.abs(decibels)) < 0.1


@pytest.mark.parametrize(("band", "hertz"), [(0, 60.0), (1, 790.0), (2, 8000.0)])
@pytest.mark.parametrize("rate", [44100.0, 48000.0])
def test_a_killed_band_is_60_db_down(band: int, hertz: float, rate: float) -> None:
    with RenderHarness(rate) as harness:
        harness.ramp(eq_ramp(1, band), 0.0)
        harness.start(0, harness.load(sine(hertz, 40000, rate=rate, level=0.9)), deck=1)
        out = harness.render(40000)[20000:]
    assert 20 * np.log10(np.max(np.abs(out)) / 0.9) < -60


@pytest.mark.parametrize(("band", "hertz"), [(0, 8000.0), (1, 60.0), (2, 60.0)])
def test_a_killed_band_leaves_the_other_bands_alone(band: int, hertz: float) -> None:
    with RenderHarness() as harness:
        harness.ramp(eq_ramp(0, band), 0.0)
        harness.start(0, harness.load(sine(hertz, 40000, level=0.9)))
        out = harness.render(40000)[20000:]
    assert abs(20 * np.log10(np.max(np.abs(out)) / 0.9)) < 0.1


def test_a_flat_eq_is_bit_exact_before_and_after_use() -> None:
    samples = noise(40000, peak=0.4)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        harness.ramp(eq_ramp(0, 0), 0.2, 300, frame=5003)
        harness.ramp(eq_ramp(0, 0), 1.0, 300, frame=20001)
        out = harness.render(40000)
    expected = as_float(samples)
    assert np.array_equal(out[:5003], expected[:5003])
    assert np.array_equal(out[20301 + MIX :], expected[20301 + MIX :])
    assert (
        np.max(
            np.abs(
                out[5003 + WARM_UP_FRAMES + MIX : 20001]
                - expected[5003 + WARM_UP_FRAMES + MIX : 20001]
            )
        )
        > 0.1
    )


def test_one_decks_eq_leaves_the_others_alone() -> None:
    samples = [noise(20000, peak=0.2, seed=deck) for deck in range(4)]
    with RenderHarness() as harness:
        for deck in range(4):
            harness.start(deck, harness.load(samples[deck]), deck=deck)
        for band in range(3):
            harness.ramp(eq_ramp(2, band), 0.0)
        out = harness.render(20000)[READY:]
        assert harness.desk.eq_use["eq_state"].tolist() == [0, 0, 1, 0]
        assert int(harness.desk.eq.shape[-1]) == LANES
    expected = np.sum([as_float(samples[deck]) for deck in (0, 1, 3)], axis=0)[READY:]
    assert np.max(np.abs(out - expected)) < 1e-6


def test_lanes_do_not_share_filter_state() -> None:
    # Each lane gets a different tone and must sound as if it were alone.
    def played(decks: range, alone: int | None) -> np.ndarray:
        with RenderHarness() as harness:
            for band, gain in enumerate((0.1, 0.7, 0.4)):
                for deck in decks:
                    harness.ramp(eq_ramp(deck, band), gain)
            for deck in decks:
                if alone in (None, deck):
                    pair = [sine(80.0 * 3 ** (2 * deck % 5 + side), 6000) for side in range(2)]
                    harness.start(deck, harness.load(0.1 * np.stack(pair, axis=1)), deck=deck)
            return harness.render(6000).astype(np.float64)

    together = played(range(4), None)
    apart = sum(played(range(4), deck) for deck in range(4))
    assert np.max(np.abs(together - apart)) < 1e-6


@pytest.mark.parametrize("frames", [200, 1000])
@pytest.mark.parametrize("band", [0, 1, 2])
def test_enabling_moving_and_disabling_the_eq_makes_no_click(band: int, frames: int) -> None:
    hertz = 110.0
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(hertz, 60000, level=0.5)))
        for step, gain in enumerate((0.0, 1.4, 0.5, 0.0, 1.0)):
            harness.ramp(eq_ramp(0, band), gain, frames, frame=3000 + 6000 * step)
        out = harness.render(45000)[:, 0].astype(np.float64)
    # A gain moving by 1.4 within this time, or the crossfade, only adds spectrum near the tone. A
    # click would reach up to frequencies where the tone has none.
    high = signal.sosfilt(signal.butter(8, 5000, "high", fs=RATE, output="sos"), out)
    assert np.max(np.abs(high[2000:])) < 0.5 * 10 ** (-50 / 20)


def test_rapid_gain_moves_stay_bounded() -> None:
    rng = np.random.default_rng(3)
    with RenderHarness() as harness:
        source = harness.load(noise(44100, peak=0.1))
        harness.start(0, source, loop=(0, 44100))
        for frame in range(0, 200_000, 97):
            harness.ramp(eq_ramp(0, frame % 3), float(rng.uniform(0, 2)), 50, frame=frame)
        out = harness.render(200_000)
        assert int(harness.desk.ledger["nonfinite"]) == 0
    assert 0.05 < np.max(np.abs(out)) < 0.5


def test_silence_stays_silent() -> None:
    with RenderHarness() as harness:
        harness.ramp(eq_ramp(0, 1), 0.5)
        harness.start(0, harness.load(np.zeros(3000, np.int16)))
        assert not harness.render(5000).any()


def test_the_output_matches_the_golden_file() -> None:
    samples = np.zeros(1600, np.float32)
    samples[1000] = 1.0
    with RenderHarness() as harness:
        for band, gain in enumerate((0.2, 1.0, 0.6)):
            harness.ramp(eq_ramp(3, band), gain)
        harness.start(0, harness.load(samples), deck=3)
        out = harness.render(1600)
    check_golden("equalizer", out[900:])
