"""Starts, stops, seeks, restarts and missing pages: no step is larger than its fade allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.constants import GAPS, SLOTS, VOICES
from crowdstream.desk.opcodes import CAUSE_PAGE, OP_SEEK, OP_STOP, OP_STOP_ALL
from crowdstream.desk.ramps import VOICE_ENVELOPE, voice_ramp
from crowdstream.engine.voice.stem_reader import RETURN_FRAMES
from crowdstream.engine.voice.voice import FADE_IN, FADE_OUT
from tests.support.render_harness import RenderHarness, as_float, noise, sine

LEVEL = 0.45  # old and new position together stay below the limiter
WAVE = (LEVEL * np.cos(2 * np.pi * 97.3 * np.arange(60000) / 44100)).astype(np.float32)
OWN = float(np.max(np.abs(np.diff(WAVE))))


def _steepest(wave: np.ndarray) -> float:
    return float(np.max(np.abs(np.diff(wave.astype(np.float64)))))


def test_start_inside_a_file_fades_in() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(np.full(5000, 0.5, np.float32)), start=1000, frame=100)
        out = harness.render(1000)[:, 0]
    assert not out[:100].any()
    ramp = np.arange(1, FADE_IN + 1) / FADE_IN
    assert np.allclose(out[100 : 100 + FADE_IN], 0.5 * ramp, atol=1e-6)
    assert np.all(out[100 + FADE_IN :] == 0.5)


def test_stop_fades_out_from_its_frame_on() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(np.full(5000, 0.5, np.float32)))
        harness.send(OP_STOP, target=0, frame=1003)
        out = harness.render(3000, 64)[:, 0]
        assert int(harness.desk.voices[0]["state"]) == 0
    ramp = 1 - np.arange(1, FADE_OUT + 1) / FADE_OUT
    assert np.all(out[:1003] == 0.5)
    assert np.allclose(out[1003 : 1003 + FADE_OUT], 0.5 * ramp, atol=1e-6)
    assert not out[1003 + FADE_OUT :].any()


@pytest.mark.parametrize("rate", [1.0, 1.06, 0.5, 2.5])
@pytest.mark.parametrize("target", [0, 1, 20000, 59990])
def test_a_seek_makes_no_click(rate: float, target: int) -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(WAVE), start=453, rate=rate)
        harness.send(OP_SEEK, target=0, start=target, frame=1037)
        out = harness.render(5000)[:, 0]
    # The beginning of a file is not faded in, so its first sample may be a step.
    first = LEVEL if target == 0 else 0
    assert _steepest(out) < OWN * rate * 2 + LEVEL / FADE_IN + LEVEL / FADE_OUT + 0.01 + first
    if target:
        assert _steepest(out) < 0.045


@pytest.mark.parametrize("gap", [1, 10, 63, 255, 257, 1000])
def test_rapid_restarts_and_stops_make_no_click(gap: int) -> None:
    with RenderHarness() as harness:
        source = harness.load(WAVE * np.float32(0.2))
        for turn in range(40):
            harness.start(0, source, start=1000 + 777 * turn, frame=100 + turn * gap)
            if turn % 3 == 2:
                harness.send(OP_STOP, target=0, frame=100 + turn * gap + gap // 2)
        harness.send(OP_STOP_ALL, frame=100 + 40 * gap)
        out = harness.render(42 * gap + 3000)[:, 0]
        cuts = int(harness.desk.ledger["hard_cuts"])
        states = harness.desk.voices["state"]
        assert not states.any()
    assert cuts == (0 if gap >= 10 else cuts)
    # In the worst case all ghosts fade out at once.
    sounding = min(40, FADE_OUT // gap + 2)
    assert _steepest(out) < 0.2 * LEVEL * (sounding / FADE_OUT + 1 / FADE_IN) * 1.2 + 0.2 * OWN * (
        sounding + 1
    )


def test_a_restart_fades_the_old_sound_out_over_fade_out_frames() -> None:
    with RenderHarness() as harness:
        source = harness.load(np.full(30000, 0.4, np.float32))
        silent = harness.load(np.zeros(30000, np.float32))
        harness.start(0, source)
        harness.start(0, silent, start=1, frame=500)
        out = harness.render(1000)[:, 0]
    ramp = 1 - np.arange(1, FADE_OUT + 1) / FADE_OUT
    assert np.allclose(out[500 : 500 + FADE_OUT], 0.4 * ramp, atol=1e-6)
    assert not out[500 + FADE_OUT :].any()


def test_a_missing_page_is_faded_counted_and_logged_as_a_gap() -> None:
    wave = WAVE
    with RenderHarness() as harness:
        source = harness.load(wave, missing=[1])
        size = harness.page_frames(source)
        harness.start(0, source)
        out = harness.render(60000)[:, 0]
        ledger = harness.desk.ledger
        assert int(ledger["missing_frames"]) == size
        assert int(ledger["missing_pages"]) == 1
        assert int(ledger["gaps"][CAUSE_PAGE]) == int(ledger["gaps"].sum()) == 1
        gap = harness.desk.gaps[0]
        assert int(gap["cause"]) == CAUSE_PAGE
        assert size - 256 <= int(gap["frame"]) <= size
        assert GAPS > 1
    assert np.array_equal(out[:size], wave[:size])
    assert np.array_equal(out[2 * size + RETURN_FRAMES :], wave[2 * size + RETURN_FRAMES :])
    assert _steepest(out) < OWN + LEVEL * 0.0151 + LEVEL / RETURN_FRAMES


@settings(max_examples=25)
@given(missing=st.sets(st.integers(0, 7)), rate=st.sampled_from([1.0, 1.06, 0.7, 3.1]))
def test_any_set_of_missing_pages_is_counted_and_makes_no_click(
    missing: set[int], rate: float
) -> None:
    # Two stems with pages of 8192 and 16384 frames, any of which may be missing.
    with RenderHarness() as harness:
        long = harness.load(np.stack([WAVE, WAVE], axis=1) * np.float32(0.5), missing)
        other = harness.load(WAVE * np.float32(0.5), {page // 2 for page in missing})
        harness.start(0, [long, other], rate=rate)
        out = harness.render(int(66000 / rate), 600)[:, 0]
        frames = int(harness.desk.ledger["missing_frames"])
        assert not harness.desk.voices["state"].any()

    def length(page: int, size: int) -> int:
        return max(0, min(size, 60000 - page * size))

    expected = sum(length(page, 8192) for page in missing)
    expected += sum(length(page, 16384) for page in {page // 2 for page in missing})
    assert frames == expected
    # Whether or not the first page is missing, a file's first frame is not faded in.
    tail = out[10:]
    assert _steepest(tail) < 4 * (OWN * rate + LEVEL * 0.0151 * rate + LEVEL / RETURN_FRAMES * rate)


def test_a_page_loaded_after_the_start_fades_in() -> None:
    with RenderHarness() as harness:
        source = harness.load(WAVE, missing=[0])
        harness.start(0, source)
        silent = harness.render(1000, 100)
        harness.bring(source, 0)
        out = harness.render(3000, 100)[:, 0]
    assert not silent.any()
    assert _steepest(np.concatenate([[0.0], out])) < OWN + LEVEL / RETURN_FRAMES
    assert np.array_equal(out[RETURN_FRAMES:], WAVE[1000 + RETURN_FRAMES : 4000])


def test_stop_all_fades_every_voice_out() -> None:
    with RenderHarness() as harness:
        source = harness.load(sine(60.0, 40000, level=0.01))
        for voice in range(VOICES):
            harness.start(voice, source, start=100 * voice + 1, deck=voice % 4)
        harness.send(OP_STOP_ALL, frame=5000)
        out = harness.render(6000)
        ended = harness.events()
        assert (ended["kind"] == 2).sum() == VOICES
        assert not harness.desk.voices["state"].any()
    assert out[4000:5000].any()
    assert not out[5000 + FADE_OUT :].any()


def test_jumps_beyond_the_number_of_ghosts_are_counted_as_hard_cuts() -> None:
    with RenderHarness() as harness:
        source = harness.load(noise(30000, peak=0.01))
        for voice in range(VOICES):
            harness.start(voice, source, start=1 + voice, deck=voice % 4)
        harness.render(1000)
        for voice in range(VOICES):
            harness.send(OP_SEEK, target=voice, start=9000 + voice)
        out = harness.render(2000)
        assert int(harness.desk.ledger["hard_cuts"]) == VOICES - (SLOTS - VOICES)
        assert (harness.desk.voices["state"][:VOICES] == 1).all()
        assert not harness.desk.voices["state"][VOICES:].any()
    assert np.max(np.abs(out)) <= 1.0


def test_a_ghost_keeps_its_gain_and_does_not_affect_the_new_voice() -> None:
    with RenderHarness() as harness:
        source = harness.load(np.full(30000, 0.25, np.float32))
        harness.start(0, source, gain=0.5)
        harness.render(600)
        harness.start(0, source, start=5000, gain=1.0)
        out = harness.render(2000)[:, 0]
        assert float(harness.desk.ramps[voice_ramp(0, VOICE_ENVELOPE)]["value"]) == 1.0
    ghost = 0.125 * np.clip(1 - np.arange(1, 2001) / FADE_OUT, 0, 1)
    fresh = 0.25 * np.clip(np.arange(1, 2001) / FADE_IN, 0, 1)
    assert np.allclose(out, ghost + fresh, atol=1e-6)


def test_sixty_four_voices_add_up() -> None:
    parts = [noise(6000, 1, peak=0.005, seed=voice) for voice in range(VOICES)]
    with RenderHarness() as harness:
        for voice, part in enumerate(parts):
            harness.start(voice, harness.load(part), deck=voice % 4)
        out = harness.render(6000)
    expected = sum(as_float(part).astype(np.float64) for part in parts)
    assert np.max(np.abs(out - expected)) < 1e-6
