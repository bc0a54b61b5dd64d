"""The master: transparent below full scale, never above it, and always finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.opcodes import OP_STOP_ALL, OP_TONE
from crowdstream.desk.ramps import RAMP_MASTER, VOICE_GAIN, deck_level_ramp, eq_ramp, voice_ramp
from crowdstream.engine.dsp.limiter import RELEASE_SECONDS
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine


def test_the_master_is_transparent_up_to_full_scale() -> None:
    samples = np.tile(np.array([[32767, -32768], [-32768, 32767]], np.int16), (3000, 1))
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        out = harness.render(6000)
        assert int(harness.desk.ledger["limited_frames"]) == 0
        assert float(harness.desk.master["limit_gain"]) == 1.0
        assert float(harness.desk.master["peak"]) == 1.0
    assert np.array_equal(out, as_float(samples))


def test_the_limiter_is_stereo_linked_and_recovers() -> None:
    samples = np.full((70000, 2), (0.5, 0.25), np.float32)
    samples[1000:1010] = (2.0, 0.5)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        out = harness.render(70000)
        assert int(harness.desk.ledger["limited_frames"]) > 10
    assert np.array_equal(out[:1000], samples[:1000])
    assert np.max(np.abs(out)) <= 1.0
    assert np.allclose(out[1000:1010, 0], 1.0, atol=1e-3)
    assert np.allclose(out[1000:1010, 1], 0.25, atol=1e-3)
    # The gain recovers exponentially: after one time constant, to within 1/e of the way.
    gain = out[1010:, 0] / 0.5
    after = int(RELEASE_SECONDS * RATE)
    assert abs(1 - gain[after] - 0.5 / np.e) < 0.005
    assert np.all(np.diff(gain) >= 0)
    assert np.array_equal(out[-5000:], samples[-5000:])


@pytest.mark.parametrize("over", [1.0000001, 1.00001, 1.00005, 1.001])
def test_the_slightest_overshoot_is_limited(over: float) -> None:
    samples = np.full((3000, 2), 0.5, np.float32)
    samples[1000] = (-over, 0.25)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        out = harness.render(3000)
        assert int(harness.desk.ledger["limited_frames"]) > 0
    assert out[1000, 0] == -1.0
    assert np.max(np.abs(out)) <= 1.0


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    peaks=st.lists(
        st.sampled_from([0.1, 0.9, 1.0, 1.5, 4.0, 100.0, 9000.0]), min_size=1, max_size=4
    ),
    level=st.floats(0.0, 4.0),
    rate=st.sampled_from([1.0, 1.06, 0.5, 3.0]),
)
def test_the_master_never_exceeds_full_scale(
    seed: int, peaks: list[float], level: float, rate: float
) -> None:
    rng = np.random.default_rng(seed)
    with RenderHarness(pages=16) as harness:
        for deck, peak in enumerate(peaks):
            wave = rng.uniform(-peak, peak, (3000, 2)).astype(np.float32)
            harness.start(deck, harness.load(wave), deck=deck, rate=rate)
        harness.ramp(RAMP_MASTER, level, 700)
        out = harness.render(2500)
    assert np.all(np.isfinite(out))
    assert np.max(np.abs(out)) <= 1.0


BAD = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("rate", [1.0, 1.06])
@pytest.mark.parametrize("with_eq", [False, True])
def test_a_non_finite_sample_is_silenced_and_counted(
    bad: float, rate: float, with_eq: bool
) -> None:
    samples = sine(300.0, 30000, level=0.5)
    samples[5000] = bad
    samples[7000:7003] = bad
    with RenderHarness() as harness:
        if with_eq:
            harness.ramp(eq_ramp(0, 0), 0.999)
        harness.start(0, harness.load(samples), rate=rate)
        out = harness.render(20000)
        assert int(harness.desk.ledger["nonfinite"]) == 4
    assert np.all(np.isfinite(out))
    # Playback continues: shortly afterwards no trace is left.
    clean = sine(300.0, 30000, level=0.5)
    with RenderHarness() as harness:
        if with_eq:
            harness.ramp(eq_ramp(0, 0), 0.999)
        harness.start(0, harness.load(clean), rate=rate)
        expected = harness.render(20000)
    assert np.max(np.abs(out[15000:] - expected[15000:])) < 1e-5
    assert np.max(np.abs(out)) < 0.75


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", ["last", "first", "loop", "all"])
def test_a_non_finite_sample_at_a_boundary_leaves_no_trace(bad: float, place: str) -> None:
    samples = sine(300.0, 8000, level=0.5)
    places: dict[str, int | slice] = {"last": 7999, "first": 0, "loop": 5999, "all": slice(None)}
    samples[places[place]] = bad
    with RenderHarness() as harness:
        source = harness.load(samples)
        harness.start(0, source, loop=(2000, 6000) if place == "loop" else (0, 8000))
        harness.start(1, source, start=7000)
        harness.render(30000)
        harness.send(OP_STOP_ALL)
        harness.render(500)
        harness.start(0, harness.load(sine(300.0, 8000, level=0.5)))
        out = harness.render(8000)
    assert np.array_equal(out[:, 0], sine(300.0, 8000, level=0.5))


@pytest.mark.parametrize("bad", BAD)
def test_a_stem_ending_on_a_non_finite_sample_does_not_affect_others(bad: float) -> None:
    long, short = sine(300.0, 9000, level=0.5), np.zeros(3000, np.float32)
    short[-1] = bad
    with RenderHarness() as harness:
        harness.start(0, [harness.load(long), harness.load(short)])
        out = harness.render(9000)[:, 0]
        assert int(harness.desk.ledger["nonfinite"]) == 1
    assert np.array_equal(out, long)


def test_levels_multiply() -> None:
    samples = noise(4000, peak=0.5)
    with RenderHarness() as harness:
        harness.ramp(RAMP_MASTER, 0.5)
        harness.ramp(deck_level_ramp(1), 0.25)
        harness.start(0, harness.load(samples), deck=1, gain=0.5)
        harness.ramp(voice_ramp(0, VOICE_GAIN), 0.75, frame=2000)
        out = harness.render(4000)
        assert abs(float(harness.desk.decks["peak"][1]) - 2 * float(np.abs(out).max())) < 1e-6
        assert float(harness.desk.decks["peak"][0]) == 0.0
        assert abs(float(harness.desk.master["peak"]) - float(np.abs(out).max())) < 1e-6
    expected = as_float(samples) / 16
    expected[2000:] *= 1.5
    assert np.allclose(out, expected, atol=1e-7)


def test_a_ramp_is_linear_from_its_current_value() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(np.full(4000, 0.5, np.float32)))
        harness.ramp(deck_level_ramp(0), 0.0, 1000, frame=100)
        harness.ramp(deck_level_ramp(0), 1.0, 1000, frame=600)  # reversed halfway
        out = harness.render(4000)[:, 0] / 0.5
    steps = np.arange(1, 501)
    assert np.allclose(out[100:600], 1 - steps / 1000, atol=1e-6)
    assert np.allclose(out[600:1600], 0.5 + np.arange(1, 1001) / 2000, atol=1e-6)
    assert np.all(out[1600:4000] == 1.0)


def test_the_tone_has_the_requested_pitch_level_and_length() -> None:
    with RenderHarness() as harness:
        harness.send(OP_TONE, x=440.0, y=0.1, start=44100, frame=1000)
        out = harness.render(50000, 700)
    assert not out[:1000].any()
    assert not out[45100:].any()
    assert np.array_equal(out[:, 0], out[:, 1])
    middle = slice(2000, 44000)
    angle = 2 * np.pi * 440 / RATE * np.arange(50000)
    assert np.allclose(out[middle, 0], 0.1 * np.sin(angle - angle[1000])[middle], atol=1e-6)
    # It fades in and out.
    assert np.max(np.abs(np.diff(out[990:1100, 0]))) < 0.002
    assert np.max(np.abs(np.diff(out[45000:45110, 0]))) < 0.002


def test_successive_tones_make_no_click() -> None:
    with RenderHarness() as harness:
        for frame, hertz in ((100, 440.0), (300, 660.0), (5000, 330.0), (9900, 440.0)):
            harness.send(OP_TONE, x=hertz, y=0.1, start=5000, frame=frame)
        out = harness.render(20000)
    assert np.max(np.abs(np.diff(out[:, 0]))) < 0.1 * 2 * np.pi * 660 / RATE + 0.001
    assert not out[14901:].any()


def test_stop_all_ends_the_tone() -> None:
    with RenderHarness() as harness:
        harness.send(OP_TONE, x=440.0, y=0.1, start=44100)
        harness.send(OP_STOP_ALL, frame=5000)
        out = harness.render(10000)
    assert not out[6000:].any()
    assert np.max(np.abs(np.diff(out[:, 0]))) < 0.01
