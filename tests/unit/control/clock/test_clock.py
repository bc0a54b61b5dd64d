"""The beat clock: the tempo curve, its inverse, the order of changes, and the engine's copy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.control.clock.clock import BeatClock, ClockUpdates, TempoSegment, ramp_frames
from crowdstream.desk.opcodes import OP_CLOCK
from crowdstream.offline.session import WALL
from crowdstream.osc.codec import build
from tests.support.offline_server import RATE, Rig, bundle

tempos = st.floats(20, 400)


def taken_up(updates: ClockUpdates, until: int) -> TempoSegment:
    """Return the segment that an engine with these updates uses at a frame."""
    known = [(frame, i, s) for i, (frame, s) in enumerate(updates) if frame <= until]
    return sorted(known, key=lambda entry: entry[:2])[-1][2]


def test_a_steady_clock_counts_beats() -> None:
    clock = BeatClock(RATE, 120.0, 4)
    assert clock.beat(RATE) == pytest.approx(2.0, abs=1e-12)
    assert clock.frame_of(64.0) == pytest.approx(32 * RATE, abs=1e-6)
    assert clock.bpm_at(10**9) == 120.0


@given(tempos, tempos, st.integers(1, 500_000), st.integers(0, 600_000))
def test_a_ramp_is_the_integral_of_the_tempo(
    first: float, last: float, frames: int, upto: int
) -> None:
    """Compare with the tempo summed at the middle of each frame, which is exact for a ramp."""
    rates = [bpm / 60 / RATE for bpm in (first, last)]
    ramp = TempoSegment(1000, 5.0, rates[0], rates[1], frames)
    middle = np.minimum((np.arange(upto) + 0.5) / frames, 1.0)
    tempo = rates[0] + (rates[1] - rates[0]) * middle
    # The midpoint rule is exact for a straight line, and the ramp ends on a whole frame.
    assert ramp.at(1000 + upto) == pytest.approx(5.0 + math.fsum(tempo), abs=1e-9)
    assert ramp.rate_at(1000 + frames) == rates[1]


@given(tempos, tempos, st.integers(0, 500_000), st.floats(-1e3, 1e6))
def test_the_inverse_of_the_clock_is_exact(
    first: float, last: float, frames: int, place: float
) -> None:
    rates = [bpm / 60 / RATE for bpm in (first if frames else last, last)]
    ramp = TempoSegment(1000, 5.0, rates[0], rates[1], frames)
    assert ramp.frame_of(ramp.at(1000 + place)) == pytest.approx(1000 + place, abs=1e-6)


@given(tempos, tempos, st.floats(0.25, 512))
def test_a_ramp_over_beats_lasts_that_many(first: float, last: float, beats: float) -> None:
    clock = BeatClock(RATE, first, 4)
    clock.set_tempo(last, 5000, 0, beats=beats)
    ramp = clock.at(5000)
    assert ramp.rate_at(5000 + ramp.frames) == last / 60 / RATE
    passed = clock.beat(5000 + ramp.frames) - clock.beat(5000)
    # Rounding to whole frames is an error of up to half a frame.
    assert abs(passed - beats) <= 0.51 * max(first, last) / 60 / RATE
    assert ramp.frames == ramp_frames(first / 60 / RATE, last / 60 / RATE, beats)
    assert clock.bpm_at(5000 + ramp.frames) == pytest.approx(last, abs=1e-9)


def test_a_new_ramp_continues_from_the_tempo_reached_by_the_old_one() -> None:
    clock = BeatClock(RATE, 100.0, 4)
    clock.set_tempo(200.0, RATE, 0, frames=10 * RATE)
    clock.set_tempo(150.0, 6 * RATE, 5 * RATE, frames=RATE)
    assert clock.bpm_at(6 * RATE) == pytest.approx(150.0)
    before, after = clock.beat(6 * RATE - 1), clock.beat(6 * RATE + 1)
    assert after - before == pytest.approx(2 * 150 / 60 / RATE, rel=1e-5)
    assert clock.bpm_at(20 * RATE) == 150.0


def test_beats_are_continuous_through_a_hundred_changes() -> None:
    clock = BeatClock(RATE, 120.0, 4)
    clock.reset(1000, 0)
    assert clock.beat(1000) == 0.0
    assert clock.beat(1000 + RATE) == pytest.approx(2.0)
    for step in range(100):
        frame = 1000 + (1 + step) * RATE
        clock.set_tempo(100.0 + step, frame, frame - 10, frames=1)
    assert clock.bpm == 199.0
    expected = 2.0 + sum((100.0 + step) / 60 for step in range(100))
    assert clock.beat(1000 + 101 * RATE) == pytest.approx(expected, abs=1e-3)


def test_changes_sent_out_of_order_act_in_order_of_frames() -> None:
    clock, updates = BeatClock(RATE, 120.0, 4), []
    updates += clock.set_tempo(180.0, 4 * RATE, 0, frames=RATE)
    updates += clock.set_tempo(60.0, 2 * RATE, 10, frames=RATE)
    assert clock.bpm_at(3 * RATE) == 60.0
    assert clock.bpm_at(5 * RATE) == 180.0
    assert clock.beat(4 * RATE) == pytest.approx(4.0 + 1.5 + 1.0)
    for frame in range(0, 8 * RATE, 10007):
        if frame >= 2 * RATE:
            assert taken_up(updates, frame).at(frame) == clock.beat(frame)


def test_a_change_at_a_beat_moves_with_it_and_the_engine_is_updated() -> None:
    clock, updates = BeatClock(RATE, 120.0, 4), []
    updates += clock.set_tempo(180.0, 4 * RATE, 0, frames=RATE, beat=8.0)
    updates += clock.set_tempo(60.0, RATE, 10, frames=1)
    at = math.ceil(clock.frame_of(8.0) - 1e-6)
    assert at == pytest.approx(7 * RATE, abs=2)
    assert clock.bpm_at(at - 1) == 60.0
    assert clock.bpm_at(at + RATE) == 180.0
    for frame in range(RATE, 10 * RATE, 5003):
        assert taken_up(updates, frame).at(frame) == pytest.approx(clock.beat(frame), abs=1e-12)


def test_a_late_reset_keeps_a_reset_at_the_present_frame() -> None:
    clock, updates = BeatClock(RATE, 120.0, 4), []
    updates += clock.reset(0, 0)
    updates += [(max(at, 0), segment) for at, segment in clock.reset(-1, 0)]
    assert taken_up(updates, 1).at(1) == clock.beat(1) == pytest.approx(2 / RATE)


@given(st.lists(st.tuples(tempos, st.integers(-500, 90_000), st.integers(0, 40_000),
                          st.floats(0, 12), st.booleans(), st.integers(0, 20_000)), max_size=12))
def test_the_engine_always_follows_controls_clock(
    changes: list[tuple[float, int, int, float, bool, int]],
) -> None:
    """Whatever changes are sent in whatever order, the engine computes the same as control."""
    clock, now = BeatClock(RATE, 120.0, 4), 0
    updates = [(0, TempoSegment.steady(0, 0.0, 120 / 60 / RATE))]
    for bpm, ahead, frames, beat, reset, passed in changes:
        frame = now + ahead
        if reset:
            updates += [(max(at, now), s) for at, s in clock.reset(frame, now)]
        else:
            wanted = beat if ahead % 3 == 0 else None
            new = clock.set_tempo(bpm, frame, now, frames=frames, beats=0.5, beat=wanted)
            updates += [(max(at, now), s) for at, s in new]
        for at in (now + 1, now + passed // 2, now + passed):
            engine = taken_up([(f, s) for f, s in updates if f <= at], at)
            assert engine.at(at) == pytest.approx(clock.beat(at), abs=1e-9)
        now += passed
    now += 200_000
    assert taken_up(updates, now).at(now) == pytest.approx(clock.beat(now), abs=1e-9)


def test_a_reset_in_the_past_counts_from_its_frame() -> None:
    clock = BeatClock(RATE, 120.0, 4)
    clock.set_tempo(60.0, 2 * RATE, RATE, frames=1)
    clock.reset(RATE, 3 * RATE)
    assert clock.beat(RATE) == pytest.approx(0.0, abs=1e-12)
    assert clock.beat(3 * RATE) == pytest.approx(3.0, abs=1e-4)
    assert clock.zero == RATE


def test_starts_of_the_beat_clock_in_frames() -> None:
    clock = BeatClock(RATE, 120.0, 4)
    assert clock.frame_of_start(1.0, 500) == 500 + RATE
    assert clock.frame_of_start(0.0, 500) == 0
    clock.reset(777, 0)
    assert clock.frame_of_start(0.1, 10**9) == 777 + 4410
    assert clock.frame_of_start(-5.0, 10**9) == 0


def test_the_next_beat_bar_and_phrase() -> None:
    clock = BeatClock(RATE, 120.0, 4)
    at = round(4.6 * RATE / 2)
    assert [clock.next_beat(q, at) for q in (0.25, 1.0, 4.0, 32.0)] == [4.75, 5.0, 8.0, 32.0]
    assert clock.next_beat(1.0, round(clock.frame_of(7.0))) == 7.0


# Commands ------------------------------------------------------------------------------------


def test_a_tempo_ramp_over_beats_reaches_the_engine_as_one_command(rig: Rig) -> None:
    rig.run(512)
    sent = int(rig.desk.rings["command_head"])
    rig.send("/clock/tempo", 150.0, 8.0)
    assert int(rig.desk.rings["command_head"]) == sent + 1
    record = rig.desk.commands[sent]
    assert int(record["op"]) == OP_CLOCK
    assert float(record["z"]) == 150.0 / 60 / RATE
    assert int(record["loop_out"]) == ramp_frames(120 / 60 / RATE, 150 / 60 / RATE, 8)
    begin = int(record["start"])
    assert float(record["x"]) == rig.core.beat_clock.beat(begin)
    rig.seconds(5)
    assert rig.status()["bpm"] == 150.0
    assert rig.desk.tempo == 1.25


def test_during_a_ramp_the_status_shows_present_and_target_tempo(rig: Rig) -> None:
    rig.send("/clock/tempo", 180.0, 20.0)
    rig.run(round(4 * RATE))
    status = rig.status()
    assert 148 < status["bpm"] < 152
    assert status["bpm_target"] == 180.0


def test_scheduled_tempos_act_in_order_of_time_not_of_arrival(rig: Rig) -> None:
    rig.run(512)
    rig.raw(bundle(0.4, build("/clock/tempo", (60.0,))))
    rig.raw(bundle(0.2, build("/clock/tempo", (240.0,))))
    rig.seconds(0.3)
    assert rig.status()["bpm"] == 240.0
    rig.seconds(0.3)
    assert rig.status()["bpm"] == 60.0
    engine = rig.desk.clock
    assert float(engine["tempo_beat"]) == rig.core.beat_clock.beat(int(engine["tempo_frame"]))
    assert not rig.heard("/late")


def test_a_late_tempo_is_reported(rig: Rig) -> None:
    rig.seconds(1)
    rig.raw(bundle(0.5, build("/clock/tempo", (60.0,))))
    rig.run(1024)
    [(address, seconds)] = rig.heard("/late")
    assert address == "/clock/tempo"
    assert seconds == pytest.approx(0.5, abs=0.02)
    assert rig.status()["bpm"] == 60.0


@pytest.mark.parametrize("bpm", [0.0, 1e9, 19.9, 400.1, math.nan, -120.0])
def test_an_invalid_tempo_is_refused(rig: Rig, bpm: float) -> None:
    before = rig.state()
    rig.core.perform([("/clock/tempo", (bpm,), lambda *_: None, None)])
    assert rig.state() == before
    assert rig.core.failures == 1


def test_too_many_pending_changes_are_refused(rig: Rig) -> None:
    for step in range(70):
        rig.raw(bundle(0.3 + step / 1000, build("/clock/tempo", (100.0 + step,))))
    assert len(rig.fails()) == 6
    assert "64 tempo changes are pending" in rig.fails()[0]


def test_a_beat_query_returns_the_clocks_position(rig: Rig) -> None:
    rig.send("/clock/meter", 3)
    rig.run(round(2.25 * RATE))  # beat 4.5
    rig.send("/clock/beat")
    [(beat, bar, within, phase, bpm, frame)] = rig.heard("/clock/beat.reply")
    assert beat == pytest.approx(4.5, abs=1e-4)
    assert (bar, bpm, frame) == (2, 120.0, rig.desk.frame)
    assert within == pytest.approx(2.5, abs=1e-4)
    assert phase == pytest.approx(0.5, abs=1e-4)


def test_a_time_query_returns_the_frame_on_which_that_time_acts(rig: Rig) -> None:
    rig.run(RATE)
    rig.send("/clock/time", 7)
    [(number, moment, frame)] = rig.heard("/clock/time.reply")
    assert number == 7 and moment == pytest.approx(WALL + 1.0, abs=0.1)
    rig.raw(bundle(moment - WALL + 0.25, build("/clock/reset", ())))
    rig.run(RATE)
    assert rig.core.beat_clock.zero == pytest.approx(frame + 0.25 * RATE, abs=1)


# Ticks ---------------------------------------------------------------------------------------


def test_ticks_are_sent_24_a_beat_with_their_exact_frames(rig: Rig) -> None:
    rig.send("/clock/ticks", 24)
    assert rig.fails() == ["/clock/ticks not subscribed: send /notify 1 first"]
    rig.send("/notify", 1)
    rig.send("/clock/ticks", 24)
    rig.send("/clock/tempo", 240.0, 8.0)
    rig.seconds(4)
    ticks = rig.heard("/clock/tick")
    assert [count for count, *_ in ticks] == list(range(ticks[0][0], ticks[0][0] + len(ticks)))
    assert len(ticks) > 200
    for count, beat, frame, _time in ticks:
        assert beat == count / 24
        assert rig.core.beat_clock.beat(frame - 1) < beat <= rig.core.beat_clock.beat(frame) + 1e-9
    for (_, _, frame, time), (_, _, next_frame, next_time) in pairwise(ticks):
        assert next_time - time == pytest.approx((next_frame - frame) / RATE, abs=1e-5)
    rig.send("/clock/ticks", 0)
    rig.seconds(0.5)
    assert len(rig.heard("/clock/tick")) == len(ticks)


def test_beats_are_sent_with_their_bar_also_after_a_reset(rig: Rig) -> None:
    rig.send("/notify", 1)
    rig.send("/clock/ticks", 1)
    rig.seconds(2.3)
    assert [(bar, beat, bpm) for bar, beat, bpm, *_ in rig.heard("/beat")] == [
        (1, 2, 120.0), (1, 3, 120.0), (1, 4, 120.0), (2, 1, 120.0),
    ]
    rig.send("/reset")
    rig.seconds(0.7)
    assert [(bar, beat) for bar, beat, *_ in rig.heard("/beat")[4:]] == [(1, 1), (1, 2)]


def test_the_time_of_the_next_tick_is_known(rig: Rig) -> None:
    assert rig.core.midi_ticks.due() == math.inf
    rig.send("/notify", 1)
    rig.send("/clock/ticks", 1)
    rig.run(22050 - 441)
    assert rig.core.midi_ticks.due() - rig.time == pytest.approx(0.01, abs=rig.block / RATE)
    rig.send("/notify", 0)
    assert rig.core.midi_ticks.due() == math.inf
