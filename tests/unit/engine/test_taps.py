"""Taps hold exactly the signal at their point of the mixer, whatever the block lengths."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from crowdstream.desk.constants import (
    DECKS,
    SEGMENT,
    TAP_CUE,
    TAP_DECK,
    TAP_FRAMES,
    TAP_MASTER,
    TAP_STEM,
    TAPS,
)
from crowdstream.desk.ramps import RAMP_MASTER, deck_level_ramp, eq_ramp
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.engine.taps import publish_taps, tap_outputs, tap_sources
from tests.support.render_harness import RenderHarness, as_float, noise


def _mix(harness: RenderHarness) -> None:
    # Two decks with moving gains, loud enough for the limiter.
    harness.start(0, harness.load(noise(30000, seed=1)), loop=(0, 30000))
    harness.start(1, harness.load(noise(9000, seed=2)), deck=2, rate=1.06, loop=(10, 8000))
    harness.ramp(eq_ramp(0, 0), 0.0, 1000, frame=777)
    harness.ramp(deck_level_ramp(2), 0.3, 5000, frame=100)
    harness.ramp(RAMP_MASTER, 1.5, 900, frame=4000)


@pytest.mark.parametrize("blocks", [[256], [1], [7, 64, 1023], [2048]])
def test_taps_hold_the_signal_at_their_point(blocks: list[int]) -> None:
    with RenderHarness() as harness, RenderHarness() as plain:
        used = [TAP_MASTER, TAP_CUE, *range(TAP_DECK, TAP_DECK + DECKS), *range(TAP_STEM, TAPS)]
        readers = {tap: TapReader(harness.desk, tap, LISTENERS) for tap in used}
        _mix(harness)
        _mix(plain)
        out = harness.render(6000, blocks)
        held = {tap: reader.read() for tap, reader in readers.items()}
        assert int(harness.desk.ledger["limited_frames"]) > 0
        # A reader changes nothing.
        assert np.array_equal(out, plain.render(6000))
        assert all(lost == 0 and len(frames) == 6000 for lost, frames in held.values())
        assert np.array_equal(held[TAP_MASTER][1], out)
        assert held[TAP_DECK][1].any() and held[TAP_DECK + 2][1].any()
        assert not held[TAP_DECK + 1][1].any() and not held[TAP_DECK + 3][1].any()


def test_a_deck_tap_is_post_eq_and_pre_fader() -> None:
    def tapped(level: float, high: float) -> np.ndarray:
        with RenderHarness() as harness:
            harness.ramp(deck_level_ramp(1), level)
            harness.ramp(eq_ramp(1, 2), high)
            harness.render(1000)
            reader = TapReader(harness.desk, TAP_DECK + 1, LISTENERS)
            harness.start(0, harness.load(noise(5000, peak=0.4)), deck=1)
            out = harness.render(4096)
            assert out.any() == (level > 0)
            return reader.read()[1]

    def treble(samples: np.ndarray) -> float:
        return float(np.abs(np.fft.rfft(samples[:, 0]))[1000:].mean())

    assert np.array_equal(tapped(1.0, 0.0), tapped(0.0, 0.0))
    assert np.array_equal(tapped(0.3, 1.0), as_float(noise(5000, peak=0.4))[:4096])
    assert treble(tapped(1.0, 0.0)) < 0.01 * treble(tapped(1.0, 1.0))


@numba.njit
def _tap(address, out, count, frame):  # type: ignore[no-untyped-def]
    tap_sources(address, False, count, frame)
    tap_outputs(address, out, 0, count, frame)
    publish_taps(address)


def test_stem_and_cue_taps_copy_their_regions() -> None:
    generator = np.random.default_rng(1)
    with RenderHarness() as harness:
        desk = harness.desk
        harness.render(5)
        readers = [TapReader(desk, tap, LISTENERS) for tap in (TAP_STEM + 9, TAP_CUE)]
        out = np.zeros((SEGMENT, 2), np.float32)
        for at, count in ((5, 100), (105, 256)):
            desk.stem_out[:] = generator.normal(size=desk.stem_out.shape)
            desk.cue[:] = generator.normal(size=desk.cue.shape)
            _tap(desk.address, out.reshape(-1), count, at)
            stem, cue = (reader.read()[1] for reader in readers)
            assert np.array_equal(stem, desk.stem_out[9, :count])
            assert np.array_equal(cue, desk.cue[:count])


def test_a_tap_without_a_reader_is_not_written() -> None:
    with RenderHarness() as harness:
        _mix(harness)
        harness.render(3000)
        assert not harness.desk.tap_rings[: TAP_DECK + 4].any()
        assert not harness.desk.taps["head"].any()
        reader = TapReader(harness.desk, TAP_MASTER, LISTENERS)
        out = harness.render(1000)
        assert np.array_equal(reader.read()[1], out)
        reader.close()
        before = harness.desk.tap_rings[TAP_MASTER].copy()
        harness.render(1000)
        assert np.array_equal(harness.desk.tap_rings[TAP_MASTER], before)
        # When it is enabled again, it starts there, and its old content is not mistaken for new.
        reader = TapReader(harness.desk, TAP_MASTER, LISTENERS, start=3500)
        assert reader.first is None or reader.first == 3500
        out = harness.render(700)
        assert reader.first == 5000 == int(harness.desk.taps[TAP_MASTER]["since"])
        lost, frames = reader.read()
        assert lost == 0
        assert np.array_equal(frames, out)


def test_the_ring_wraps_around() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(30011)), loop=(0, 30011))
        reader = TapReader(harness.desk, TAP_MASTER, LISTENERS)
        for _ in range(9):
            out = harness.render(30000, 1000)
            lost, frames = reader.read()
            assert lost == 0
            assert np.array_equal(frames, out)
        assert reader.position == 270000 > 2 * TAP_FRAMES
