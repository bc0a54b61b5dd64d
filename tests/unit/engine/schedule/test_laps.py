"""Loops of a fractional number of frames, and the reported position of the playhead."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.opcodes import OP_SEEK
from crowdstream.engine.voice.tape import JOIN, PREROLL
from crowdstream.engine.voice.voice import FADE_IN
from tests.support.render_harness import RenderHarness, as_float, noise

EXACT = 10333.37


def _numbered(frames: int) -> np.ndarray:
    # A file whose samples encode their frame: left is proportional to it, right is 0.
    wave = np.zeros((frames, 2), np.float32)
    wave[:, 0] = np.arange(frames) / 2.0**20
    return wave


def _frames(out: np.ndarray) -> np.ndarray:
    return np.rint(out[:, 0].astype(np.float64) * 2**20).astype(np.int64)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_thousand_laps_stay_within_half_a_frame(direction: int) -> None:
    # Rendering sound would take too long, so only positions are compared.
    with RenderHarness(pages=16) as harness:
        harness.start(0, harness.load(np.zeros(30000, np.int16)), start=8000, loop=(8000, 18333))
        harness.render(1)
        voice = harness.desk.voices[0]
        voice["loop_exact"] = EXACT
        if direction < 0:
            voice["direction"] = -1
            voice["cursor"] = 8000
        began = harness.desk.frame - 1
        worst = 0.0
        laps = 0
        while laps < 1000:
            harness.render(10007, 10007)
            at = harness.desk.frame - began
            if direction > 0:
                lap, exact = divmod(at, EXACT)
                place = float(voice["position"]) - 8000
            else:
                lap, exact = divmod(at - 2, EXACT)
                place = 7999 + EXACT - int(voice["position"])
            error = place - exact
            if abs(error) > EXACT / 2:  # only one of the two has wrapped yet
                error -= np.sign(error) * EXACT
            worst = max(worst, abs(error))
            laps = int(lap)
        assert 999 <= int(voice["wraps"]) <= 1001
    assert worst <= 0.5 + 1e-6


def test_laps_sound_at_the_counted_frames() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(_numbered(30000)), loop=(200, 10000), start=200)
        harness.render(1)
        harness.desk.voices[0]["loop_exact"] = 1000.4
        heard = _frames(harness.render(20000, 77))
    borders = np.floor(np.arange(1, 20) * 1000.4 + 0.5)
    steps = np.flatnonzero(heard == 200) + 1
    assert np.array_equal(steps, borders[: len(steps)])
    assert set(np.diff(steps).tolist()) == {1000, 1001}
    assert len(steps) == 19


@pytest.mark.parametrize("rate", [1.0, 1.06, 0.7, 2.3])
@pytest.mark.parametrize("length", [20, 150, 3000])
def test_the_reported_position_is_the_audible_frame(rate: float, length: int) -> None:
    with RenderHarness() as harness:
        harness.start(
            0, harness.load(_numbered(30000)), start=1000, loop=(1000, 1000 + length), rate=rate
        )
        harness.render(FADE_IN)
        for _ in range(400):
            heard = harness.render(31)[-1]
            place = int(harness.desk.voices[0]["position"])
            assert 1000 <= place < 1000 + length
            # Between two crossfades the output is linear, so interpolation preserves the position.
            frame = heard[0] * 2.0**20
            inside = 40 * rate + 20
            if 1000 + inside < place < 1000 + length - JOIN - inside:
                assert rate - 1.01 <= place - frame <= rate + 0.01


def test_a_start_past_the_loop_plays_to_the_end() -> None:
    samples = noise(20000, peak=0.4)
    samples[-40:] = 0
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), start=9000, loop=(2000, 5000), end=20000)
        out = harness.render(13000)
        assert int(harness.desk.voices[0]["wraps"]) == 0
        assert int(harness.desk.voices[0]["state"]) == 0
    assert np.array_equal(out[FADE_IN:11000], as_float(samples)[9000 + FADE_IN :])


def test_playback_continues_after_leaving_a_loop() -> None:
    samples = noise(20000, peak=0.4)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples), loop=(2000, 5000), end=20000)
        first = harness.render(6000)
        harness.desk.voices[0]["loop"] = 0
        second = harness.render(4000)
    wave = as_float(samples)
    assert np.array_equal(first[:4800], wave[:4800])
    assert np.array_equal(first[5000:], wave[2000:3000])
    assert np.array_equal(second, wave[3000:7000])


@pytest.mark.parametrize("start", [17, 68, 1000, 16384, 16400])
def test_a_start_inside_a_file_has_its_preroll(start: int) -> None:
    # The interpolator has 16 taps before the playhead; without them the first frames would be
    # wrong.
    samples = noise(30000, peak=0.4)
    with RenderHarness() as harness, RenderHarness() as other:
        harness.start(0, harness.load(samples), start=start, rate=1.0625)
        out = harness.render(1000)
        assert int(harness.desk.voices[0]["fed"]) - int(harness.desk.voices[0]["play"]) < 64
        # The same frames, played from the beginning, where the playhead meets them on whole
        # frames.
        other.start(0, other.load(samples), start=start % 17, rate=1.0625)
        before = (start - start % 17) // 17 * 16
        whole = other.render(before + 1000)[before:]
    fade = (np.arange(1, FADE_IN + 1) / FADE_IN).astype(np.float32)[:, None]
    assert np.allclose(out[:FADE_IN], whole[:FADE_IN] * fade, atol=1e-6)
    assert np.array_equal(out[FADE_IN:], whole[FADE_IN:])


def test_a_missing_page_gives_no_preroll() -> None:
    samples = noise(60000, peak=0.4)
    with RenderHarness() as harness:
        source = harness.load(samples, missing=[0])
        size = harness.page_frames(source)
        harness.start(0, source, start=size + PREROLL // 2)
        out = harness.render(1000)
        assert int(harness.desk.ledger["missing_frames"]) == 0
        harness.send(OP_SEEK, target=0, start=size + PREROLL)
        harness.render(1000)
        assert int(harness.desk.ledger["missing_frames"]) == 0
    first = size + PREROLL // 2
    assert np.array_equal(out[FADE_IN:], as_float(samples)[first + FADE_IN : first + 1000])
