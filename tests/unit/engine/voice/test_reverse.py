"""Reverse playback: the tape holds the file's frames in playing order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crowdstream.engine.voice.stem_reader import RETURN_FRAMES
from crowdstream.engine.voice.tape import JOIN
from tests.support.render_harness import RenderHarness, as_float, noise, sine

LENGTH = 40000


def _turn(harness: RenderHarness, voice: int = 0) -> None:
    # Reverse the direction of the next frame fed, which is the frame fed last.
    record = harness.desk.voices[voice]
    direction = -int(record["direction"])
    record["cursor"] = int(record["cursor"]) + direction
    record["direction"] = direction


def _backward(harness: RenderHarness, sources: int | list[int], **how: Any) -> None:
    # A voice in reverse from the frame before the end (or before `start`).
    harness.start(0, sources, **how)
    harness.render(1)
    record = harness.desk.voices[0]
    record["direction"] = -1
    record["cursor"] = int(how.get("start", record["length"])) - 1
    record["fed"] = record["play"] = record["wrap_at"] = record["wraps"] = 0
    record["ended"] = -1
    record["hole"] = record["offset"] = record["pair_until"] = 0
    harness.desk.stem_past[0] = 0
    harness.desk.ramps["value"][:] = harness.desk.ramps["target"]
    harness.desk.ramps["left"][:] = 0


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_reverse_playback_is_the_reversed_file(kind: str, channels: int) -> None:
    samples = noise(LENGTH, channels, peak=0.9)
    if kind == "float32":
        samples = (samples / np.float32(32768) * np.float32(0.999)).astype(np.float32)
    samples[:40] = 0  # reverse playback ends on silence, so no step has to decay
    with RenderHarness() as harness:
        _backward(harness, harness.load(samples))
        out = harness.render(LENGTH + 2000, 300)
        assert int(harness.desk.voices[0]["state"]) == 0
        assert int(harness.desk.ledger["missing_frames"]) == 0
    assert np.array_equal(out[:LENGTH], as_float(samples)[::-1])
    assert not out[LENGTH:].any()


def test_reverse_playback_at_another_rate_equals_the_reversed_file() -> None:
    samples = noise(20000, 2, peak=0.5)
    samples[:40] = 0
    samples[-40:] = 0
    with RenderHarness() as harness, RenderHarness() as other:
        _backward(harness, harness.load(samples), rate=1.06)
        other.start(0, other.load(samples[::-1].copy()), rate=1.06)
        harness.desk.voices[0]["fraction"] = 0
        assert np.array_equal(harness.render(21000), other.render(21000))


def test_changes_of_direction_are_exact_to_the_frame() -> None:
    samples = noise(LENGTH, 2, peak=0.5)
    wave = as_float(samples)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        there = harness.render(25000, 333)
        _turn(harness)
        back = harness.render(20000, 333)
        _turn(harness)
        again = harness.render(30000, 333)
    assert np.array_equal(there, wave[:25000])
    assert np.array_equal(back, wave[5000:25000][::-1])
    assert np.array_equal(again, wave[5000:35000])


def test_reverse_playback_decays_at_the_beginning_of_the_file() -> None:
    with RenderHarness() as harness:
        _backward(harness, harness.load(np.full(3000, 0.8, np.float32)))
        out = harness.render(6000)[:, 0]
    assert np.all(out[:3000] == np.float32(0.8))
    assert np.max(np.abs(np.diff(out))) <= 0.8 * 0.0151
    assert not out[4500:].any()


def test_a_shorter_stem_enters_in_reverse_at_its_end() -> None:
    long, short = noise(LENGTH, peak=0.3, seed=1), noise(17000, peak=0.3, seed=2)
    for samples in (long, short):
        samples[:64] = 0
    with RenderHarness() as harness:
        _backward(harness, [harness.load(long), harness.load(short)])
        out = harness.render(LENGTH)
        assert int(harness.desk.ledger["missing_frames"]) == 0
    expected = as_float(long)
    expected[:17000] += as_float(short)
    expected = expected[::-1]
    comes = LENGTH - 17000
    assert np.array_equal(out[:comes], expected[:comes])
    assert np.array_equal(out[comes + RETURN_FRAMES :], expected[comes + RETURN_FRAMES :])


def test_a_missing_page_in_reverse_is_faded_and_counted() -> None:
    wave = (0.45 * np.cos(2 * np.pi * 97.3 * np.arange(60000) / 44100)).astype(np.float32)
    with RenderHarness() as harness:
        source = harness.load(wave, missing=[1])
        size = harness.page_frames(source)
        _backward(harness, source)
        out = harness.render(60000)[:, 0]
        assert int(harness.desk.ledger["missing_frames"]) == size
        assert int(harness.desk.ledger["missing_pages"]) == 1
    gone, back = 60000 - 2 * size, 60000 - size
    assert np.array_equal(out[:gone], wave[::-1][:gone])
    assert np.array_equal(out[back + RETURN_FRAMES :], wave[::-1][back + RETURN_FRAMES :])
    own = float(np.max(np.abs(np.diff(wave))))
    assert np.max(np.abs(np.diff(out))) < own + 0.45 * 0.0151 + 0.45 / RETURN_FRAMES


@pytest.mark.parametrize(("loop_in", "loop_out"), [(5000, 25000), (128, 900), (16384, 32768)])
def test_a_reversed_loop_is_bit_exact_between_its_crossfades(loop_in: int, loop_out: int) -> None:
    samples = noise(LENGTH, peak=0.4)
    length = loop_out - loop_in
    with RenderHarness() as harness:
        _backward(harness, harness.load(samples), start=loop_out, loop=(loop_in, loop_out))
        out = harness.render(4 * length, 300)
        assert int(harness.desk.voices[0]["wraps"]) == 3
    inside = as_float(samples)[loop_in:loop_out][::-1]
    join = min(JOIN, length // 2)
    for turn in range(4):
        part = out[turn * length : (turn + 1) * length - join]
        assert np.array_equal(part, inside[:-join]), f"turn {turn}"


def test_a_reversed_loop_crossfades_into_the_frames_after_its_end() -> None:
    wave = (np.arange(3000) / 3000 * 0.9).astype(np.float32)
    with RenderHarness() as harness:
        _backward(harness, harness.load(wave), start=2000, loop=(1000, 2000))
        out = harness.render(3000)[:, 0]
    share = np.arange(1, JOIN + 1) / (JOIN + 1)
    end = wave[1000 : 1000 + JOIN][::-1]
    after = wave[2000 : 2000 + JOIN][::-1]
    assert np.allclose(out[1000 - JOIN : 1000], end * (1 - share) + after * share, atol=1e-6)
    assert np.array_equal(out[1000 : 2000 - JOIN], wave[1000 + JOIN : 2000][::-1])


def test_a_reversed_loop_crossfades_a_stem_that_ends_within_the_crossfade() -> None:
    # The frames that are faded in begin past the shorter stem's end.
    heard = []
    for blocks in (512, 1):
        with RenderHarness() as harness:
            short = harness.load(noise(3000, seed=1))
            _backward(
                harness, [harness.load(noise(LENGTH, peak=0.1)), short],
                loop=(1000, 2960), start=2900,
            )  # fmt: skip
            heard.append(harness.render(2200, blocks))
    assert np.array_equal(heard[0], heard[1])


def test_a_seamless_whole_file_loop_is_bit_exact_in_reverse() -> None:
    wave = (0.8 * np.sin(2 * np.pi * 41 * np.arange(16384) / 16384)).astype(np.float32)
    with RenderHarness() as harness:
        _backward(harness, harness.load(wave), loop=(0, 16384))
        out = harness.render(50000, 500)[:, 0]
    assert np.array_equal(out, np.tile(wave[::-1], 4)[:50000])


def test_a_reversed_voice_before_its_loop_plays_to_the_beginning() -> None:
    samples = noise(LENGTH, peak=0.4)
    samples[:40] = 0
    with RenderHarness() as harness:
        _backward(harness, harness.load(samples), start=3000, loop=(5000, 25000))
        out = harness.render(6000)
        assert int(harness.desk.voices[0]["wraps"]) == 0
        assert int(harness.desk.voices[0]["state"]) == 0
    assert np.array_equal(out[:3000], as_float(samples)[:3000][::-1])


@pytest.mark.parametrize("blocks", [1, 7, 1000])
def test_block_length_changes_nothing_in_reverse(blocks: int) -> None:
    wave = sine(333.0, 30000, level=0.4)

    def rendered(length: int) -> np.ndarray:
        with RenderHarness() as harness:
            source = harness.load(wave, missing=[0])
            _backward(harness, source, start=20000, loop=(9000, 20001), rate=1.07)
            harness.desk.voices[0]["loop_exact"] = 10999.6
            return harness.render(26000, length)

    assert np.array_equal(rendered(blocks), rendered(256))
