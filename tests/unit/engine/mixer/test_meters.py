"""The engine's meters against numpy and pyloudnorm's weighting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from crowdstream.desk.constants import METER_DECKS, METER_HOPS, METER_OUTPUTS, METER_STEMS, STEMS
from crowdstream.desk.dsp_tables import k_weighting
from crowdstream.desk.opcodes import METERS_MIX, METERS_STEMS, OP_LOOKAHEAD
from crowdstream.desk.ramps import RAMP_MASTER, RAMP_PFL, deck_level_ramp
from tests.support.render_harness import RATE, RenderHarness, as_float, noise

HOP = 441
HOPS = 40
LENGTH = HOP * HOPS


def _weighted(samples: np.ndarray) -> np.ndarray:
    heard = samples.astype(np.float64)
    for b0, b1, b2, a1, a2 in k_weighting(RATE):
        heard = signal.lfilter([b0, b1, b2], [1, a1, a2], heard, axis=0)
    return heard


def _expected(samples: np.ndarray) -> np.ndarray:
    # Shape `(hops, 3, 2)`: peak, squares and weighted squares of a stereo signal from frame 0 on.
    hops = samples[:LENGTH].astype(np.float64).reshape(HOPS, HOP, 2)
    weighted = _weighted(samples[:LENGTH]).reshape(HOPS, HOP, 2)
    return np.stack(
        [np.abs(hops).max(axis=1), np.square(hops).sum(axis=1), np.square(weighted).sum(axis=1)], 1
    )


def _close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(found, expected, rtol=1e-3, atol=1e-6))


def test_decks_are_metered_pre_fader_and_outputs_as_they_leave() -> None:
    samples = [noise(LENGTH, peak=0.2, seed=seed) for seed in range(4)]
    with RenderHarness() as harness:
        harness.desk.metering["on"] = METERS_MIX
        harness.send(OP_LOOKAHEAD, x=66)
        harness.ramp(RAMP_PFL + 1, 0.5)
        harness.ramp(RAMP_MASTER, 0.7)
        for deck, wave in enumerate(samples):
            harness.ramp(deck_level_ramp(deck), 0.3 * deck)
            harness.start(deck, harness.load(wave), deck=deck)
        out = harness.render(LENGTH, 300)
        ring = harness.desk.meter_ring[:HOPS].copy()
        delay = int(harness.desk.limiter["delay"])
        assert int(harness.desk.metering["head"]) == HOPS
    for deck, wave in enumerate(samples):
        lanes = slice(2 * deck, 2 * deck + 2)
        assert _close(ring[:, METER_DECKS, :, lanes], _expected(as_float(wave)))
    assert _close(ring[:, METER_OUTPUTS, :, :2], _expected(out))
    cue = np.concatenate([np.zeros((delay, 2)), 0.5 * as_float(samples[1])])
    assert _close(ring[:, METER_OUTPUTS, :, 2:4], _expected(cue))
    assert not ring[:, METER_OUTPUTS, :, 4:].any()
    assert not ring[:, METER_STEMS:].any()


def test_stems_are_metered_as_they_enter_the_deck() -> None:
    with RenderHarness() as harness:
        harness.desk.metering["on"] = METERS_MIX | METERS_STEMS
        harness.desk.stem_out[STEMS * 2 + 5] = 0.25
        harness.render(HOP, 256)
        found = harness.desk.meter_ring[0, METER_STEMS:, 0].copy()
    lane = STEMS * 2 + 5
    loud = np.argwhere(found)
    assert loud.tolist() == [[lane // 4, 2 * (lane % 4)], [lane // 4, 2 * (lane % 4) + 1]]


def test_meters_without_readers_measure_nothing() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(LENGTH)))
        harness.render(LENGTH)
        assert int(harness.desk.metering["head"]) == 0
        assert not harness.desk.meter_ring.any()


def test_metering_changes_no_bit() -> None:
    def rendered(on: int) -> np.ndarray:
        with RenderHarness() as harness:
            harness.desk.metering["on"] = on
            harness.start(0, harness.load(noise(9000)))
            return harness.render(9000)

    assert np.array_equal(rendered(0), rendered(METERS_MIX | METERS_STEMS))


@pytest.mark.parametrize("block", [1, 100, 441, 5000])
def test_block_length_changes_nothing(block: int) -> None:
    def measured(length: int) -> np.ndarray:
        with RenderHarness() as harness:
            harness.desk.metering["on"] = METERS_MIX
            harness.start(0, harness.load(noise(9000)))
            harness.render(9000, length)
            ring: np.ndarray = harness.desk.meter_ring[: 9000 // HOP].copy()
            return ring

    assert np.array_equal(measured(block), measured(256))


def test_the_ring_wraps_around() -> None:
    with RenderHarness() as harness:
        harness.desk.metering["on"] = METERS_MIX
        harness.start(0, harness.load(np.full(60000, 0.25, np.float32)))
        harness.render(HOP * (METER_HOPS + 3))
        assert int(harness.desk.metering["head"]) == METER_HOPS + 3
        assert np.all(harness.desk.meter_ring[:, METER_DECKS, 0, 0] == 0.25)
