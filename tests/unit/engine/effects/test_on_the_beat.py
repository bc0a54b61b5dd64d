"""Effects that follow the clock are exact to the frame."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from crowdstream.desk.opcodes import OP_STOP
from crowdstream.effects.roll import SEAM
from tests.support.effect_harness import largest_step, put, row
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine

IMPULSE_AT = 4000


def _impulse(frames: int, side: int | None = None) -> np.ndarray:
    samples = np.zeros((frames, 2), np.float32)
    samples[IMPULSE_AT] = 0.5
    if side is not None:
        samples[IMPULSE_AT, 1 - side] = 0.0
    return samples


@pytest.mark.parametrize(("bpm", "beats"), [(120, 0.75), (124, 0.5), (93.7, 1.0), (174, 0.25)])
def test_echo_repeats_after_its_beats(bpm: float, beats: float) -> None:
    delay = int(beats * 60 / bpm * RATE + 0.5)
    with RenderHarness() as harness:
        harness.desk.set_tempo(bpm)
        put(harness, 0, "echo", {"beats": beats, "feedback": 0.5, "tone": 20000, "mix": 1.0})
        harness.start(0, harness.load(_impulse(20000)))
        out = harness.render(IMPULSE_AT + 4 * delay)[:, 0]
    loud = np.flatnonzero(np.abs(out) > 0.02)
    found = [int(part[0]) for part in np.split(loud, np.flatnonzero(np.diff(loud) > 100) + 1)]
    assert found == [IMPULSE_AT + n * delay for n in range(1, 4)]
    peaks = np.abs(out[found])
    assert peaks[1] / peaks[0] == pytest.approx(0.5 * peaks[0] / 0.5, rel=0.02)


def test_echo_by_seconds_with_pingpong() -> None:
    delay = round(0.1 * RATE)
    with RenderHarness() as harness:
        put(harness, 0, "echo", {"seconds": 0.1, "tone": 20000, "mix": 1.0, "pingpong": 1.0})
        harness.start(0, harness.load(_impulse(20000)))
        out = np.abs(harness.render(20000))
    sides = [int(np.argmax(out[IMPULSE_AT + n * delay])) for n in (1, 2, 3)]
    assert sides == [0, 1, 0]
    assert out[IMPULSE_AT + delay, 1] == 0.0


def test_echo_follows_the_tempo() -> None:
    with RenderHarness() as harness:
        put(harness, 0, "echo", {"beats": 0.5, "mix": 1.0, "tone": 20000})
        harness.render(1000)
        harness.desk.set_tempo(150)
        harness.start(0, harness.load(_impulse(40000)))
        out = harness.render(40000)[:, 0]
    assert int(np.argmax(np.abs(out))) == IMPULSE_AT + round(0.2 * RATE)


@pytest.mark.parametrize(("bpm", "step"), [(120, 0.25), (124, 0.5), (170, 1 / 16)])
def test_gate_opens_on_the_beat(bpm: float, step: float) -> None:
    frames = 60000
    with RenderHarness() as harness:
        harness.desk.set_tempo(bpm)
        put(harness, 0, "gate", {"step": step, "edge": 0.001})
        harness.start(0, harness.load(np.full(frames, 16384, np.int16)))
        out = harness.render(frames)[:, 0]
    length = step * 60 / bpm * RATE
    opens = np.flatnonzero((out[1:] > 0) & (out[:-1] == 0)) + 1
    expected = [int(np.ceil(2 * n * length - 1e-6)) for n in range(1, len(opens) + 1)]
    assert len(opens) == int(frames / length / 2)
    assert np.max(np.abs(opens - expected)) <= 1
    edge = round(0.001 * RATE) + 1
    for begin in opens[:-1]:
        assert (out[begin + edge : begin + int(length) - 1] == 0.5).all()
        closed = out[begin + int(length) + edge + 1 : begin + int(2 * length) - 1]
        assert not closed.any()


def test_gate_plays_its_pattern() -> None:
    with RenderHarness() as harness:
        values = {"step": 0.25, "steps": 5, "pattern": 0b10011, "open": 0.5, "depth": 0.75}
        put(harness, 0, "gate", values)
        harness.start(0, harness.load(np.full(120000, 16384, np.int16)))
        out = harness.render(110250)[:, 0]
    step = 11025 // 2
    first = np.array([out[int(n * 5512.5 + 0.25 * step)] for n in range(20)])
    second = np.array([out[int(n * 5512.5 + 0.75 * step)] for n in range(20)])
    assert first == pytest.approx(np.tile([0.5, 0.5, 0.125, 0.125, 0.5], 4))
    assert second == pytest.approx(0.125)


@pytest.mark.parametrize("beats", [1 / 32, 1 / 8, 1 / 2, 1.0, 2.0])
@pytest.mark.parametrize("bpm", [120, 127.3])
def test_roll_repeats_the_beats_before_it(beats: float, bpm: float) -> None:
    length = beats * 60 / bpm * RATE
    samples = noise(150000, peak=0.4)
    dry = as_float(samples)
    on = 50003
    with RenderHarness() as harness:
        harness.desk.set_tempo(bpm)
        harness.start(0, harness.load(samples))
        put(harness, 0, "roll", {"beats": beats})
        harness.ramp(row(0, "roll", "on"), 0.0)
        harness.ramp(row(0, "roll", "on"), 1.0, 0, frame=on)
        harness.ramp(row(0, "roll", "on"), 0.0, 0, frame=on + 60000)
        out = harness.render(150000, itertools.cycle([256, 77]))
    whole = int(length + 0.5)
    laps = int(60000 / length)
    for lap in range(laps):
        begin = on + int(np.ceil(lap * length - 1e-6))
        skip = SEAM if lap else 0
        there = dry[on - whole + skip : on - 1]
        assert np.array_equal(out[begin + skip : begin + skip + len(there)], there)
    assert np.array_equal(out[:on], dry[:on])
    assert np.array_equal(out[on + 60000 :], dry[on + 60000 :])


def test_roll_changes_length_and_records_meanwhile() -> None:
    samples = noise(250000, peak=0.4)
    dry = as_float(samples)
    with RenderHarness() as harness:
        harness.start(0, harness.load(samples))
        put(harness, 0, "roll", {"beats": 1.0}, on=0.0)
        harness.ramp(row(0, "roll", "on"), 1.0, 0, frame=100000)
        harness.ramp(row(0, "roll", "beats"), 0.25, 0, frame=122050)
        harness.ramp(row(0, "roll", "on"), 0.0, 0, frame=150000)
        harness.ramp(row(0, "roll", "on"), 1.0, 0, frame=160000)
        out = harness.render(180000)
    lap = 100000 + 4 * 5513 + 5512
    there = dry[100000 - 5513 + SEAM : 100000 - 13]
    found = [n for n in range(lap - 6000, lap + 6000) if np.array_equal(out[n : n + 5436], there)]
    assert len(found) >= 1
    # The second roll repeats sound that was recorded during the first.
    whole = 5513
    assert np.array_equal(out[160000 : 160000 + whole - 1], dry[160000 - whole : 159999])


def test_roll_crossfades_from_lap_to_lap() -> None:
    # A lap is 26.25 periods: if cut off, the tone would jump by half of full scale.
    tone = sine(RATE / 210, 84000, level=0.5)
    with RenderHarness() as harness:
        harness.start(0, harness.load(tone))
        put(harness, 0, "roll", {"beats": 0.25}, on=0.0)
        harness.ramp(row(0, "roll", "on"), 1.0, 200, frame=30005)
        harness.ramp(row(0, "roll", "beats"), 0.125, 0, frame=30005 + 3 * 5513 + 20)
        harness.ramp(row(0, "roll", "on"), 0.0, 200, frame=60000)
        out = harness.render(80000)
    assert largest_step(out) < 1.1 * largest_step(tone[:, None]) + 1.0 / SEAM


def test_riser_rises_on_the_beat_and_restarts() -> None:
    with RenderHarness() as harness:
        put(harness, 0, "riser", {"beats": 4, "level": 0.5}, on=0.0)
        assert not harness.render(20000).any()
        for _ in range(2):
            harness.ramp(row(0, "riser", "on"), 1.0, 200)
            out = harness.render(88200)[:, 0].astype(np.float64)
            centres = []
            for part in np.split(out, 6):
                power = np.abs(np.fft.rfft(part)) ** 2
                centres.append(float((power * np.arange(len(power))).sum() / power.sum()))
            assert (np.diff(centres) > 0).all()
            assert centres[-1] > 10 * centres[0]
            harness.ramp(row(0, "riser", "on"), 0.0, 200)
            harness.render(300)
            assert not harness.render(2000).any()
        harness.send(OP_STOP, target=0)
