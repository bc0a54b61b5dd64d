"""Single stems: EQ and filter, cue bus, send buses, and recording of each stem."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from crowdstream.desk.constants import SEGMENT, TAP_FRAMES, TAP_STEM
from crowdstream.desk.opcodes import OP_SEEK
from crowdstream.desk.ramps import (
    RAMP_FILTER,
    RAMP_RESONANCE,
    VOICE_EQ,
    VOICE_FILTER,
    VOICE_PFL,
    VOICE_RESONANCE,
    VOICE_SEND,
    VOICE_STEM,
    eq_ramp,
    voice_ramp,
)
from tests.support.render_harness import RenderHarness, as_float, noise, sine

STEMS = 4


def _stems(harness: RenderHarness, frames: int = 30000, channels: int = 2) -> list[int]:
    return [harness.load(noise(frames, channels, peak=0.15, seed=seed)) for seed in range(STEMS)]


def _outlet(
    harness: RenderHarness, frames: int, name: str, number: int | None = None
) -> np.ndarray:
    # What voices add to an output region, collected segment by segment.
    parts = []
    for _ in range(frames // 64):
        harness.render(64, 64)
        region = getattr(harness.desk, name)
        parts.append((region if number is None else region[number])[:64].copy())
    return np.concatenate(parts)


@pytest.mark.parametrize("rate", [1.0, 1.06])
def test_the_cue_bus_receives_the_signal_of_the_deck(rate: float) -> None:
    with RenderHarness() as harness, RenderHarness() as other:
        for desk in (harness, other):
            desk.start(0, _stems(desk), rate=rate, gain=0.7, gains=[0, 0, 1, 0])
        harness.ramp(voice_ramp(0, VOICE_PFL + 2), 1.0)
        heard = _outlet(harness, 12800, "cue")
        expected = other.render(12800, 64)
    assert heard.any()
    assert np.array_equal(heard, expected)


def test_the_cue_bus_receives_a_stem_whose_gain_is_zero() -> None:
    with RenderHarness() as harness:
        sources = _stems(harness)
        harness.start(0, sources, gains=[0, 0, 0, 0])
        harness.ramp(voice_ramp(0, VOICE_PFL + 1), 0.5)
        heard = _outlet(harness, 6400, "cue")
        assert np.array_equal(heard, 0.5 * as_float(harness._samples[sources[1]])[:6400])
        assert not harness.desk.mix[:64].any()


@pytest.mark.parametrize("bus", [0, 1])
def test_a_send_is_post_gain(bus: int) -> None:
    with RenderHarness() as harness, RenderHarness() as other:
        for desk in (harness, other):
            desk.start(0, _stems(desk), rate=0.93, gains=[0, 0.5, 0, 0])
            desk.ramp(voice_ramp(0, VOICE_STEM + 1), 0.1, 3000, frame=1984)
        harness.ramp(voice_ramp(0, VOICE_SEND + 8 * bus + 1), 1.0)
        heard = _outlet(harness, 9600, "bus", bus)
        expected = other.render(9600, 64)
    assert heard.any()
    assert np.array_equal(heard, expected)


@pytest.mark.parametrize("rate", [1.0, 1.06, 0.5])
def test_recorded_stems_add_up_to_the_deck(rate: float) -> None:
    with RenderHarness() as harness:
        harness.desk.taps["on"][TAP_STEM : TAP_STEM + STEMS] = 1
        # A section loop with crossfades, a missing page, a moving gain and an EQ.
        sources = _stems(harness)
        harness.start(0, sources, rate=rate, loop=(3000, 9001), gains=[1, 0.5, 0.7, 1])
        harness.ramp(voice_ramp(0, VOICE_STEM), 0.2, 4000, frame=3000)
        harness.ramp(voice_ramp(0, VOICE_EQ + 3), 0.0, 900, frame=5000)
        out = harness.render(20000, 64)
        rings = harness.desk.tap_rings[TAP_STEM : TAP_STEM + STEMS]
        together = rings[:, :20000].astype(np.float64).sum(axis=0)
        assert TAP_FRAMES > 20000
        assert int(harness.desk.voices[0]["wraps"]) > 0
    assert together.any()
    assert np.max(np.abs(out - together)) < 1e-6


def _disturbed(change: Callable[[RenderHarness], None] | None, rate: float) -> np.ndarray:
    with RenderHarness() as harness:
        harness.start(0, _stems(harness), rate=rate, loop=(3000, 9001))
        harness.ramp(voice_ramp(0, VOICE_STEM), 0.3, 999, frame=4000)
        if change:
            change(harness)
        return harness.render(20000, 333)


@pytest.mark.parametrize("rate", [1.0, 1.06])
def test_cue_sends_and_recordings_change_no_bit_of_the_deck(rate: float) -> None:
    def change(harness: RenderHarness) -> None:
        harness.desk.taps["on"][TAP_STEM + 3] = 1
        harness.ramp(voice_ramp(0, VOICE_PFL), 1.0, 500, frame=1000)
        harness.ramp(voice_ramp(0, VOICE_PFL), 0.0, 500, frame=3000)
        harness.ramp(voice_ramp(0, VOICE_PFL), 0.5, 50, frame=9000)
        harness.ramp(voice_ramp(0, VOICE_RESONANCE), 0.7, 50, frame=9000)

    assert np.array_equal(_disturbed(change, rate), _disturbed(None, rate))


def test_opening_and_closing_a_pair_makes_no_click() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(97.0, 60000, level=0.5)), rate=1.06)
        harness.ramp(voice_ramp(0, VOICE_PFL), 1.0, 441, frame=6400)
        harness.ramp(voice_ramp(0, VOICE_PFL), 0.0, 441, frame=12800)
        heard = _outlet(harness, 25600, "cue")[:, 0]
        assert int(harness.desk.voices[0]["pair_until"][1]) < int(harness.desk.voices[0]["fed"])
    own = 0.5 * 2 * np.pi * 97 * 1.06 / 44100
    assert not heard[:6400].any()
    assert not heard[13400:].any()
    assert np.max(np.abs(np.diff(heard))) < own + 0.5 / 441 * 1.2


def test_a_jump_is_crossfaded_on_the_cue_bus_too() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(np.full(40000, 0.25, np.float32)))
        harness.ramp(voice_ramp(0, VOICE_PFL), 1.0)
        harness.render(6400)
        harness.send(OP_SEEK, target=0, start=20000)
        heard = _outlet(harness, 1280, "cue")[:, 0]
    assert np.max(np.abs(np.diff(heard))) < 0.25 / 64 * 1.1
    assert np.min(heard) > 0.2
    assert np.all(heard[300:] == 0.25)


GAINS = [(0.0, 1.0, 1.0), (0.3, 1.7, 0.6), (1.0, 1.0, 0.0)]


@pytest.mark.parametrize("gains", GAINS)
def test_a_stem_eq_equals_the_deck_eq(gains: tuple[float, float, float]) -> None:
    with RenderHarness() as harness, RenderHarness() as other:
        samples = noise(30000, 2, peak=0.4)
        harness.start(0, harness.load(samples))
        other.start(0, other.load(samples))
        for band, gain in enumerate(gains):
            harness.ramp(voice_ramp(0, VOICE_EQ + band), gain, 700, frame=3001)
            other.ramp(eq_ramp(0, band), gain, 700, frame=3001)
            harness.ramp(voice_ramp(0, VOICE_EQ + band), 1.0, 300, frame=20000)
            other.ramp(eq_ramp(0, band), 1.0, 300, frame=20000)
        out, expected = harness.render(30000), other.render(30000)
    assert np.array_equal(out, expected)
    assert np.array_equal(out[22000:], as_float(samples)[22000:])
    assert not np.allclose(out[5000:20000], as_float(samples)[5000:20000], atol=0.01)


@pytest.mark.parametrize("stem", range(8))
def test_a_stem_eq_does_not_affect_other_stems(stem: int) -> None:
    # Killing all bands of one stem leaves the others unchanged, bit for bit.
    with RenderHarness() as harness, RenderHarness() as other:
        parts = [noise(20000, 2, peak=0.1, seed=seed) for seed in range(8)]
        harness.start(0, [harness.load(part) for part in parts])
        gains = [1.0] * 8
        gains[stem] = 0.0
        other.start(0, [other.load(part) for part in parts], gains=gains)
        for band in range(3):
            harness.ramp(voice_ramp(0, VOICE_EQ + 3 * stem + band), 0.0)
        assert np.array_equal(harness.render(20000), other.render(20000))


def test_a_preset_eq_filters_from_the_first_frame_on() -> None:
    # The killed low band of a bass: little is left from the first frame on.
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(60.0, 30000, level=0.8)))
        harness.ramp(voice_ramp(0, VOICE_EQ), 0.0)
        out = harness.render(20000)[:, 0]
    assert np.max(np.abs(out[:2000])) < 0.1
    assert np.max(np.abs(out[4000:])) < 1e-3


@pytest.mark.parametrize("knob", [-0.6, 0.5])
def test_a_stem_filter_equals_the_deck_filter(knob: float) -> None:
    with RenderHarness() as harness, RenderHarness() as other:
        samples = noise(30000, 2, peak=0.3)
        harness.start(0, [harness.load(samples)])
        other.start(0, [other.load(samples)])
        for desk, row in ((harness, voice_ramp(0, VOICE_FILTER)), (other, RAMP_FILTER)):
            desk.ramp(row, knob, 900, frame=2000)
            desk.ramp(row, 0.0, 900, frame=20000)
        harness.ramp(voice_ramp(0, VOICE_RESONANCE), 0.5, 50, frame=1000)
        other.ramp(RAMP_RESONANCE, 0.5, 50, frame=1000)
        out, expected = harness.render(30000), other.render(30000)
    assert np.array_equal(out, expected)
    assert np.array_equal(out[22000:], as_float(samples)[22000:])
    assert not np.allclose(out[5000:20000], as_float(samples)[5000:20000], atol=0.01)


def test_a_filtered_stem_rings_out_after_its_end() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(200.0, 8000, level=0.3)))
        harness.ramp(voice_ramp(0, VOICE_RESONANCE), 1.0)
        harness.ramp(voice_ramp(0, VOICE_FILTER), -0.75)
        out = harness.render(30000, 100)[:, 0]
        assert int(harness.desk.voices[0]["state"]) == 0
    assert np.abs(out[8100:9500]).max() > 0.001
    assert not out[20000:].any()
    assert np.max(np.abs(np.diff(out[7000:]))) < 0.1


def _everything(harness: RenderHarness) -> None:
    sources = [*_stems(harness), harness.load(sine(80.0, 26000, level=0.1), missing=[0])]
    harness.desk.taps["on"][TAP_STEM + 4] = 1
    harness.start(0, sources, rate=1.07, loop=(500, 7001))
    harness.start(1, sources, rate=0.71, deck=2, start=3000, frame=777)
    harness.start(2, sources[:2], deck=1, rate=2.5, frame=1333)
    harness.send(OP_SEEK, target=0, start=12345, frame=9001)
    for stem in range(5):
        for voice in (0, 1):
            where = 300 * stem + 77 * voice
            row = voice_ramp(voice, 0)
            harness.ramp(row + VOICE_EQ + 3 * stem, 0.1 * stem, 333, frame=1001 + where)
            harness.ramp(row + VOICE_EQ + 3 * stem, 1.0, 200, frame=8001 + where)
            harness.ramp(row + VOICE_FILTER + stem, 0.3 * stem - 0.5, 999, frame=2001 + where)
            harness.ramp(row + VOICE_FILTER + stem, 0.0, 999, frame=9501 + where)
            harness.ramp(row + VOICE_RESONANCE + stem, 0.4, 99, frame=2501 + where)
            harness.ramp(row + VOICE_PFL + stem, 0.5, 50, frame=3001 + where)
            harness.ramp(row + VOICE_SEND + stem, 0.7, 50, frame=4001 + where)
            harness.ramp(row + VOICE_STEM + stem, 0.0, 50, frame=5003 + where)
            harness.ramp(row + VOICE_STEM + stem, 1.0, 50, frame=7003 + where)


def _rendered(length: int) -> tuple[np.ndarray, np.ndarray]:
    with RenderHarness() as harness:
        _everything(harness)
        out = harness.render(16000, length)
        return out, harness.desk.tap_rings[TAP_STEM + 4, :16000].copy()


@pytest.fixture(scope="module")
def whole() -> tuple[np.ndarray, np.ndarray]:
    return _rendered(SEGMENT)


@pytest.mark.parametrize("length", [1, 7, 100, 2048])
def test_block_length_changes_nothing(length: int, whole: tuple[np.ndarray, np.ndarray]) -> None:
    out, alone = _rendered(length)
    different = np.flatnonzero((out != whole[0]).any(axis=1))
    assert len(different) == 0, f"{len(different)} frames from {different[0]} on"
    assert alone.any()
    assert np.array_equal(alone, whole[1])


def test_a_new_start_resets_eq_filter_and_sends() -> None:
    samples = noise(9000, 2, peak=0.1)
    with RenderHarness() as harness:
        source = harness.load(samples)
        harness.start(0, source)
        for row in (VOICE_EQ + 1, VOICE_FILTER, VOICE_PFL, VOICE_SEND):
            harness.ramp(voice_ramp(0, row), 0.5, 10)
        harness.render(9000 + 12000)
        assert int(harness.desk.voices[0]["state"]) == 0
        harness.start(0, source)
        assert np.array_equal(harness.render(9000), as_float(samples))
        assert not harness.desk.cue[:].any()
