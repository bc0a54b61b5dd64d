"""Loops and sections: exact to the frame, seamless where the file is, otherwise without a click."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.engine.voice.tape import JOIN, MIN_SMOOTHED_LOOP_FRAMES
from crowdstream.engine.voice.voice import FADE_IN
from tests.support.render_harness import RenderHarness, as_float, noise, sine


def _steepest(wave: np.ndarray) -> float:
    return float(np.max(np.abs(np.diff(wave.astype(np.float64), axis=0))))


@pytest.mark.parametrize("period", [100, 441, 16384])
def test_a_seamless_whole_file_loop_is_bit_exact(period: int) -> None:
    # Whole periods of a sine: the loop is seamless and must not be altered.
    cycles = max(1, period // 100)
    wave = (0.8 * np.sin(2 * np.pi * cycles * np.arange(period) / period)).astype(np.float32)
    with RenderHarness() as harness:
        harness.start(0, harness.load(wave), loop=(0, period))
        out = harness.render(5 * period + 77, 500)
        assert int(harness.desk.voices[0]["wraps"]) == 5
    assert np.array_equal(out[:, 0], np.tile(wave, 6)[: len(out)])


def test_a_drum_loop_keeps_its_first_attack() -> None:
    # Silence at the end and an attack on the first frame: a typical drum loop.
    samples = noise(20000, peak=0.5)
    samples[15000:] = 0
    samples[0] = 2000  # about -24 dB, a step
    samples[0, 0] = 300
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), loop=(0, 20000))
        out = harness.render(60000)
    expected = np.tile(as_float(samples), (3, 1))
    assert np.array_equal(out[:20000], expected[:20000])
    # The decay that smooths a small step at the seam is over within 10 ms.
    assert np.array_equal(out[21000:40000], expected[21000:40000])
    assert np.max(np.abs(out - expected)) < 0.07


def test_a_step_at_the_seam_is_smoothed() -> None:
    # Half a period too long: the wave would jump from its crest to 0.
    wave = sine(105.0, 4305, level=0.7)  # 10.25 periods
    assert abs(wave[-1]) > 0.6
    with RenderHarness() as harness:
        harness.start(0, harness.load(wave), loop=(0, 4305))
        out = harness.render(20000)[:, 0]
    assert _steepest(out) < _steepest(wave) + 0.7 * (1 - 0.985) + 1e-3
    assert np.array_equal(out[:4305], wave)
    assert np.max(np.abs(out)) < 0.7 * 2.01


@pytest.mark.parametrize(("loop_in", "loop_out"), [(5000, 25000), (128, 900), (16384, 32768)])
@pytest.mark.parametrize("rate", [1.0])
def test_a_section_loop_is_bit_exact_between_its_crossfades(
    loop_in: int, loop_out: int, rate: float
) -> None:
    samples = noise(40000, peak=0.4)
    length = loop_out - loop_in
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), start=loop_in, loop=(loop_in, loop_out), rate=rate)
        out = harness.render(4 * length)
    inside = as_float(samples)[loop_in:loop_out]
    join = min(JOIN, length // 2)
    assert np.array_equal(out[FADE_IN : length - join], inside[FADE_IN:-join])
    for turn in range(1, 4):
        part = out[turn * length : (turn + 1) * length - join]
        assert np.array_equal(part, inside[:-join]), f"turn {turn}"


def test_a_section_loop_crossfades_into_the_frames_before_its_start() -> None:
    # The file is a ramp, so each output value shows which frames are mixed in which proportion.
    wave = (np.arange(3000) / 3000 * 0.9).astype(np.float32)
    with RenderHarness() as harness:
        harness.start(0, harness.load(wave), loop=(1000, 2000))
        out = harness.render(5000)[:, 0]
    share = np.arange(1, JOIN + 1) / (JOIN + 1)
    expected = wave[2000 - JOIN : 2000] * (1 - share) + wave[1000 - JOIN : 1000] * share
    assert np.allclose(out[2000 - JOIN : 2000], expected, atol=1e-6)
    assert np.allclose(out[3000 - JOIN : 3000], expected, atol=1e-6)
    assert np.array_equal(out[2000 : 3000 - JOIN], wave[1000 : 2000 - JOIN])
    assert _steepest(out) < 0.3 / JOIN * 1.1


@pytest.mark.parametrize("loop_in", [0, 1, 3, 50, 127, 128, 400])
@pytest.mark.parametrize("loop_out", [1700, 9000])
def test_a_loop_anywhere_in_a_file_makes_no_click(loop_in: int, loop_out: int) -> None:
    wave = (0.5 * np.cos(2 * np.pi * 97.3 * np.arange(10000) / 44100)).astype(np.float32)
    with RenderHarness() as harness:
        harness.start(0, harness.load(wave), loop=(loop_in, loop_out))
        out = harness.render(30000)[:, 0]
    # The file's own slope, plus half a unit spread by the crossfade or by the seam's decay.
    assert _steepest(out) < _steepest(wave) + 0.5 * 0.015 + 1.0 / JOIN


@pytest.mark.parametrize("end", [3000, 9999, 10000])
def test_a_section_ends_without_a_click(end: int) -> None:
    wave = (0.5 * np.cos(2 * np.pi * 97.3 * np.arange(10000) / 44100)).astype(np.float32)
    with RenderHarness() as harness:
        harness.start(0, harness.load(wave), start=1000, end=end)
        out = harness.render(14000)[:, 0]
        assert int(harness.desk.voices[0]["state"]) == 0
    length = end - 1000
    assert _steepest(out[FADE_IN:]) < _steepest(wave) + 0.5 * 0.0151 + 0.5 / JOIN
    assert np.array_equal(out[FADE_IN : length - JOIN], wave[1000 + FADE_IN : end - JOIN])
    assert not out[length + 1500 :].any()


def test_the_end_of_a_file_decays_instead_of_stepping() -> None:
    wave = np.full(3000, 0.8, np.float32)
    with RenderHarness() as harness:
        harness.start(0, harness.load(wave))
        out = harness.render(6000)[:, 0]
    assert np.array_equal(out[:3000], wave)
    assert _steepest(out) <= 0.8 * 0.0151
    assert np.max(np.abs(out[3300:])) < 0.01
    assert not out[4500:].any()


@pytest.mark.parametrize("length", [*range(1, 24), 31, 64, 100, 127, 128, 129, 200, 255, 256, 300])
@pytest.mark.parametrize("rate", [1.0, 1.06, 4.0, 0.25])
@pytest.mark.parametrize("loop_in", [0, 2000])
def test_short_loops_stay_in_range_and_below_the_limiter(
    length: int, rate: float, loop_in: int
) -> None:
    samples = noise(4000 if loop_in else length, peak=0.4, seed=length)
    with RenderHarness(pages=8) as harness:
        loop = (loop_in, loop_in + length)
        harness.start(0, harness.load(samples), start=loop_in, loop=loop, rate=rate)
        out = harness.render(4000, 333)
        voice = harness.desk.voices[0]
        assert int(voice["state"]) == 1
        assert loop[0] <= int(voice["position"]) <= loop[1]
        assert int(harness.desk.ledger["limited_frames"]) == 0
    assert np.max(np.abs(out)) < 1.0
    if rate == 1.0 and loop_in == 0 and length < MIN_SMOOTHED_LOOP_FRAMES:
        assert np.array_equal(out, np.tile(as_float(samples), (4000 // length + 1, 1))[:4000])


def test_seams_of_short_loops_do_not_accumulate() -> None:
    for length in (
        10,
        MIN_SMOOTHED_LOOP_FRAMES - 1,
        MIN_SMOOTHED_LOOP_FRAMES,
        MIN_SMOOTHED_LOOP_FRAMES + 50,
    ):
        wave = np.linspace(0, 0.7, length).astype(np.float32)
        with RenderHarness(pages=8) as harness:
            harness.start(0, harness.load(wave), loop=(0, length))
            out = harness.render(20000)
        assert np.max(np.abs(out)) < 0.7 * 1.2, length


@settings(max_examples=60)
@given(st.data())
def test_any_loop_plays_its_own_frames(data: st.DataObject) -> None:
    # Away from the crossfades, each frame is the one found by counting.
    frames = data.draw(st.integers(600, 50000))
    loop_in = data.draw(st.integers(0, frames - 300))
    loop_out = data.draw(st.integers(loop_in + 300, frames))
    start = data.draw(st.integers(0, loop_out - 1))
    block = data.draw(st.integers(1, 3000))
    samples = noise(frames, 1, peak=0.3, seed=frames)
    with RenderHarness(pages=8) as harness:
        harness.start(0, harness.load(samples), start=start, loop=(loop_in, loop_out))
        out = harness.render(6000, block)[:, 0]
    at = start + np.arange(6000)
    length = loop_out - loop_in
    at = np.where(at >= loop_out, loop_in + (at - loop_in) % length, at)
    past = np.arange(6000) + start - loop_out  # frames since the first wrap
    exact = (at < loop_out - JOIN) | (loop_in == 0 and loop_out == frames)
    exact &= np.arange(6000) >= (0 if start == 0 else FADE_IN)
    seam = loop_in < JOIN or (loop_in == 0 and loop_out == frames)
    if seam:  # a step at the seam may still be decaying
        exact &= past < 0
    expected = as_float(samples)[at, 0]
    assert np.array_equal(out[exact], expected[exact])


def test_a_loop_over_a_missing_page_recovers_once_it_is_loaded() -> None:
    wave = sine(97.3, 50000, level=0.5)
    with RenderHarness() as harness:
        source = harness.load(wave, missing=[1])
        size = harness.page_frames(source)
        harness.start(0, source, loop=(0, 50000))
        first = harness.render(50000)[:, 0]
        assert int(harness.desk.ledger["missing_frames"]) == size
        assert int(harness.desk.ledger["missing_pages"]) == 1
        harness.bring(source, 1)
        second = harness.render(50000)[:, 0]
        assert int(harness.desk.ledger["missing_pages"]) == 1
    assert _steepest(first) < _steepest(wave) + 0.5 * 0.0151 + 0.5 / 64
    assert not first[size + 1500 : 2 * size].any()
    assert np.array_equal(first[2 * size + 64 :], wave[2 * size + 64 :])
    assert np.array_equal(second[2000:], wave[2000:])


def test_a_shorter_stem_restarts_complete_at_each_lap() -> None:
    # Stems differ in length by a few frames; none may lose its first beat at the wrap.
    long, short = noise(20000, peak=0.3, seed=1), noise(19000, peak=0.3, seed=2)
    for samples in (long, short):
        samples[-2000:] = 0
        samples[:20] = 0
    with RenderHarness() as harness:
        harness.start(0, [harness.load(long), harness.load(short)], loop=(0, 20000))
        out = harness.render(60000)
    expected = as_float(long)
    expected[:19000] += as_float(short)
    assert np.array_equal(out, np.tile(expected, (3, 1)))
