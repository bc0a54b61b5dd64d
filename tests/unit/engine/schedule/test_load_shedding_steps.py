"""What each load shedding level leaves out, without a click."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from crowdstream.desk.constants import TURN
from crowdstream.desk.load_shedding import FULL, NO_KEYLOCK, NO_OPTIONAL, SHORT_FILTERS
from crowdstream.desk.opcodes import OP_KEYLOCK, OP_QUALITY, WORK_RENDERS
from crowdstream.desk.ramps import VOICE_KEYLOCK, VOICE_RATE, deck_level_ramp, voice_ramp
from crowdstream.effects import MODULES
from crowdstream.engine.effects.chain import FADE, WIPE
from crowdstream.engine.precompiled import kernels
from crowdstream.engine.voice.keylock import GLIDE_FRAMES
from tests.support.effect_harness import freed, largest_step, order, put, remove, row
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine
from tests.support.thd_n import thd_n

HERTZ = RATE / 210
TONE = sine(HERTZ, 21000, level=0.5)
TONE_STEP = largest_step(TONE[:, None])
OPTIONAL = [name for name, module in MODULES.items() if module.optional]
NEEDED = [name for name, module in MODULES.items() if not module.optional]
LOUD = {"drive": {"drive": 6.0}, "reverb": {"mix": 0.8}, "echo": {"mix": 0.8}}


def _hold(harness: RenderHarness, level: int, frame: int = 0) -> None:
    harness.send(OP_QUALITY, index=level, frame=frame)


def _tone(harness: RenderHarness, **how: float) -> None:
    harness.start(0, harness.load(TONE), loop=(0, 21000), **how)


def _hertz(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 19))
    return float(np.argmax(spectrum)) * RATE / (1 << 19)


# Optional effects ----------------------------------------------------------------------------


def test_modules_are_divided_into_optional_and_needed() -> None:
    assert {"reverb", "echo", "flanger", "drive"} <= set(OPTIONAL)
    assert "compressor" in NEEDED


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_bypassed_effect_is_bit_exact(name: str) -> None:
    samples = noise(60000, peak=0.2)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        put(harness, 0, name, LOUD.get(name))
        out = harness.render(20000)
        assert not np.array_equal(out, as_float(samples)[:20000])
        _hold(harness, NO_OPTIONAL)
        harness.render(FADE)
        out = harness.render(10000)
        assert np.array_equal(out, as_float(samples)[20000 + FADE : 30000 + FADE])
        assert order(harness) == [0]


@pytest.mark.parametrize("name", OPTIONAL)
def test_bypassing_and_restoring_an_effect_makes_no_click(name: str) -> None:
    with RenderHarness() as harness:
        harness.ramp(deck_level_ramp(0), 0.05)
        _tone(harness)
        put(harness, 0, name, LOUD.get(name))
        harness.render(60000)
        usual = max(largest_step(harness.render(20000)), 0.05 * TONE_STEP)
        loudest = float(np.abs(harness.render(5000)).max())
        _hold(harness, NO_OPTIONAL)
        steps = [largest_step(harness.render(3000))]
        _hold(harness, FULL)
        steps.append(largest_step(harness.render(80000)))
        _hold(harness, NO_OPTIONAL)
        harness.render(100)  # and restore it before it has faded out
        _hold(harness, FULL)
        steps.append(largest_step(harness.render(3000)))
    assert max(steps) <= 1.3 * usual + 2 * loudest / FADE


@pytest.mark.parametrize("name", NEEDED)
def test_a_needed_effect_is_never_bypassed(name: str) -> None:
    samples = noise(40000, peak=0.5)

    def played(level: int) -> np.ndarray:
        with RenderHarness() as harness:
            harness.start(0, harness.load(samples))
            put(harness, 0, name)
            _hold(harness, level, 5000)
            return harness.render(30000)

    assert np.array_equal(played(NO_OPTIONAL), played(FULL))


def test_a_bypassed_effect_is_not_processed_but_its_ramps_advance() -> None:
    with RenderHarness() as harness:
        _tone(harness)
        put(harness, 0, "reverb")
        harness.render(5000)
        _hold(harness, NO_OPTIONAL)
        harness.render(FADE)
        before = harness.desk.effect_registers[0].copy()
        mix = row(0, "reverb", "mix")
        harness.ramp(mix, 0.9, 1000)
        harness.render(5000)
        assert np.array_equal(harness.desk.effect_registers[0], before)
        assert float(harness.desk.ramps[mix]["value"]) == 0.9


def test_a_restored_effect_does_not_play_its_old_content() -> None:
    # The echo's memory is full of noise when it is bypassed; from then on the file is silent.
    sound = np.zeros(500000, np.float32)
    sound[:190000] = noise(190000, 1)[:, 0] / 32768
    with RenderHarness() as harness:
        harness.start(0, harness.load(sound))
        put(harness, 0, "echo", {"beats": 0, "seconds": 0.5, "mix": 0.5, "feedback": 0.9})
        harness.render(190000)
        floats = int(harness.desk.effects["floats"][0])
        assert np.count_nonzero(harness.desk.effect_memory[0, :floats]) > 0.9 * floats
        _hold(harness, NO_OPTIONAL)
        harness.render(FADE)
        _hold(harness, FULL)
        out = harness.render(floats // WIPE + TURN + 100000)
        assert int(harness.desk.effects["spared"][0]) == 0
        assert float(np.abs(out).max()) == 0.0


def test_a_turn_with_a_bypass_can_be_rendered_again_after_a_failover() -> None:
    # In this turn, the echo reads the part of its memory that is cleared first.
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(20000)))
        put(harness, 0, "echo", {"beats": 0, "seconds": 3900 / RATE, "mix": 0.8})
        _hold(harness, NO_OPTIONAL, 8 * TURN + 100)
        harness.render(8 * TURN, TURN)
        first = harness.render(TURN, TURN)
        assert int(harness.desk.effects["lift"][0]) == 0
        # as if the engine had died at the end of the turn
        harness.desk.undo_log["state"] = WORK_RENDERS
        kernels().recover(harness.desk.address)
        assert harness.desk.frame == 8 * TURN and int(harness.desk.quality["level"]) == 0
        assert np.array_equal(harness.render(TURN, TURN), first)


def test_a_restored_effect_sounds_as_before() -> None:
    with RenderHarness() as harness:
        _tone(harness)
        put(harness, 0, "drive", LOUD["drive"])
        before = harness.render(42000)[-21000:]
        _hold(harness, NO_OPTIONAL)
        harness.render(21000)
        _hold(harness, FULL)
        after = harness.render(42000)[-21000:]
    assert np.allclose(after, before, atol=1e-4)


def test_an_effect_added_while_shedding_stays_bypassed_until_restored() -> None:
    samples = noise(60000, peak=0.2)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        _hold(harness, NO_OPTIONAL)
        put(harness, 0, "drive", LOUD["drive"])
        assert np.array_equal(harness.render(10000), as_float(samples)[:10000])
        _hold(harness, FULL)
        out = harness.render(10000)
        assert not np.allclose(out[-5000:], as_float(samples)[15000:20000], atol=1e-3)


def test_a_bypassed_effect_is_freed_at_once_when_removed() -> None:
    with RenderHarness() as harness:
        _tone(harness)
        put(harness, 0, "reverb", {"decay": 20})
        harness.render(20000)
        _hold(harness, NO_OPTIONAL)
        harness.render(FADE)
        remove(harness, 0)
        harness.render(3 * 4096)
        assert freed(harness) == [0] and order(harness) == []


# Keylock -------------------------------------------------------------------------------------


def _locked(harness: RenderHarness, rate: float) -> None:
    harness.push(
        harness.start_command(0, harness.load(TONE), loop=(0, 21000), rate=rate),
        harness.command(OP_KEYLOCK, target=0, index=1),
    )


@pytest.mark.parametrize("rate", [0.94, 1.06])
def test_keylock_is_shed_and_restored(rate: float) -> None:
    share = voice_ramp(0, VOICE_KEYLOCK)
    with RenderHarness() as harness:
        _locked(harness, rate)
        harness.render(10000)
        assert _hertz(harness.render(20000)[:, 0]) == pytest.approx(HERTZ, abs=2.0)
        _hold(harness, NO_OPTIONAL)
        harness.render(10000)
        assert float(harness.desk.ramps[share]["target"]) == 1.0
        _hold(harness, NO_KEYLOCK)
        out = harness.render(30000)
        steps = [largest_step(out)]
        assert _hertz(out[GLIDE_FRAMES:, 0]) == pytest.approx(HERTZ * rate, abs=2.0)
        voice = harness.desk.voices[0]
        assert int(voice["locked"]) == 0, "the second head is still computed"
        assert int(voice["keylock"]) == 1
        _hold(harness, FULL)
        out = harness.render(30000)
        steps.append(largest_step(out))
        assert _hertz(out[GLIDE_FRAMES:, 0]) == pytest.approx(HERTZ, abs=2.0)
    assert max(steps) < 1.3 * TONE_STEP * max(rate, 1.0)


def test_keylock_turned_on_while_shedding_is_applied_afterwards() -> None:
    with RenderHarness() as harness:
        _hold(harness, NO_KEYLOCK)
        _locked(harness, 1.06)
        harness.render(5000)
        assert _hertz(harness.render(20000)[:, 0]) == pytest.approx(1.06 * HERTZ, abs=2.0)
        harness.send(OP_KEYLOCK, target=0, index=0)
        harness.send(OP_KEYLOCK, target=0, index=1)
        assert _hertz(harness.render(20000)[:, 0]) == pytest.approx(1.06 * HERTZ, abs=2.0)
        _hold(harness, FULL)
        harness.render(5000)
        assert _hertz(harness.render(20000)[:, 0]) == pytest.approx(HERTZ, abs=2.0)


def test_keylock_turned_off_while_shedding_stays_off() -> None:
    with RenderHarness() as harness:
        _locked(harness, 1.06)
        _hold(harness, NO_KEYLOCK)
        harness.render(10000)
        harness.send(OP_KEYLOCK, target=0, index=0)
        _hold(harness, FULL)
        harness.render(10000)
        assert _hertz(harness.render(20000)[:, 0]) == pytest.approx(1.06 * HERTZ, abs=2.0)


# Interpolation -------------------------------------------------------------------------------


def _distortion(hertz: float, rate: float, level: int) -> float:
    with RenderHarness(pages=64) as harness:
        _hold(harness, level)
        harness.start(0, harness.load(sine(hertz, 130000, level=0.5)), rate=rate)
        return thd_n(harness.render(30000)[500:, 0], hertz * rate, RATE)


@pytest.mark.parametrize(
    ("hertz", "allowed"), [(1000.0, -80.0), (5000.0, -80.0), (10000.0, -80.0), (14000.0, -70.0)]
)
@pytest.mark.parametrize("rate", [0.94, 1.06, 1.0999])
def test_short_filters_have_low_distortion(hertz: float, allowed: float, rate: float) -> None:
    usual = _distortion(hertz, rate, NO_KEYLOCK)
    short = _distortion(hertz, rate, SHORT_FILTERS)
    assert usual < short - 10.0, "the short filters are not in use"
    assert short < allowed


@pytest.mark.parametrize(("rate", "hertz"), [(1.3, 3000.0), (1.9, 4000.0), (3.7, 2000.0)])
def test_short_filters_have_low_distortion_at_high_rates(rate: float, hertz: float) -> None:
    assert _distortion(hertz, rate, NO_KEYLOCK) < _distortion(hertz, rate, SHORT_FILTERS) < -75


def test_rate_one_is_bit_exact_at_every_level() -> None:
    samples = noise(60000)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        for turn, level in enumerate((3, 0, 2, 1, 3)):
            _hold(harness, level, 5000 + 7001 * turn)
        assert np.array_equal(harness.render(50000, 300), as_float(samples)[:50000])


def test_the_change_of_filter_length_is_crossfaded() -> None:
    # The filters differ most near the cut-off frequency. A sudden step between them would spread
    # over all frequencies; the tone itself stays above 19 kHz.
    with RenderHarness() as harness:
        harness.start(0, harness.load(sine(18000.0, 40000, level=0.5)), rate=1.06)
        for turn in range(20):
            _hold(harness, SHORT_FILTERS if turn % 2 else FULL, 3000 + 811 * turn)
        out = harness.render(22000)[:, 0].astype(np.float64)
    low = signal.sosfilt(signal.butter(10, 8000, fs=RATE, output="sos"), out)
    assert np.max(np.abs(out)) > 0.1
    assert 20 * np.log10(np.max(np.abs(low[500:]))) < -62


# Block lengths -------------------------------------------------------------------------------


def _everything(harness: RenderHarness) -> None:
    drums = harness.load(noise(30000, seed=1, peak=0.3), attacks=[10, 7000, 15000, 22000])
    harness.push(
        harness.start_command(0, drums, rate=1.05, loop=(0, 30000)),
        harness.command(OP_KEYLOCK, target=0, index=1),
    )
    harness.start(1, harness.load(TONE), deck=1, rate=0.97, loop=(0, 21000))
    harness.ramp(voice_ramp(1, VOICE_RATE), 1.4, 9001, frame=12001)
    put(harness, 0, "echo", {"beats": 0.25})
    put(harness, 1, "drive", after=0)
    put(harness, 2, "reverb", chain=6)
    for frame, level in ((3001, 1), (3100, 0), (7003, 3), (21005, 1), (30001, 0), (44001, 2)):
        _hold(harness, level, frame)
    put(harness, 3, "flanger", chain=1, frame=15001)
    remove(harness, 1, frame=24001)


def _played(blocks: list[int]) -> np.ndarray:
    with RenderHarness() as harness:
        _everything(harness)
        return harness.render(52000, blocks)


@pytest.mark.parametrize("blocks", [[1], [7], [1023], [2048], [5, 300, 41, 999]])
def test_block_lengths_change_no_bit_at_any_level(blocks: list[int]) -> None:
    assert np.array_equal(_played(blocks), _played([256]))
