"""Live inputs in the engine: drift of clocks, gaps, the strip, and talkover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.constants import CHAIN_INPUT, INPUT_FRAMES, TAP_INPUT, TAP_MUSIC, TURN
from crowdstream.desk.inputs import MAX_SAMPLE, InputWriter
from crowdstream.desk.opcodes import OP_TALKOVER
from crowdstream.desk.ramps import (
    RAMP_DUCK,
    RAMP_INPUT_FILTER,
    RAMP_INPUT_GAIN,
    RAMP_INPUT_LEVEL,
    RAMP_INPUT_MUTE,
    RAMP_INPUT_PFL,
    input_eq_ramp,
)
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.engine.render import render
from crowdstream.monitor.meters import MeterReader
from tests.support.effect_harness import put
from tests.support.live_input import LiveInput
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine

HERTZ = 1000.0
LEVEL = 0.5


def tone(times: np.ndarray) -> np.ndarray:
    wave: np.ndarray = LEVEL * np.sin(2.0 * np.pi * HERTZ * times)
    return wave


def residue_db(out: np.ndarray, rate: float = RATE) -> float:
    """What is left of a tone near `HERTZ` without its best fit, in dB below the tone."""
    frames = np.arange(len(out))
    turned = out * np.exp(-2j * np.pi * HERTZ * frames / rate)
    part = len(out) // 4
    window = np.hanning(part)
    apart = len(out) - part
    angle = np.angle(np.sum(turned[-part:] * window) * np.conj(np.sum(turned[:part] * window)))
    hertz = HERTZ + angle * rate / (2.0 * np.pi * apart)
    phases = 2.0 * np.pi * hertz * frames / rate
    basis = np.stack([np.sin(phases), np.cos(phases), np.ones(len(out))], 1)
    found = np.linalg.lstsq(basis, out.astype(np.float64), rcond=None)[0]
    rest = out - basis @ found
    return float(10.0 * np.log10((rest @ rest) / (out.astype(np.float64) @ out)))


def steepest(out: np.ndarray) -> float:
    """The largest second difference: a click stands out of a tone's."""
    return float(np.abs(np.diff(out.astype(np.float64), 2)).max())


@pytest.fixture
def live() -> Iterator[list[LiveInput]]:
    """Inputs that are closed at the end of the test."""
    opened: list[LiveInput] = []
    yield opened
    for one in opened:
        one.close()


# Two clocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
@pytest.mark.parametrize(("rate", "device_rate"), [(44100.0, 48000.0), (48000.0, 48000.0)])
def test_a_device_on_another_clock_is_followed_without_distortion(
    live: list[LiveInput], ppm: float, rate: float, device_rate: float
) -> None:
    live.append(one := LiveInput(tone, ppm, rate=rate, device_rate=device_rate))
    one.play(60.0)
    out = one.play(2.0)
    state = one.state
    assert int(state["locks"]) == 1 and int(state["gaps"]) == 0
    assert float(state["drift"]) == pytest.approx(ppm * 1e-6, abs=1e-6)
    assert residue_db(out, rate) < -95.0
    assert abs(float(state["behind"]) - float(state["target"])) < 0.5


