"""The routing matrix: which source feeds which destination, and at what gain."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.constants import CHAIN_BUS, CHAIN_MASTER
from crowdstream.desk.ramps import RAMP_PREFADER, deck_level_ramp, patch_ramp
from tests.support.effect_harness import put
from tests.support.render_harness import RenderHarness, as_float, noise

FRAMES = 8000
SAMPLES = [noise(FRAMES, peak=0.1, seed=deck) for deck in range(4)]


def _play(harness: RenderHarness) -> None:
    for deck in range(4):
        harness.start(deck, harness.load(SAMPLES[deck]), deck=deck)


def test_by_default_decks_feed_only_the_master_bit_exact() -> None:
    with RenderHarness() as harness:
        _play(harness)
        out = harness.render(FRAMES)
    expected = np.zeros((FRAMES, 2), np.float32)
    for samples in SAMPLES:
        expected += as_float(samples)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("deck", range(4))
@pytest.mark.parametrize("bus", range(2))
def test_each_route_from_a_deck_to_a_bus_is_independent(deck: int, bus: int) -> None:
    with RenderHarness() as harness:
        for other in range(4):
            harness.ramp(patch_ramp(other, 2), 0.0)
        harness.ramp(patch_ramp(deck, bus), 0.5)
        harness.ramp(patch_ramp(4 + bus, 2), 0.25)
        harness.ramp(patch_ramp(5 - bus, 2), 3.0)
        _play(harness)
        out = harness.render(FRAMES)
    assert np.array_equal(out, as_float(SAMPLES[deck]) * np.float32(0.125))


@pytest.mark.parametrize("first", range(2))
def test_either_bus_can_feed_the_other(first: int) -> None:
    with RenderHarness() as harness:
        for other in range(4):
            harness.ramp(patch_ramp(other, 2), 0.0)
        harness.ramp(patch_ramp(1, first), 0.5)
        harness.ramp(patch_ramp(4 + first, 1 - first), 0.5)
        harness.ramp(patch_ramp(4 + first, 2), 0.0)
        _play(harness)
        out = harness.render(FRAMES)
    assert np.array_equal(out, as_float(SAMPLES[1]) * np.float32(0.25))


def test_a_send_is_post_fader_unless_set_to_pre_fader() -> None:
    with RenderHarness() as harness:
        for other in range(4):
            harness.ramp(patch_ramp(other, 2), 0.0)
        harness.ramp(patch_ramp(2, 1), 1.0)
        harness.ramp(deck_level_ramp(2), 0.25)
        harness.ramp(RAMP_PREFADER + 2 * 2 + 1, 1.0, 100, frame=4000)
        _play(harness)
        out = harness.render(FRAMES)
    samples = as_float(SAMPLES[2])
    assert np.array_equal(out[:4000], samples[:4000] * np.float32(0.25))
    assert np.array_equal(out[4100:], samples[4100:])


def test_a_route_opens_along_its_ramp() -> None:
    with RenderHarness() as harness:
        harness.ramp(patch_ramp(0, 2), 0.0, 1000, frame=1000)
        harness.start(0, harness.load(np.full(FRAMES, 16384, np.int16)))
        out = harness.render(FRAMES)[:, 0]
    expected = 0.5 * np.clip(1 - (np.arange(FRAMES) - 999) / 1000, 0, 1)
    assert np.max(np.abs(out - expected)) < 1e-6


def test_chains_of_buses_and_master_process_only_their_own_signal() -> None:
    with RenderHarness() as harness:
        for other in range(1, 4):
            harness.ramp(patch_ramp(other, 2), 0.0)
        harness.ramp(patch_ramp(1, 0), 1.0)
        put(harness, 0, "crusher", {"bits": 3, "rate": 192000}, chain=CHAIN_BUS)
        _play(harness)
        out = harness.render(FRAMES)[1000:]
        crushed = np.floor(as_float(SAMPLES[1])[1000:] / 0.25 + 0.5) * 0.25
        assert np.max(np.abs(out - as_float(SAMPLES[0])[1000:] - crushed)) < 1e-6
    with RenderHarness() as harness:
        put(harness, 0, "crusher", {"bits": 4, "rate": 192000}, chain=CHAIN_MASTER)
        _play(harness)
        out = harness.render(FRAMES)[1000:]
        assert set(np.unique(out * 8 % 1)) == {0.0}
