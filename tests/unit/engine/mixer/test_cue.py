"""The cue bus: decks before their level, with the master's delay, for outputs 3 and 4."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.opcodes import OP_LOOKAHEAD
from crowdstream.desk.ramps import RAMP_CUE, RAMP_FILTER, RAMP_PFL, deck_level_ramp
from crowdstream.engine.drivers.callback import Callback
from crowdstream.engine.dsp.limiter import HALF
from tests.support.render_harness import RenderHarness, as_float, noise


def _filled(harness: RenderHarness, frames: int, block: int = 256) -> np.ndarray:
    # Master and cue side by side, as sent to a device with four outputs, shape `(frames, 4)`.
    callback = Callback(harness.desk, block)
    callback._first = False
    callback.channels = 4
    blocks = []
    while frames > 0:
        blocks.append(callback.fill(min(block, frames), False).copy())
        frames -= block
    del callback
    return np.concatenate(blocks)


def test_the_cue_bus_is_pre_fader() -> None:
    samples = noise(5000, peak=0.3)
    with RenderHarness() as harness:
        harness.ramp(deck_level_ramp(1), 0.0)
        harness.ramp(RAMP_PFL + 1, 1.0)
        harness.start(0, harness.load(samples), deck=1)
        harness.start(1, harness.load(noise(5000, seed=2)), deck=2)
        out = _filled(harness, 5000)
    assert np.array_equal(out[:, 2:], as_float(samples))
    assert np.array_equal(out[:, :2], as_float(noise(5000, seed=2)))


def test_the_cue_bus_is_post_filter_and_has_its_own_level() -> None:
    samples = noise(9000, peak=0.3)
    with RenderHarness() as harness:
        harness.ramp(RAMP_PFL, 0.5)
        harness.ramp(RAMP_CUE, 0.25)
        harness.ramp(RAMP_FILTER, 0.7)
        harness.start(0, harness.load(samples))
        out = _filled(harness, 9000)
    assert np.allclose(out[:, 2:], out[:, :2] / 8, atol=1e-7)
    assert not np.allclose(out[:, :2], as_float(samples), atol=0.05)


def test_cue_and_master_have_the_same_delay() -> None:
    samples = noise(5000, peak=0.3)
    with RenderHarness() as harness:
        harness.send(OP_LOOKAHEAD, x=66)
        harness.ramp(RAMP_PFL, 1.0)
        harness.start(0, harness.load(samples))
        out = _filled(harness, 5000, 100)
    assert np.array_equal(out[:, 2:], out[:, :2])
    assert not out[: 66 + HALF].any() and out[66 + HALF].any()


def test_the_cue_bus_is_silent_without_pfl() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(3000)))
        out = _filled(harness, 3000)
    assert out[:, :2].any()
    assert not out[:, 2:].any()


def test_the_cue_bus_never_exceeds_full_scale() -> None:
    with RenderHarness() as harness:
        for deck in range(4):
            harness.ramp(RAMP_PFL + deck, 4.0)
            harness.start(deck, harness.load(noise(6000, peak=0.9, seed=deck)), deck=deck)
        out = _filled(harness, 6000)
        assert float(np.max(np.abs(out))) == 1.0


def test_pfl_is_ramped() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(np.full((6000, 2), 0.5, np.float32)))
        harness.ramp(RAMP_PFL, 1.0, 882, frame=1000)
        harness.ramp(RAMP_PFL, 0.0, 882, frame=3000)
        cue = _filled(harness, 6000)[:, 2]
    assert np.max(np.abs(np.diff(cue))) < 0.5 / 800
    assert np.all(cue[1882:3000] == 0.5)
    assert not cue[3882:].any()


@pytest.mark.parametrize("block", [1, 33, 1000])
def test_block_length_changes_nothing(block: int) -> None:
    def rendered(length: int) -> np.ndarray:
        with RenderHarness() as harness:
            harness.send(OP_LOOKAHEAD, x=20)
            harness.start(0, harness.load(noise(6000, peak=0.9)))
            harness.ramp(RAMP_PFL, 3.0, 501, frame=301)
            return _filled(harness, 6000, length)

    assert np.array_equal(rendered(block), rendered(256))


def test_blocks_longer_than_a_device_requests_are_rendered() -> None:
    with RenderHarness() as harness:
        harness.ramp(RAMP_PFL, 1.0)
        harness.start(0, harness.load(noise(40000)))
        out = harness.render(40000, 40000)
    assert np.array_equal(out, as_float(noise(40000)))