def test_drift_and_late_blocks_cause_no_gap_and_no_click(live: list[LiveInput]) -> None:
    # 200 ppm of a quarter of an hour are 1440 frames at 8 kHz: more than what waits in the ring.
    # `benchmarks/input_drift.py` lasts hours.
    live.append(
        one := LiveInput(
            tone, 200.0, rate=8000.0, device_rate=8000.0, block=256, device_block=160, jitter=0.001
        )
    )
    one.play(20.0)
    allowed = 1.05 * LEVEL * (2.0 * np.pi * HERTZ / 8000.0) ** 2
    worst, behind = 0.0, []
    for _ in range(15):
        out = one.play(60.0)
        worst = max(worst, steepest(out))
        behind.append(float(one.state["behind"] - one.state["target"]))
        rms = np.sqrt(np.mean(out[: len(out) // 80 * 80].reshape(-1, 80) ** 2, axis=1))
        assert rms.min() > 0.99 * LEVEL / np.sqrt(2.0), "the sound was interrupted"
    assert worst < allowed
    assert int(one.state["gaps"]) == 0 and int(one.state["locks"]) == 1
    assert max(map(abs, behind)) < 8.0  # 1 ms


def test_the_pitch_moves_inaudibly_while_the_clocks_are_being_learnt(live: list[LiveInput]) -> None:
    live.append(one := LiveInput(tone, 200.0, jitter=0.001))
    for _ in range(40):
        one.play(0.5)
        if one.state["locked"]:
            nominal = 48000.0 / RATE
            assert abs(float(one.state["ratio"]) / nominal - 1.0) < 0.001  # 1.7 cents
    assert one.state["locked"]


def test_the_division_of_time_into_blocks_does_not_change_the_sound() -> None:
    # At a given ratio: it is set once per block, from the times of the blocks.
    heard = []
    for block in (128, TURN + 77):
        one = LiveInput(tone)
        one.play(1.0)
        state, desk = one.state, one.desk
        desk.input_rings[0] = np.sin(np.arange(float(INPUT_FRAMES)))[:, None]
        state["place"], state["fraction"], state["ratio"] = 30000, 0.25, 1.0883
        state["faded"], state["locked"], state["held"] = 0, 1, 0
        desk.captures["head"][0] = 34000
        desk.clock["callback_ns"] = 0
        out = np.zeros((4000, 2), np.float32)
        for begin in range(0, 4000, block):
            render(one.desk, out[begin : begin + block])
        heard.append(out.copy())
        assert int(state["gaps"]) == 1 and not state["locked"]
        one.close()
    assert np.array_equal(heard[0], heard[1])
    assert np.abs(heard[0]).max() > 0.5


# Gaps -------------------------------------------------------------------------------------------


def test_a_device_that_stops_decays_and_returns_with_a_fade(live: list[LiveInput]) -> None:
    live.append(one := LiveInput(tone))
    one.play(5.0)
    usual = np.abs(np.diff(one.play(0.5))).max()
    one.plugged = False
    fading = one.play(0.5)
    assert not fading[-1000:].any() and not one.state["locked"]
    assert np.abs(np.diff(fading)).max() <= usual  # the last sample decays, without a step
    one.plugged = True
    one.writer.start(48000.0, 480)
    back = one.play(2.0)
    assert one.state["locked"] and int(one.state["locks"]) == 2
    assert np.abs(np.diff(back)).max() < 1.01 * usual
    assert residue_db(back[-20000:]) < -30.0


def test_late_blocks_make_a_gap_once_and_then_more_room(live: list[LiveInput]) -> None:
    live.append(one := LiveInput(tone, device_block=256, block=256))
    one.play(3.0)
    before = float(one.state["target"])
    one.hold(0.03)  # nothing arrives for 30 ms, then all of it
    one.play(1.0)
    assert int(one.state["gaps"]) == 1 and one.state["locked"]
    assert float(one.state["target"]) > before
    for _ in range(20):
        one.hold(0.005)
        one.play(0.5)
    assert int(one.state["gaps"]) == 1


def test_frames_that_the_device_has_lost_are_one_gap(live: list[LiveInput]) -> None:
    for reported in (False, True):
        live.append(one := LiveInput(tone))
        one.play(3.0)
        one.skip(0.1)
        one.lost = reported
        one.play(2.0)
        assert int(one.state["gaps"]) == 1 and one.state["locked"]
        assert abs(float(one.state["behind"] - one.state["target"])) < 100.0


def test_a_stalled_output_begins_again_at_its_distance(live: list[LiveInput]) -> None:
    live.append(one := LiveInput(tone))
    one.play(3.0)
    one.stalled += 0.3
    one.play(3.0)
    assert one.state["locked"] and int(one.state["locks"]) == 2
    assert abs(float(one.state["behind"] - one.state["target"])) < 100.0


def test_a_loss_of_frames_in_the_device_is_not_a_step(live: list[LiveInput]) -> None:
    levels = [0.5]
    live.append(one := LiveInput(lambda times: np.full(len(times), levels[0])))
    one.play(3.0)
    levels[0], one.lost = -0.5, True
    out = one.play(0.5)
    assert out.max() == pytest.approx(0.5, abs=0.01) and out.min() == pytest.approx(-0.5, abs=0.01)
    assert np.abs(np.diff(out)).max() < 0.02
    assert int(one.desk.captures["overflows"][0]) == 1


def test_samples_that_are_not_finite_or_far_too_loud_stay_in_the_device() -> None:
    with RenderHarness() as harness:
        InputWriter.configure(harness.desk, 1)
        writer = InputWriter(harness.desk, 0)
        writer.start(RATE, 4)
        block = np.array([[np.nan, np.inf], [-np.inf, 9.0], [0.5, -0.5], [0, 0]], np.float32)
        writer.write(block, 1e12)
        expected = [[0, 0], [0, MAX_SAMPLE], [0.5, -0.5], [0, 0]]
        assert harness.desk.input_rings[0, :4].tolist() == expected


# Without and with a file --------------------------------------------------------------------


def file_input(harness: RenderHarness, samples: np.ndarray, number: int = 0) -> InputWriter:
    """An input that plays `samples`, on the clock of the mix, from now on."""
    InputWriter.configure(harness.desk, number + 1)
    writer = InputWriter(harness.desk, number)
    writer.start_file(RATE, harness.desk.frame)
    writer.write_file(samples)
    return writer


def stereo(samples: np.ndarray) -> np.ndarray:
    wide: np.ndarray = np.stack([samples, samples], 1).astype(np.float32)
    return wide


def test_a_file_plays_bit_for_bit_at_its_frame_whatever_the_blocks() -> None:
    samples = (noise(20000, seed=3) / 32768.0).astype(np.float32)
    for blocks in (1, 7, 333, 2048):
        with RenderHarness() as harness:
            harness.render(100)
            file_input(harness, samples)
            frames = 500 if blocks == 1 else 20000
            assert np.array_equal(harness.render(frames, blocks), samples[:frames])


def test_without_inputs_nothing_of_them_is_computed() -> None:
    with RenderHarness() as harness:
        harness.desk.input_lanes[:] = np.nan
        harness.start(0, harness.load(noise(3000)))
        assert np.array_equal(harness.render(3000), as_float(noise(3000)))
        assert np.isnan(harness.desk.input_lanes).all()


def test_the_strip_of_an_input_has_gain_eq_filter_effects_level_and_mute() -> None:
    samples = stereo(sine(HERTZ, 60000, level=0.25))
    with RenderHarness() as harness:
        file_input(harness, samples, 1)
        tap = TapReader(harness.desk, TAP_INPUT + 1, LISTENERS)
        harness.ramp(RAMP_INPUT_GAIN + 1, 2.0)
        assert np.allclose(harness.render(2000)[1000:], 2.0 * samples[1000:2000], atol=1e-6)
        harness.ramp(RAMP_INPUT_LEVEL + 1, 0.5)
        assert np.allclose(harness.render(1000), samples[2000:3000], atol=1e-6)
        harness.ramp(RAMP_INPUT_MUTE + 1, 0.0)
        assert not harness.render(1000).any()
        assert np.allclose(tap.read()[1][3000:], 2.0 * samples[3000:4000], atol=1e-6)
        harness.ramp(RAMP_INPUT_MUTE + 1, 1.0)
        harness.ramp(input_eq_ramp(1, 1), 0.0)  # 1 kHz is in the middle band
        assert np.abs(harness.render(6000)[-1000:]).max() < 1e-3
        harness.ramp(input_eq_ramp(1, 1), 1.0)
        harness.ramp(RAMP_INPUT_FILTER + 1, -1.0, 2000)
        assert np.abs(harness.render(8000)[-1000:]).max() < 0.02
        harness.ramp(RAMP_INPUT_FILTER + 1, 0.0, 1000)
        assert np.abs(harness.render(8000)[-1000:]).max() == pytest.approx(0.25, abs=0.01)
        put(harness, 0, "drive", {"drive": 30.0}, chain=CHAIN_INPUT + 1)
        driven = harness.render(8000)[-1000:]
        assert residue_db(driven[:, 0]) > -20.0, "the effect distorts"


def test_the_two_inputs_do_not_touch_each_other_or_the_decks() -> None:
    one, two = (stereo(sine(hertz, 9000, level=0.2)) for hertz in (300.0, 5000.0))
    with RenderHarness() as harness:
        file_input(harness, one, 0)
        file_input(harness, two, 1)
        harness.ramp(input_eq_ramp(0, 2), 0.0)
        harness.ramp(RAMP_INPUT_LEVEL, 0.0)
        harness.start(0, harness.load(noise(9000)))
        out = harness.render(9000)
    with RenderHarness() as harness:
        file_input(harness, np.zeros((9000, 2), np.float32), 0)
        file_input(harness, two, 1)
        harness.start(0, harness.load(noise(9000)))
        assert np.array_equal(harness.render(9000), out)


def test_pfl_is_heard_on_the_cue_bus_before_the_level() -> None:
    samples = stereo(sine(HERTZ, 4000, level=0.25))
    with RenderHarness() as harness:
        file_input(harness, samples)
        harness.ramp(RAMP_INPUT_LEVEL, 0.0)
        harness.ramp(RAMP_INPUT_PFL, 1.0)
        assert not harness.render(1024, 256).any()
        assert np.allclose(harness.desk.cue_out[:256], samples[768:1024], atol=1e-6)


def test_inputs_have_meters() -> None:
    with RenderHarness() as harness:
        file_input(harness, stereo(sine(HERTZ, 44100, level=0.5)), 1)
        harness.desk.metering["on"] = 1
        reader = MeterReader(harness.desk)
        harness.render(20000)
        found = reader.read()
        assert found["input2"][0] == pytest.approx(-6.0, abs=0.1)
        assert found["input1"][0] == -70.0


# Talkover ---------------------------------------------------------------------------------------


def talkover(harness: RenderHarness, **changes: Any) -> None:
    """Switch the talkover of input 0 on: open above 0.1, close below 0.05, duck to 0.25."""
    values = {
        "index": 1, "x": 0.1, "y": 0.05, "z": 0.25, "start": 100, "loop_in": 2000,
        "loop_out": 1000, **changes,
    }
    harness.send(OP_TALKOVER, target=0, **values)


def ducking(voice: np.ndarray, blocks: int = 256, **changes: Any) -> np.ndarray:
    """The gain of the music beside a voice: `(frames,)`."""
    frames = len(voice)
    with RenderHarness() as harness:
        file_input(harness, stereo(voice))
        tap = TapReader(harness.desk, TAP_MUSIC, LISTENERS)
        harness.start(0, harness.load(np.full((frames, 2), 16384, np.int16)))
        talkover(harness, **changes)
        harness.render(frames, blocks)
        gain: np.ndarray = tap.read()[1][:, 0] / 0.5
        return gain


def voice_of(*parts: tuple[int, float]) -> np.ndarray:
    whole: np.ndarray = np.concatenate([np.full(frames, level) for frames, level in parts])
    return whole


def test_a_voice_ducks_the_music_and_lets_it_rise_after_the_hold() -> None:
    gain = ducking(voice_of((1000, 0.0), (5000, 0.5), (20000, 0.0)))
    assert (gain[:1000] == 1.0).all()
    assert gain[1000 + 100] == pytest.approx(0.25, abs=0.01) and gain[5999] == 0.25
    # From 0.5 to 0.05 in 2.3 time constants of 50 ms, then the hold.
    closed = 6000 + int(np.log(10.0) * 0.05 * RATE) + 2000
    assert (gain[1100:closed] == 0.25).all()
    assert gain[closed + 1005] == 1.0
    assert np.abs(np.diff(gain)).max() < 0.01


def test_talkover_has_hysteresis() -> None:
    between = ducking(voice_of((2000, 0.07), (2000, 0.5), (30000, 0.07)))
    assert (between[:2000] == 1.0).all()  # not loud enough to open
    assert (between[3000:] == 0.25).all()  # not soft enough to close


def test_the_talkover_does_not_depend_on_the_blocks() -> None:
    voice = voice_of((777, 0.0), (3000, 0.3), (12000, 0.0))
    assert np.array_equal(ducking(voice, 64), ducking(voice, 1999))


def test_a_muted_microphone_does_not_duck() -> None:
    with RenderHarness() as harness:
        file_input(harness, stereo(np.full(4000, 0.5)))
        harness.ramp(RAMP_INPUT_MUTE, 0.0)
        harness.render(10)
        harness.start(0, harness.load(np.full((4000, 2), 16384, np.int16)))
        talkover(harness)
        assert (harness.render(2000)[500:] == 0.5).all()


def test_of_announcement_and_talkover_the_deeper_applies_and_only_the_former_ducks_the_input() -> (
    None
):
    for announced, expected in ((0.5, 0.25), (0.125, 0.125)):
        with RenderHarness() as harness:
            file_input(harness, stereo(np.full(6000, 0.25)))
            tap = TapReader(harness.desk, TAP_MUSIC, LISTENERS)
            harness.start(0, harness.load(np.full((6000, 2), 16384, np.int16)))
            talkover(harness)
            harness.ramp(RAMP_DUCK, announced, 100)
            out = harness.render(5000)
            assert tap.read()[1][-1, 0] == pytest.approx(0.5 * expected)
            assert out[-1, 0] == pytest.approx(0.5 * expected + 0.25 * announced)


def test_changes_of_the_talkover_act_while_somebody_talks() -> None:
    with RenderHarness() as harness:
        file_input(harness, stereo(np.full(20000, 0.5)))
        tap = TapReader(harness.desk, TAP_MUSIC, LISTENERS)
        harness.start(0, harness.load(np.full((20000, 2), 16384, np.int16)))
        talkover(harness)
        harness.render(1000)
        talkover(harness, z=0.5)
        harness.render(1000)
        assert tap.read()[1][-1, 0] == 0.25
        talkover(harness, index=0)
        harness.render(2000)
        assert tap.read()[1][-1, 0] == 0.5
        assert not harness.desk.inputs["talking"].any()
