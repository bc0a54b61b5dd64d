"""The one-knob filter against scipy; off is bit-exact; stable however it is moved."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from crowdstream.desk.constants import LANES
from crowdstream.desk.dsp_tables import HIGHPASS_HZ, LOWPASS_HZ
from crowdstream.desk.ramps import RAMP_FILTER, RAMP_RESONANCE
from crowdstream.engine.dsp.filter import DEAD_ZONE, FLAT_DAMPING, MIN_DAMPING, MIX
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine

READY = 2000  # frames after which the filter has settled
TAIL = 1 << 15


def _response(knob: float, resonance: float, rate: float) -> tuple[np.ndarray, np.ndarray]:
    samples = np.zeros((READY + TAIL, 1), np.float32)
    samples[READY] = 0.4
    with RenderHarness(rate) as harness:
        harness.ramp(RAMP_FILTER + 2, knob)
        harness.ramp(RAMP_RESONANCE + 2, resonance)
        harness.start(0, harness.load(samples), deck=2)
        out = harness.render(READY + TAIL)[READY:, 0].astype(np.float64) / 0.4
    return np.fft.rfftfreq(TAIL, 1 / rate), np.fft.rfft(out)


def _cutoff(way: tuple[float, float], amount: float, rate: float) -> float:
    return float(min(way[0] * (way[1] / way[0]) ** amount, 0.45 * rate))


def _oracle(knob: float, resonance: float, hertz: np.ndarray, rate: float) -> np.ndarray:
    total = np.ones(len(hertz), complex)
    for kind, way, amount in (
        ("low", LOWPASS_HZ, max(0.0, -knob)),
        ("high", HIGHPASS_HZ, max(0.0, knob)),
    ):
        share = min(1.0, amount / 0.1)
        peak = (FLAT_DAMPING - MIN_DAMPING) * (1 - (1 - resonance) ** 2)
        # The analogue prototype, prewarped so that the bilinear transform meets the cut-off
        # frequency.
        w = 2 * rate * np.tan(np.pi * _cutoff(way, amount, rate) / rate)
        bottom = [1.0, (FLAT_DAMPING - share * peak) * w, w * w]
        top = [w * w] if kind == "low" else [1.0, 0.0, 0.0]
        b, a = signal.bilinear(top, bottom, rate)
        total *= signal.freqz(b, a, hertz, fs=rate)[1]
    return total


@pytest.mark.parametrize("rate", [44100.0, 96000.0, 32000.0])
@pytest.mark.parametrize(
    ("knob", "resonance"),
    [(-0.02, 0.0), (-0.5, 0.0), (-0.7, 0.8), (-1.0, 0.5), (0.3, 0.0), (0.6, 1.0), (1.0, 0.3)],
)
def test_the_response_matches_the_textbook(knob: float, resonance: float, rate: float) -> None:
    hertz, response = _response(knob, resonance, rate)
    heard = (hertz >= 20) & (hertz <= 0.45 * rate)
    expected = _oracle(knob, resonance, hertz[heard], rate)
    assert np.max(np.abs(response[heard] - expected)) < 2e-3
    # And in dB, where the response is not negligible.
    loud = np.abs(expected) > 1e-2
    found = 20 * np.log10(np.abs(response[heard][loud]) / np.abs(expected[loud]))
    assert np.max(np.abs(found)) < 0.1


def test_the_filter_is_bit_exact_when_off_before_and_after_use() -> None:
    samples = noise(40000, peak=0.05)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), deck=1)
        harness.ramp(RAMP_RESONANCE + 1, 1.0, 100, frame=200)
        harness.ramp(RAMP_FILTER + 1, DEAD_ZONE * 0.99, 100, frame=1000)  # within the dead zone
        harness.ramp(RAMP_FILTER + 1, -0.5, 1000, frame=5000)
        harness.ramp(RAMP_FILTER + 1, 0.0, 1000, frame=10000)
        out = harness.render(40000)
        assert int(harness.desk.filter["used"][1]) == 0
    plain = as_float(samples)
    assert np.array_equal(out[:5000], plain[:5000])
    assert not np.allclose(out[6000:10000], plain[6000:10000], atol=0.01)
    after = 11000 + MIX
    assert np.array_equal(out[after:], plain[after:])


def test_other_decks_are_untouched() -> None:
    samples = noise(9000)
    with RenderHarness() as harness:
        for deck in range(4):
            harness.ramp(RAMP_FILTER + deck, 0.9 if deck != 1 else 0.0)
        harness.start(0, harness.load(samples), deck=1)
        out = harness.render(9000)
    assert np.array_equal(out, as_float(samples))


def test_lanes_do_not_share_filter_state() -> None:
    def alone(deck: int, channel: int) -> np.ndarray:
        samples = np.zeros((6000, 2), np.float32)
        samples[:, channel] = noise(6000, 1, seed=deck)[:, 0] / 65536
        with RenderHarness() as harness:
            for other, knob in enumerate((-0.5, 0.5, -0.9, 0.3)):
                harness.ramp(RAMP_FILTER + other, knob)
            harness.start(0, harness.load(samples), deck=deck)
            return harness.render(6000)

    heard = [alone(lane // 2, lane % 2) for lane in range(LANES)]
    for lane, out in enumerate(heard):
        assert out[:, lane % 2].any()
        assert not out[:, 1 - lane % 2].any()
    with RenderHarness() as harness:
        for other, knob in enumerate((-0.5, 0.5, -0.9, 0.3)):
            harness.ramp(RAMP_FILTER + other, knob)
        for deck in range(4):
            samples = (np.repeat(noise(6000, 1, seed=deck), 2, 1) / 65536).astype(np.float32)
            harness.start(deck, harness.load(samples), deck=deck)
        together = harness.render(6000)
    assert np.allclose(together, sum(heard), atol=1e-6)


def _moved_at_random(frames: int, resonance: float) -> np.ndarray:
    # A low tone through a filter whose knob jumps at random, within `frames` frames each time.
    with RenderHarness() as harness:
        harness.ramp(RAMP_RESONANCE, resonance)
        harness.start(0, harness.load(sine(55.0, 60000, level=0.1)))
        rng = np.random.default_rng(frames)
        for frame in range(1000, 55000, max(frames, 500)):
            harness.ramp(RAMP_FILTER, float(rng.uniform(-1, 1)), frames, frame=frame)
        return harness.render(55000)[:, 0]


@pytest.mark.parametrize("frames", [1, 20, 177])
@pytest.mark.parametrize("resonance", [0.0, 1.0])
def test_the_filter_is_stable_at_any_speed_of_the_knob(frames: int, resonance: float) -> None:
    assert np.max(np.abs(_moved_at_random(frames, resonance))) < 0.5


@pytest.mark.parametrize("frames", [882, 4410])  # the shortest ramp of a command, and a longer one
@pytest.mark.parametrize("resonance", [0.0, 1.0])
def test_turning_the_knob_adds_no_noise(frames: int, resonance: float) -> None:
    out = _moved_at_random(frames, resonance)
    high = signal.sosfilt(signal.butter(8, 8000, "high", fs=RATE, output="sos"), out)
    assert np.max(np.abs(high)) < 5e-4


def test_a_slow_turn_has_no_zipper_noise() -> None:
    # The knob moves along a ramp, so nothing may appear above the tone and its modulation.
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(1000.0, 100000, level=0.5)))
        harness.ramp(RAMP_FILTER, -0.2)
        harness.ramp(RAMP_FILTER, -0.8, 80000, frame=10000)
        out = harness.render(90000)[10000:, 0].astype(np.float64)
    window = np.blackman(len(out))
    spectrum = np.abs(np.fft.rfft(out * window)) / np.sum(window)
    hertz = np.fft.rfftfreq(len(out), 1 / RATE)
    assert 20 * np.log10(np.max(spectrum[hertz > 2000])) < -120


@pytest.mark.parametrize("speed", [177, 882, 4000])
def test_passing_the_middle_makes_no_click(speed: int) -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(440.0, 60000, level=0.5)))
        harness.ramp(RAMP_FILTER, -0.05)
        for number, frame in enumerate(range(5000, 50000, 5000)):
            harness.ramp(RAMP_FILTER, 0.05 if number % 2 == 0 else -0.05, speed, frame=frame)
        out = harness.render(60000)[:, 0]
    assert np.max(np.abs(np.diff(out[2000:]))) < 0.5 * 2 * np.pi * 440 / RATE * 1.2
    high = signal.sosfilt(signal.butter(8, 8000, "high", fs=RATE, output="sos"), out)
    assert np.max(np.abs(high[2000:])) < 1e-3


def test_random_knob_moves_stay_bounded() -> None:
    rng = np.random.default_rng(5)
    with RenderHarness() as harness:
        for deck in range(4):
            harness.start(deck, harness.load(noise(60000, peak=0.05, seed=deck)), deck=deck)
        for frame in range(100, 58000, 150):
            deck = int(rng.integers(4))
            harness.ramp(
                RAMP_FILTER + deck,
                float(rng.choice([-1, 1, 0, rng.uniform(-1, 1)])),
                int(rng.choice([1, 10, 200])),
                frame=frame,
            )
            harness.ramp(RAMP_RESONANCE + deck, float(rng.uniform(0, 1)), 1, frame=frame)
        out = harness.render(60000)
        assert int(harness.desk.ledger["nonfinite"]) == 0
    assert np.all(np.isfinite(out))
    assert np.max(np.abs(out)) < 1.0


@pytest.mark.parametrize("length", [1, 31, 33, 1023, 20000])
def test_block_length_changes_nothing(length: int) -> None:
    def rendered(block: int) -> np.ndarray:
        with RenderHarness() as harness:
            harness.start(0, harness.load(noise(20000, peak=0.2)))
            harness.start(1, harness.load(noise(20000, peak=0.2, seed=1)), deck=1)
            harness.ramp(RAMP_FILTER, -0.6, 1501, frame=333)
            harness.ramp(RAMP_RESONANCE, 0.7, 999, frame=1000)
            harness.ramp(RAMP_FILTER, 0.7, 2501, frame=5003)
            harness.ramp(RAMP_FILTER, 0.0, 801, frame=9001)
            harness.ramp(RAMP_FILTER, 0.3, 100, frame=9802 + MIX - 60)
            harness.ramp(RAMP_FILTER, 0.0, 100, frame=10200)
            harness.ramp(RAMP_FILTER, -0.3, 77, frame=15000)
            harness.ramp(RAMP_FILTER + 1, 0.005, 77, frame=4000)
            harness.ramp(RAMP_FILTER + 1, 0.4, 77, frame=12001)
            return harness.render(20000, block)

    assert np.array_equal(rendered(length), rendered(256))
