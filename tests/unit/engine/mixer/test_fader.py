"""Trim, level and crossfader: the gain at every frame, and bit-exact output at neutral settings."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.constants import CURVES
from crowdstream.desk.opcodes import CURVE_ADDITIVE, CURVE_CUT, CURVE_POWER
from crowdstream.desk.ramps import (
    RAMP_CROSSFADER,
    RAMP_CURVE,
    RAMP_LEFT,
    RAMP_RIGHT,
    RAMP_TRIM,
    deck_level_ramp,
    eq_ramp,
)
from crowdstream.engine.mixer.fader import CUT_WIDTH
from tests.support.render_harness import RenderHarness, as_float, noise

STEADY = np.full((30000, 2), 0.25, np.float32)


def _curve(harness: RenderHarness, curve: int, frames: int = 0, frame: int = 0) -> None:
    for other in range(CURVES):
        harness.ramp(RAMP_CURVE + other, float(other == curve), frames, frame)


def _right_gain(curve: int, place: np.ndarray) -> np.ndarray:
    gain: np.ndarray = {
        CURVE_ADDITIVE: np.minimum(1, 2 * place),
        CURVE_POWER: np.sin(np.pi / 2 * place),
        CURVE_CUT: np.minimum(1, place / CUT_WIDTH),
    }[curve]
    return gain


@pytest.mark.parametrize("curve", [CURVE_ADDITIVE, CURVE_POWER, CURVE_CUT])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_long_crossfade_follows_the_curve(curve: int, side: str) -> None:
    row = RAMP_LEFT if side == "left" else RAMP_RIGHT
    with RenderHarness() as harness:
        _curve(harness, curve)
        harness.ramp(RAMP_CROSSFADER, 0.0)
        harness.ramp(row + 1, 1.0)
        harness.start(0, harness.load(STEADY), deck=1)
        harness.ramp(RAMP_CROSSFADER, 1.0, 20000, frame=1000)
        out = harness.render(22000)[:, 0] / 0.25
    place = np.clip((np.arange(22000) - 999) / 20000, 0, 1)
    expected = _right_gain(curve, 1 - place if side == "left" else place)
    assert np.allclose(out, expected, atol=1e-6)
    # At its own end a side is unchanged; at the opposite end it is silent.
    closed, full = (out[21000:], out[:1000]) if side == "left" else (out[:1000], out[21000:])
    assert not closed.any()
    assert np.all(full == 1.0)


def test_the_power_curve_keeps_the_power_constant() -> None:
    with RenderHarness() as harness:
        harness.ramp(RAMP_LEFT, 1.0)
        harness.ramp(RAMP_RIGHT + 1, 1.0)
        harness.ramp(RAMP_CROSSFADER, 0.0)
        left, right = STEADY.copy(), STEADY.copy()
        left[:, 1], right[:, 0] = 0, 0
        harness.start(0, harness.load(left), deck=0)
        harness.start(1, harness.load(right), deck=1)
        harness.ramp(RAMP_CROSSFADER, 1.0, 20000)
        out = harness.render(20000)
    assert np.allclose(np.sum((out / 0.25) ** 2, axis=1), 1.0, atol=1e-5)


def test_unassigned_decks_are_bit_exact() -> None:
    samples = noise(8000)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), deck=2)
        harness.ramp(RAMP_CROSSFADER, 1.0, 3000)
        _curve(harness, CURVE_CUT, 500, 1000)
        out = harness.render(8000)
    assert np.array_equal(out, as_float(samples))


def test_a_change_of_curve_or_side_is_a_short_fade() -> None:
    with RenderHarness() as harness:
        harness.ramp(RAMP_LEFT, 1.0)
        harness.start(0, harness.load(STEADY))
        _curve(harness, CURVE_CUT, 882, 3000)
        harness.ramp(RAMP_LEFT, 0.0, 882, frame=6000)
        harness.ramp(RAMP_RIGHT, 1.0, 882, frame=6000)
        harness.ramp(RAMP_CROSSFADER, 1.0, 882, frame=9000)
        harness.ramp(RAMP_RIGHT, 0.0, 882, frame=12000)
        harness.ramp(RAMP_CROSSFADER, 0.0, 882, frame=15000)
        out = harness.render(18000)[:, 0] / 0.25
    assert out[2000] == pytest.approx(np.sqrt(0.5))
    # Cut curve: full gain in the middle, and on its own side.
    assert np.allclose(out[3882:15000], 1.0, atol=1e-6)
    assert np.all(out[15000:] == 1.0)
    assert np.max(np.abs(np.diff(out))) < 1 / 800


def test_crossfader_and_level_multiply() -> None:
    with RenderHarness() as harness:
        harness.ramp(RAMP_LEFT, 1.0)
        harness.ramp(deck_level_ramp(0), 0.5)
        harness.start(0, harness.load(STEADY))
        out = harness.render(100)
    assert np.allclose(out, 0.25 * 0.5 * np.sqrt(0.5))


def test_trim_is_applied_before_the_eq_and_ends_bit_exact() -> None:
    samples = noise(9000, peak=0.2)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), deck=3)
        harness.ramp(RAMP_TRIM + 3, 2.0, 1000, frame=1000)
        harness.ramp(RAMP_TRIM + 3, 1.0, 1000, frame=4000)
        out = harness.render(9000)
    plain = as_float(samples)
    gain = np.interp(np.arange(9000), [999, 1999, 3999, 4999], [1, 2, 2, 1])[:, None]
    assert np.allclose(out, plain * gain, atol=1e-6)
    for part in (slice(0, 1000), slice(5000, None)):
        assert np.array_equal(out[part], plain[part])
    # Before the EQ: its filters still ring from the louder signal.
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        harness.ramp(eq_ramp(0, 0), 0.0)
        harness.ramp(RAMP_TRIM, 0.0, 1, frame=4000)
        out = harness.render(9000)
    assert out[4000:4010].any()


@pytest.mark.parametrize("length", [1, 77, 5000])
def test_block_length_changes_nothing(length: int) -> None:
    def rendered(block: int) -> np.ndarray:
        with RenderHarness() as harness:
            harness.start(0, harness.load(noise(8000)))
            harness.ramp(RAMP_LEFT, 1.0, 301, frame=211)
            harness.ramp(RAMP_CROSSFADER, 1.0, 5001, frame=100)
            _curve(harness, CURVE_ADDITIVE, 333, 1501)
            harness.ramp(RAMP_TRIM, 1.7, 2222, frame=999)
            return harness.render(8000, block)

    assert np.array_equal(rendered(length), rendered(256))
