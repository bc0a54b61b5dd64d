"""Effect chains: inserting, removing and moving effects makes no click or gap, and costs no bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from crowdstream.desk.constants import CHAIN_BUS, CHAIN_MASTER
from crowdstream.desk.effects import EFFECTS, IDLE
from crowdstream.desk.opcodes import OP_STOP
from crowdstream.desk.ramps import deck_level_ramp, patch_ramp
from crowdstream.effects.roll import SEAM
from crowdstream.engine.effects.chain import FADE
from tests.support.effect_harness import freed, largest_step, move, order, put, remove, row
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine

TONE = sine(RATE / 210, 21000, level=0.5)
TONE_STEP = largest_step(TONE[:, None])
QUIET = 0.05  # deck level, below the limiter


def _tone(harness: RenderHarness) -> None:
    harness.ramp(deck_level_ramp(0), QUIET)
    harness.start(0, harness.load(TONE), loop=(0, 21000))


def _smooth(out: np.ndarray, loudest: float = 1.0) -> None:
    # No step larger than the tone's own, including its gain, plus that of a crossfade.
    allowed = QUIET * loudest * (1.3 * TONE_STEP + 2 * 0.5 / FADE)
    assert largest_step(out) <= allowed
    # And no gap: each period of the tone is audible.
    periods = np.abs(out[: len(out) // 210 * 210, 0]).reshape(-1, 210).max(axis=1)
    assert periods[2:].min() > 0.05 * QUIET


def test_inserting_swapping_and_removing_effects_makes_no_click() -> None:
    with RenderHarness() as harness:
        _tone(harness)
        put(harness, 0, "drive", {"drive": 6}, frame=3001)
        put(harness, 1, "flanger", after=0, frame=5003)
        put(harness, 2, "reverb", after=0, leaving=1, frame=9005)
        put(harness, 3, "drive", {"drive": 20}, leaving=0, frame=9005)
        remove(harness, 3, frame=15007)
        put(harness, 4, "echo", {"beats": 0.1}, after=2, leaving=2, frame=20009)
        remove(harness, 4, frame=30011)
        out = harness.render(45000)
        _smooth(out, 3.2)
        assert set(order(harness)) <= {2, 4}
        assert set(freed(harness)) >= {0, 1, 3}


def test_a_swap_may_start_before_the_last_one_has_finished() -> None:
    with RenderHarness() as harness:
        _tone(harness)
        put(harness, 0, "drive", frame=2000)
        for turn in range(1, 20):
            name = ("drive", "flanger", "compressor")[turn % 3]
            put(harness, turn, name, leaving=turn - 1, frame=2000 + 97 * turn)
        _smooth(harness.render(12000), 1.6)
        assert order(harness) == [19]
        assert sorted(freed(harness)) == list(range(19))


@pytest.mark.parametrize(("number", "after", "expected"), [
    (0, 2, [1, 2, 0]), (2, -1, [2, 0, 1]), (1, -1, [1, 0, 2]), (0, 0, [0, 1, 2]), (1, 2, [0, 2, 1]),
])  # fmt: skip
def test_an_effect_moves_to_another_position(number: int, after: int, expected: list[int]) -> None:
    with RenderHarness() as harness:
        _tone(harness)
        put(harness, 0, "drive", {"drive": 6})
        put(harness, 1, "flanger", after=0)
        put(harness, 2, "compressor", {"threshold": -12}, after=1)
        harness.render(5000)
        move(harness, number, after, frame=6001)
        out = harness.render(6000)
        assert order(harness) == expected
        _smooth(out, 1.6)


def test_moves_may_overlap_with_moves_and_removals() -> None:
    with RenderHarness() as harness:
        _tone(harness)
        for number in range(4):
            put(harness, number, "drive", {"drive": 3}, after=number - 1)
        harness.render(3000)
        move(harness, 0, 2, frame=3100)
        move(harness, 0, 3, frame=3150)
        remove(harness, 1, frame=3160)
        move(harness, 2, 1, frame=4050)
        move(harness, 1, 3, frame=4060)
        out = harness.render(6000)
        _smooth(out, 1.6)
        assert order(harness) == [2, 3, 0]


def test_an_effect_keeps_its_state_while_it_moves() -> None:
    samples = noise(60000, peak=0.4)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        put(harness, 0, "roll", {"beats": 0.25}, on=0.0)
        put(harness, 1, "crusher", {"bits": 16, "rate": 192000}, after=0, on=0.0)
        harness.ramp(row(0, "roll", "on"), 1.0, 100, frame=20000)
        move(harness, 0, 1, frame=25000)
        out = harness.render(45000)
    dry, length = as_float(samples), 5512.5
    for lap in (2, 3):
        begin = int(np.ceil(20000 + lap * length))
        there = dry[20000 - 5513 + SEAM : 20000 - 13]
        assert np.max(np.abs(out[begin + SEAM : begin + 5500] - there)) < 1e-6


def test_block_lengths_change_nothing() -> None:
    def played(blocks: list[int]) -> np.ndarray:
        with RenderHarness() as harness:
            harness.start(0, harness.load(noise(50000, peak=0.3)), loop=(0, 50000))
            harness.start(1, harness.load(noise(30000, peak=0.3, seed=4)), deck=1)
            put(harness, 0, "drive", frame=1001)
            put(harness, 1, "echo", {"feedback": 0.1, "beats": 0.1}, after=0, frame=1501)
            put(harness, 2, "reverb", {"decay": 0.3}, chain=CHAIN_BUS, frame=2001)
            put(harness, 3, "flanger", chain=CHAIN_MASTER, frame=2501)
            put(harness, 4, "gate", chain=1, frame=2601)
            harness.ramp(patch_ramp(0, 0), 0.7, 901, frame=3001)
            harness.ramp(patch_ramp(1, 1), 0.5, 901, frame=3501)
            harness.ramp(patch_ramp(4, 1), 0.5, 901, frame=4001)
            harness.ramp(patch_ramp(1, 2), 0.0, 901, frame=4501)
            move(harness, 0, 1, frame=5501)
            put(harness, 5, "crusher", chain=CHAIN_MASTER, after=3, leaving=3, frame=6001)
            remove(harness, 1, frame=7001)
            remove(harness, 2, chain=CHAIN_BUS, frame=9001)
            harness.ramp(row(0, "drive", "on"), 0.0, 333, frame=10001)
            harness.ramp(row(0, "drive", "on"), 1.0, 333, frame=20001)
            out = harness.render(30000, itertools.cycle(blocks))
            left = int((harness.desk.effects["state"] == IDLE).sum())
            assert left == EFFECTS - 4 or left == EFFECTS - 5
            return out

    whole = played([256])
    for blocks in ([1], [7, 100], [1023], [4096], [333, 2048, 5]):
        assert np.array_equal(played(blocks), whole)


@pytest.mark.parametrize("name", ["echo", "reverb"])
@pytest.mark.parametrize("how", ["stop", "off", "remove", "swap"])
def test_tails_ring_out(name: str, how: str) -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(44100, peak=0.3)), loop=(0, 44100))
        put(harness, 0, name, {"mix": 0.5})
        harness.render(40000)
        if how == "stop":
            harness.send(OP_STOP, target=0)
        elif how == "off":
            harness.ramp(row(0, name, "on"), 0.0, 300)
        elif how == "remove":
            remove(harness, 0)
        else:
            put(harness, 1, "compressor", leaving=0)
        harness.send(OP_STOP, target=0)
        out = harness.render(round(20 * RATE), 2048)
        power = [float(np.sqrt((part**2).mean())) for part in np.split(out[: 20 * 44100], 40)]
        assert power[1] > 0.002
        assert out[round(8 * RATE)].any() or power[15] < power[1] / 20
        assert max(power[30:]) < 1e-4
        later = harness.render(20000)
        asleep = int(harness.desk.effects["asleep"][0])
        if how in ("remove", "swap"):
            assert 0 in freed(harness)
            assert not later.any() or name == "reverb"
        assert asleep == (how == "off")


def test_a_removed_effect_with_an_endless_tail_is_freed() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(20000, peak=0.3)))
        put(harness, 0, "echo", {"feedback": 0.98, "seconds": 4.0})
        harness.render(30000)
        remove(harness, 0)
        out = harness.render(round(29 * RATE), 4096)
        assert np.abs(out[-8 * 44100 :]).max() > 0.05
        out = harness.render(round(4 * RATE), 4096)
        assert freed(harness) == [0]
        assert not out[-10000:].any()
        # It was crossfaded out, not cut off.
        assert largest_step(out[-60000:]) < 1.0


def test_commands_for_missing_effects_are_ignored() -> None:
    # Such commands can result when scheduled commands are overtaken by immediate ones.
    samples = noise(9000, peak=0.3)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        remove(harness, 5)
        move(harness, 6, 5)
        put(harness, 0, "crusher", {"bits": 16, "rate": 192000}, after=9, leaving=7)
        put(harness, 0, "drive", chain=2)
        harness.render(1000)
        assert order(harness) == [0]
        assert order(harness, 2) == []
        remove(harness, 0)
        remove(harness, 0)
        harness.render(5000)
        assert freed(harness) == [0]
        assert np.array_equal(harness.render(2000), as_float(samples)[6000:8000])
