"""At rate 1, unity gain and flat EQ, the output equals the file bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.opcodes import OP_SEEK
from crowdstream.desk.ramps import VOICE_RATE, VOICE_STEM, deck_level_ramp, voice_ramp
from crowdstream.engine.voice.voice import FADE_IN
from tests.support.render_harness import RenderHarness, as_float, noise

LENGTH = 40000  # more than two pages of the largest frame format
FORMATS = ["int16 mono", "int16 stereo", "float32 mono", "float32 stereo"]


def _samples(kind: str, seed: int = 0) -> np.ndarray:
    samples = noise(LENGTH, 1 if "mono" in kind else 2, peak=0.9, seed=seed)
    if kind.startswith("int16"):
        return samples
    # Not on the 16-bit grid, so that a conversion to 16 bits would be noticed.
    return (samples / np.float32(32768.0) * np.float32(0.999)).astype(np.float32)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_from_its_beginning_is_bit_exact(kind: str) -> None:
    samples = _samples(kind)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        out = harness.render(LENGTH, 512)
    assert np.array_equal(out, as_float(samples))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("start", [1, 63, 8191, 8192, 16383, 16384, 16385, 32767, 39000])
def test_a_file_from_anywhere_is_bit_exact_after_the_fade_in(kind: str, start: int) -> None:
    samples = _samples(kind)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), start=start)
        out = harness.render(LENGTH - start, 384)
    expected = as_float(samples)[start:]
    assert np.array_equal(out[FADE_IN:], expected[FADE_IN:])
    assert np.all(np.abs(out[:FADE_IN]) <= np.abs(expected[:FADE_IN]))
    assert not np.array_equal(out[:8], expected[:8])


def test_extreme_sample_values_are_not_limited() -> None:
    samples = np.array([-32768, 32767, 0, 1, -1] * 50, np.int16)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        out = harness.render(len(samples))
        assert int(harness.desk.ledger["limited_frames"]) == 0
    assert np.array_equal(out, as_float(samples))


def test_playback_is_bit_exact_after_a_seek() -> None:
    samples = noise(LENGTH, peak=0.4)  # both positions together stay below the limiter
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        harness.send(OP_SEEK, target=0, start=20000, frame=1000)
        out = harness.render(3000)
    assert np.array_equal(out[:1000], as_float(samples)[:1000])
    settled = 1000 + 256
    assert np.array_equal(out[settled:], as_float(samples)[20256:22000])


def test_a_ramp_to_the_current_value_changes_nothing() -> None:
    samples = _samples("int16 stereo")
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        for row in (deck_level_ramp(0), voice_ramp(0, VOICE_RATE)):
            harness.ramp(row, 1.0, 500, frame=300)
        harness.tempo(1.0, 500, frame=300)
        out = harness.render(2000)
    assert np.array_equal(out, as_float(samples)[:2000])


def test_eight_stems_add_up() -> None:
    parts = [noise(5000, 1 + seed % 2, peak=0.1, seed=seed) for seed in range(8)]
    gains = [0.25, 0.5, 1.0, 0.75, 0.0, 1.0, 0.3, 1.5]
    with RenderHarness() as harness:
        harness.start(0, [harness.load(part) for part in parts], gains=gains)
        out = harness.render(5000)
    expected = np.zeros((5000, 2))
    for part, gain in zip(parts, gains, strict=True):
        expected += as_float(part).astype(np.float64) * gain
    assert np.max(np.abs(out - expected)) < 1e-6


def test_stems_may_differ_in_length() -> None:
    long, short = noise(6000, seed=1, peak=0.3), noise(3000, seed=2, peak=0.3)
    short[-300:] = 0
    with RenderHarness() as harness:
        harness.start(0, [harness.load(long), harness.load(short)])
        out = harness.render(6000)
    expected = as_float(long)
    expected[:3000] += as_float(short)
    assert np.array_equal(out, expected)


def test_playback_is_bit_exact_again_once_gains_are_back_at_one() -> None:
    samples = _samples("float32 stereo")
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        harness.ramp(deck_level_ramp(0), 0.3, 100, frame=100)
        harness.ramp(deck_level_ramp(0), 1.0, 100, frame=600)
        harness.ramp(voice_ramp(0, VOICE_STEM), 0.3, 100, frame=1200)
        harness.ramp(voice_ramp(0, VOICE_STEM), 1.0, 100, frame=1500)
        out = harness.render(3000)
    expected = as_float(samples)[:3000]
    assert np.array_equal(out[:100], expected[:100])
    assert np.allclose(out[200:600], 0.3 * expected[200:600], atol=1e-7)
    assert np.array_equal(out[700:1200], expected[700:1200])
    assert np.allclose(out[1300:1500], 0.3 * expected[1300:1500], atol=1e-7)
    assert np.array_equal(out[1600:], expected[1600:])
