"""The clocks without a server: frames of instants and time tags, beats, and the engine's copy.

Here a frame lasts a millisecond and a beat 500 frames, so that expected values are round numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.control.clock.clock import (
    AVERAGING_SECONDS,
    JUMP_SECONDS,
    MAX_AHEAD,
    MAX_KEPT_TAGS,
    MAX_PAST_SEGMENTS,
    MAX_SAVED_TAGS,
    NEAR_BEAT,
    BeatClock,
    Change,
    ClockUpdates,
    FrameClock,
    TempoSegment,
)
from crowdstream.desk.block import Desk

RATE = 1000.0
BPM = 120.0  # 500 frames a beat
BLOCK = 64


class Time:
    """Monotonic and wall clock, advanced only by the test."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1_000_000.0


class Frames:
    """A frame clock, and simulated readings of the engine's callback."""

    def __init__(self) -> None:
        self.desk = Desk.create(0, RATE)
        self.desk.header["block_frames"] = BLOCK
        self.desk.clock["frame"] = 777
        self.time = Time()
        self.clock = FrameClock(self.desk, self.time.monotonic, self.time.wall)

    def reading(self, seconds: float, frame: int) -> None:
        """Simulate a callback at `seconds` (monotonic) for the block that begins with `frame`."""
        self.desk.clock["callback_ns"] = round(seconds * 1e9)
        self.desk.clock["callback_frame"] = frame
        self.clock.read()


@pytest.fixture
def frames() -> Iterator[Frames]:
    made = Frames()
    yield made
    made.desk.close()


# --- frames of instants -----------------------------------------------------------------------


def test_before_the_first_reading_every_instant_is_the_next_frame(frames: Frames) -> None:
    frames.clock.read()
    assert frames.clock.now() == 777 and frames.clock.frame_at(1e6) == 777
    assert frames.clock.frame_rendered(1e6) == 777.0


def test_the_frame_of_an_instant_is_one_block_after_the_one_asked_for(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    assert frames.clock.frame_rendered(50.0) == pytest.approx(2000.0)
    assert frames.clock.frame_rendered(50.25) == pytest.approx(2250.0)
    assert frames.clock.frame_at(50.25) == 2250 + BLOCK
    frames.time.now = 50.5
    assert frames.clock.now() == 2500 + BLOCK
    assert frames.clock.frame_at(50.2506) == 2251 + BLOCK, "to the nearest frame"


def test_readings_are_averaged(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    frames.reading(51.0, 3010)
    weight = 1 - math.exp(-1 / AVERAGING_SECONDS)
    assert frames.clock.frame_rendered(51.0) == pytest.approx(3000 + 10 * weight)
    frames.reading(52.0, 3990)
    expected = 10 * weight + weight * (-10 - 10 * weight)
    assert frames.clock.frame_rendered(52.0) == pytest.approx(4000 + expected)


@pytest.mark.parametrize("rate", [5, 40])
def test_the_average_does_not_depend_on_how_often_the_clock_is_read(
    frames: Frames, rate: int
) -> None:
    frames.reading(50.0, 2000)
    for number in range(1, 3 * rate + 1):
        seconds = number / rate
        frames.reading(50.0 + seconds, 2010 + round(1000 * seconds))
    weight = 1 - math.exp(-3 / AVERAGING_SECONDS)
    assert frames.clock.frame_rendered(53.0) == pytest.approx(5000 + 10 * weight)


def test_a_reading_is_used_once(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    frames.reading(51.0, 3010)
    before = frames.clock.frame_rendered(52.0)
    for _ in range(5):
        frames.clock.read()
    assert frames.clock.frame_rendered(52.0) == before


@pytest.mark.parametrize("side", [1, -1])
def test_an_interrupted_stream_resets_the_estimate(frames: Frames, side: int) -> None:
    jump = round(JUMP_SECONDS * RATE)
    frames.reading(50.0, 2000)
    frames.reading(51.0, 3000 + side * jump)
    assert frames.clock.frame_rendered(51.0) == pytest.approx(
        3000 + side * jump * (1 - math.exp(-1 / AVERAGING_SECONDS))
    )
    frames.reading(52.0, 4000 + 2 * side * jump)
    assert frames.clock.frame_rendered(52.0) == pytest.approx(4000 + 2 * side * jump)


def test_a_new_engine_starts_from_its_first_reading(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    frames.clock.reset_estimate()
    assert frames.clock.now() == 777 + BLOCK
    frames.reading(51.0, 3010)
    assert frames.clock.frame_rendered(51.0) == pytest.approx(3010.0)


def test_bundles_that_arrive_before_the_first_reading_of_a_new_engine_keep_their_distances(
    frames: Frames,
) -> None:
    """Otherwise everything that a sequencer sends ahead acts at once after a failover."""
    frames.reading(50.0, 2000)
    frames.desk.clock["frame"] = 2100
    frames.clock.reset_estimate()
    assert frames.clock.audible_at(2100.0) is None
    assert frames.clock.frame_of_tag(1.0, 50.0) == 2100 + BLOCK
    assert frames.clock.frame_of_tag(2.0, 50.3) == 2400 + BLOCK
    frames.time.now = 50.1
    assert frames.clock.now() == 2200 + BLOCK


def test_a_wall_clock_time_is_converted_to_monotonic_time(frames: Frames) -> None:
    assert frames.clock.due(1_000_051.5) == pytest.approx(51.5)
    frames.time.now = 60.0
    assert frames.clock.due(1_000_051.5) == pytest.approx(51.5)


# --- time tags --------------------------------------------------------------------------------


def test_a_time_tag_keeps_its_frame(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    assert frames.clock.frame_of_tag(7.5, 51.0) == 3000 + BLOCK
    frames.reading(51.0, 3040)
    assert frames.clock.frame_of_tag(7.5, 51.0) == 3000 + BLOCK
    moved = round(40 * (1 - math.exp(-1 / AVERAGING_SECONDS)))
    assert frames.clock.frame_of_tag(7.6, 60.0) == 12_000 + moved + BLOCK
    assert frames.clock.frame_of_tag(7.7, 1.0) == 1, "there is no frame before the first"


def test_a_bounded_number_of_tags_is_kept(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    for number in range(MAX_KEPT_TAGS):
        frames.clock.frame_of_tag(float(number), 51.0)
    assert frames.clock.frame_of_tag(0.0, 99.0) == 3000 + BLOCK, "it is still known"
    frames.clock.frame_of_tag(-1.0, 51.0)
    assert len(frames.clock._moments) == MAX_KEPT_TAGS
    assert 0.0 not in frames.clock._moments and 1.0 in frames.clock._moments


def test_a_restored_clock_maps_tags_to_the_same_frames(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    frames.clock.frame_of_tag(1.0, 45.0)  # in the past
    for number in range(MAX_SAVED_TAGS + 1):
        frames.clock.frame_of_tag(10.0 + number, 51.0 + number)
    frames.desk.clock["frame"] = 2500
    note = json.loads(json.dumps(frames.clock.to_state()))
    assert [moment for moment, _ in note[1]] == [11.0 + n for n in range(MAX_SAVED_TAGS)]
    later = FrameClock(frames.desk, frames.time.monotonic, frames.time.wall)
    later.restore(note)
    assert later.frame_of_tag(20.0, 0.0) == frames.clock.frame_of_tag(20.0, 0.0)
    assert later.frame_rendered(53.0) == frames.clock.frame_rendered(53.0)
    assert later.frame_of_tag(1.0, 0.0) == 1


def test_a_tag_of_the_next_frame_is_still_saved(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    frames.clock.frame_of_tag(1.0, 51.0 - BLOCK / RATE)
    frames.desk.clock["frame"] = 3000
    assert frames.clock.to_state()[1] == [(1.0, 3000)]
    frames.desk.clock["frame"] = 3001
    assert frames.clock.to_state()[1] == []


def test_a_restored_clock_uses_the_latest_reading(frames: Frames) -> None:
    frames.reading(50.0, 2000)
    note = frames.clock.to_state()
    later = FrameClock(frames.desk, frames.time.monotonic, frames.time.wall)
    frames.desk.clock["callback_ns"], frames.desk.clock["callback_frame"] = 51 * 10**9, 9000
    later.restore(note)
    assert later.frame_rendered(51.0) == pytest.approx(9000.0)


# --- beats ------------------------------------------------------------------------------------


def beats() -> BeatClock:
    return BeatClock(RATE, BPM, 4)


def test_a_new_clock_runs_steadily_from_frame_zero() -> None:
    clock = beats()
    assert (clock.meter, clock.zero, clock.bpm) == (4, None, 120.0)
    assert clock.rate_of(60.0) == 0.001
    assert [clock.beat(frame) for frame in (-500, 0, 250, 500)] == pytest.approx([-1, 0, 0.5, 1])
    assert clock.bpm_at(-5) == clock.bpm_at(99_999) == 120.0
    assert clock.frame_of(-1.0) == pytest.approx(-500.0)
    assert clock.frame_of_command(3.0, 0) == 1500
    assert clock.frame_of_command(-3.0, 0) == 1, "there is no frame before the first"


def test_a_pending_change_is_a_segment_of_its_own() -> None:
    clock = beats()
    updates = clock.set_tempo(60.0, 1000, 10)
    assert updates == [(1000, TempoSegment(1000, 2.0, 0.002, 0.001, 1))]
    assert clock.bpm == 60.0 and clock.bpm_at(999) == 120.0 and clock.bpm_at(1001) == 60.0
    assert clock.at(999).frame == 0 and clock.at(1000).frame == 1000
    assert clock.at(-5).frame == 0, "before the first segment, its tempo applies"
    assert clock.beat(1001) == pytest.approx(2.0015) and clock.beat(2001) == pytest.approx(3.0015)
    assert clock.frame_of(3.0015) == pytest.approx(2001.0)
    assert clock.frame_of(1.0) == pytest.approx(500.0)
    assert clock.frame_of(2.0) == pytest.approx(1000.0)


def test_a_ramp_lasts_its_frames_or_its_beats() -> None:
    by_frames, by_beats = beats(), beats()
    by_frames.set_tempo(240.0, 1000, 0, frames=400)
    assert [by_frames.bpm_at(frame) for frame in (1000, 1200, 1400, 5000)] == [120, 180, 240, 240]
    by_beats.set_tempo(240.0, 1000, 0, beats=6.0)
    assert by_beats.at(1000).frames == 2000
    assert by_beats.beat(3000) == pytest.approx(8.0)


def test_a_late_change_happens_now_and_keeps_its_requested_frame() -> None:
    clock = beats()
    updates = clock.set_tempo(60.0, 400, 500, frames=10)
    assert updates == [(400, TempoSegment(500, 1.0, 0.002, 0.001, 10))]
    assert clock.bpm_at(500) == 120.0 and clock.bpm_at(510) == 60.0
    on_time = beats().set_tempo(60.0, 500, 500, frames=10)
    assert on_time == [(500, TempoSegment(500, 1.0, 0.002, 0.001, 10))]


def test_a_change_at_a_beat_moves_with_it_unless_it_is_late() -> None:
    clock = beats()
    clock.set_tempo(240.0, 1000, 0, beat=2.0)
    updates = clock.set_tempo(60.0, 500, 10)  # half as fast: beat 2 comes 500 frames later
    frame = clock._ahead[1][1].frame
    assert frame == 1500
    assert [at for at, _stretch in updates] == [500, 1000, 1500]
    late = beats()
    late.set_tempo(240.0, 99, 100, beat=0.198)
    assert late._ahead[0][0].beat is None
    exact = beats()
    exact.set_tempo(240.0, 100, 100, beat=0.2)
    assert exact._ahead[0][0].beat == 0.2


def test_changes_are_ordered_by_frame_and_then_by_arrival() -> None:
    clock = beats()
    clock.set_tempo(60.0, 2000, 0)
    clock.set_tempo(240.0, 1000, 0)
    clock.set_tempo(180.0, 2000, 0)
    assert [segment.frame for _change, segment in clock._ahead] == [1000, 2000, 2000]
    assert [round(clock.bpm_at(frame)) for frame in (999, 1001, 2001)] == [120, 240, 180]


def test_a_change_that_has_begun_is_not_altered() -> None:
    clock = beats()
    clock.set_tempo(60.0, 1000, 0)
    clock.set_tempo(240.0, 500, 1001)
    assert clock.bpm_at(1001) == 60.0, "it has been in effect for one frame"
    assert clock.bpm_at(1002) == 240.0
    again = beats()
    again.set_tempo(60.0, 1000, 0)
    again.set_tempo(240.0, 1000, 1000)
    assert [change.rate for change, _stretch in again._ahead] == [0.001, 0.004]


def test_only_the_latest_segments_are_kept() -> None:
    clock = beats()
    for number in range(MAX_PAST_SEGMENTS + 10):
        clock.set_tempo(100.0 + number, 100 * number, 100 * number)
    assert len(clock._past) == MAX_PAST_SEGMENTS
    assert clock._past[-1].frame == 100 * (MAX_PAST_SEGMENTS + 8)


def test_the_number_of_pending_changes_is_limited() -> None:
    clock = beats()
    for number in range(MAX_AHEAD):
        assert not clock.full(10)
        clock.set_tempo(100.0, 1000 + number, 10)
    assert clock.full(10) and clock.full(1000)
    assert not clock.full(1001), "one of them has begun"


def test_frame_of_searches_from_a_given_frame_on() -> None:
    clock = beats()
    clock.set_tempo(60.0, 1000, 0)
    clock.reset(3001, 10)
    # Beat 1 is at frame 500, and recurs after the reset.
    assert clock.frame_of(1.0) == pytest.approx(500.0)
    assert clock.frame_of(1.0, 500) == pytest.approx(500.0)
    assert clock.frame_of(1.0, 501) == pytest.approx(4001.0)
    assert clock.frame_of(0.0, 10) == 3001.0, "the reset is beat 0"
    assert clock.frame_of(3.0, 2000) == pytest.approx(6001.0)
    assert clock.frame_of(0.5, 5000) == pytest.approx(3501.0), "it does not recur"
    assert clock.frame_of(3.9, 10) == pytest.approx(2899.5)
    assert clock.frame_of(-1.0, 10) == pytest.approx(-500.0), "its tempo applies before it as well"
    assert clock.frame_of_command(3.9, 10) == 2900


def test_frame_passed_returns_the_frame_of_a_past_beat() -> None:
    clock = beats()
    clock.set_tempo(60.0, 1000, 0)
    assert clock.frame_passed(1.0, 1500) == 500
    assert clock.frame_passed(2.0, 1500) == 1000
    assert clock.frame_passed(2.25, 1500) == 1250  # 1249.5, and the next whole frame
    assert clock.frame_passed(1.0, 999) == 500
    assert clock.frame_passed(-1.0, 1500) == -500
    clock.reset(3000, 1500)
    assert clock.frame_passed(1.0, 4500) == 4000 and clock.frame_passed(1.0, 2999) == 500
    assert clock.frame_passed(0.0, 3000) == 3000


def test_beats_before_the_first_segment_use_its_tempo() -> None:
    clock = beats()
    clock.set_tempo(60.0, 1000, 0)
    clock.set_tempo(240.0, 2000, 1500)
    clock.set_tempo(60.0, 5000, 3000)
    assert len(clock._past) == 3
    assert clock.frame_passed(-1.0, 4000) == -500


def test_the_next_multiple_of_a_quantum() -> None:
    clock = beats()
    assert [clock.next_beat(4.0, frame) for frame in (0, 1, 1999, 2000, 2001)] == [0, 4, 4, 4, 8]
    assert clock.next_beat(0.25, 130) == 0.5
    near = NEAR_BEAT * 500
    assert clock.next_beat(1.0, 500 + 0.5 * near) == 1.0, "this close to a beat counts as on it"
    assert clock.next_beat(1.0, 500 + 1.5 * near) == 2.0


def test_the_frame_of_a_start_counts_from_the_reset() -> None:
    clock = beats()
    assert [clock.frame_of_start(at, 700) for at in (-1.0, 0.0, 0.5)] == [0, 0, 1200]
    clock.reset(100, 0)
    assert clock.frame_of_start(0.5, 700) == 600 and clock.frame_of_start(0.0, 700) == 0
    clock.reset(0, 0)
    assert clock.frame_of_start(0.5, 700) == 500, "frame 0 is a reset as well"


# --- resets -----------------------------------------------------------------------------------


def test_a_pending_reset_starts_at_beat_zero() -> None:
    clock = beats()
    assert clock.reset(1000, 10) == [(1000, TempoSegment.steady(1000, 0.0, 0.002))]
    assert clock.zero == 1000
    assert clock.beat(999) == pytest.approx(1.998) and clock.beat(1000) == 0.0
    assert beats().reset(10, 10) == [(10, TempoSegment.steady(10, 0.0, 0.002))]


def test_a_reset_within_a_ramp_keeps_the_ramp() -> None:
    clock = beats()
    clock.set_tempo(240.0, 1000, 0, frames=400)
    [(frame, segment)] = clock.reset(1200, 1100)
    assert (frame, segment.beat, segment.end) == (1200, 0.0, 0.004)
    assert segment.rate == pytest.approx(0.003) and segment.frames == 200


def test_a_late_reset_moves_past_and_pending_segments() -> None:
    clock = beats()
    clock.set_tempo(60.0, 1000, 0)
    clock.set_tempo(240.0, 3000, 0)
    ahead = clock.beat(4000)
    updates = clock.reset(500, 2000)
    assert clock.zero == 500
    assert clock.beat(500) == pytest.approx(0.0) and clock.beat(0) == pytest.approx(-1.0)
    assert clock.beat(4000) == pytest.approx(ahead - 1.0)
    assert [at for at, _stretch in updates] == [500, 3000]
    assert updates[0][1].frame == 1000 and updates[0][1].beat == pytest.approx(1.0)
    assert updates[1][1].beat == pytest.approx(clock.beat(3000))


# --- updates of the engine --------------------------------------------------------------------


def test_each_segment_is_sent_to_the_engine_once() -> None:
    clock = beats()
    first = clock.set_tempo(60.0, 1000, 0)
    second = clock.set_tempo(240.0, 3000, 0)
    assert [at for at, _stretch in first] == [1000]
    assert [at for at, _stretch in second] == [3000], "the engine has the other one already"


def test_an_obsolete_segment_is_replaced_at_its_frame() -> None:
    clock = beats()
    clock.set_tempo(240.0, 1000, 0, beat=2.0)
    updates = clock.set_tempo(60.0, 0, 0)
    # At 1000 the earlier tempo still applies; beat 2 is at 1999 (after a ramp of one frame).
    assert [at for at, _stretch in updates] == [0, 1000, 2000]
    assert updates[1][1] == updates[0][1]
    assert clock._sent.keys() == {0, 1000, 2000}


class Engine:
    """A model of the engine: it applies each update at its frame, and the latest one wins."""

    def __init__(self) -> None:
        self.updates = [(0, 0, TempoSegment.steady(0, 0.0, 0.002))]

    def take(self, updates: ClockUpdates, now: int) -> None:
        begin = len(self.updates)
        for number, (frame, segment) in enumerate(updates, begin):
            self.updates.append((max(frame, now), number, segment))

    def beat(self, frame: int) -> float:
        known = sorted(one for one in self.updates if one[0] <= frame)
        return known[-1][2].at(frame)


changes = st.tuples(
    st.sampled_from([60.0, 90.0, 120.0, 240.0]),
    st.integers(-300, 3000),  # frames ahead
    st.sampled_from([0, 0, 1, 500]),  # length of the ramp in frames
    st.sampled_from([None, None, 1.0, 4.0]),  # beat
    st.sampled_from(["tempo", "tempo", "reset", "restart"]),
    st.integers(0, 1500),  # frames that pass
)


@settings(max_examples=40)
@given(said=st.lists(changes, max_size=10))
def test_the_engine_follows_the_clock_through_any_changes(said: list[Any]) -> None:
    clock, engine, now = beats(), Engine(), 0
    for bpm, ahead, ramp, beat, what, passes in said:
        if what == "restart":
            note = json.loads(json.dumps(clock.to_state()))
            clock = BeatClock(RATE, 33.0, 7)
            clock.restore(note)
            assert json.loads(json.dumps(clock.to_state())) == note
        elif what == "reset":
            engine.take(clock.reset(now + ahead, now), now)
        else:
            updates = clock.set_tempo(bpm, now + ahead, now, frames=ramp, beats=0.5, beat=beat)
            engine.take(updates, now)
            assert [at for at, _stretch in updates] == sorted(at for at, _stretch in updates)
        for frame in (now + 1, now + 1 + passes // 2, now + 1 + passes):
            assert engine.beat(frame) == pytest.approx(clock.beat(frame), abs=1e-9)
        now += passes
    for frame in (now + 4000, now + 20_000):
        assert engine.beat(frame) == pytest.approx(clock.beat(frame), abs=1e-9)


def test_a_restored_clock_behaves_like_the_original() -> None:
    clock = beats()
    clock.set_tempo(60.0, 1000, 0, frames=100)
    clock.set_tempo(240.0, 3000, 1500, beat=3.0)
    clock.reset(5000, 1500)
    note = json.loads(json.dumps(clock.to_state()))
    later = BeatClock(RATE, 33.0, 7)
    later.restore(note)
    assert (later.meter, later.zero, later.bpm) == (4, 5000, 240.0)
    assert later.set_tempo(90.0, 4000, 2000) == clock.set_tempo(90.0, 4000, 2000)
    assert later._past == clock._past and later._ahead == clock._ahead


def test_a_change_is_an_immutable_value() -> None:
    with pytest.raises(FrozenInstanceError):
        Change(1).frame = 2  # type: ignore[misc]
    assert Change(5).place(TempoSegment.steady(0, 0.0, 0.002)) == 5
    assert Change(5, beat=2.0).place(TempoSegment.steady(0, 0.0, 0.002)) == 1000
    at_once = Change(5, rate=0.004).apply(TempoSegment.steady(0, 0.0, 0.002), 5)
    assert at_once == TempoSegment(5, 0.01, 0.002, 0.004, 1)
    reset = Change(5).apply(TempoSegment.steady(0, 0.0, 0.002), 7)
    assert reset == TempoSegment.steady(7, 0.0, 0.002)
