"""A tempo segment: a linear ramp, then constant tempo, as an exact function of the frame."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.control.clock.clock import ROUNDING, TempoSegment, first_frame, ramp_frames

# From frame 100 and beat 8, in 40 frames from 0.5 to 1.5 beats per frame: 40 beats.
RAMP = TempoSegment(100, 8.0, 0.5, 1.5, 40)
STEADY = TempoSegment.steady(100, 8.0, 0.25)

segments = st.builds(
    TempoSegment,
    frame=st.integers(0, 10_000),
    beat=st.floats(-100.0, 100.0),
    rate=st.floats(1e-3, 2.0),
    end=st.floats(1e-3, 2.0),
    frames=st.integers(0, 2000),
)


def summed(segment: TempoSegment, frame: int) -> float:
    """Sum the mean rate of each frame from the beginning of the segment to `frame`."""
    beat = segment.beat
    for one in range(segment.frame, frame):
        beat += 0.5 * (segment.rate_at(one) + segment.rate_at(one + 1))
    return beat


def test_a_segment_of_constant_tempo() -> None:
    assert TempoSegment(100, 8.0, 0.25, 0.25, 0) == STEADY
    assert STEADY.slope == 0.0
    assert [STEADY.at(frame) for frame in (0, 96, 100, 104, 1000)] == [-17.0, 7.0, 8.0, 9.0, 233.0]
    assert {STEADY.rate_at(frame) for frame in (0, 99, 100, 101, 9999)} == {0.25}
    assert [STEADY.frame_of(beat) for beat in (-17.0, 7.0, 8.0, 9.0)] == [0.0, 96.0, 100.0, 104.0]


def test_a_ramp_begins_at_its_frame_and_stays_at_its_end() -> None:
    assert RAMP.slope == 0.025
    assert [RAMP.rate_at(frame) for frame in (0, 99, 100, 120, 139, 140, 141, 9999)] == [
        0.5, 0.5, 0.5, 1.0, pytest.approx(1.475), 1.5, 1.5, 1.5,
    ]  # fmt: skip
    # 40 frames at a mean of 1 beat per frame; the first half of them at 0.75.
    assert [RAMP.at(frame) for frame in (90, 98, 100, 120, 140, 142)] == [
        3.0, 7.0, 8.0, 23.0, 48.0, 51.0,
    ]  # fmt: skip


def test_the_frame_of_a_beat_in_each_part() -> None:
    places = {3.0: 90.0, 7.0: 98.0, 8.0: 100.0, 23.0: 120.0, 48.0: 140.0, 51.0: 142.0}
    for beat, frame in places.items():
        assert RAMP.frame_of(beat) == pytest.approx(frame, abs=1e-9)


def test_a_ramp_may_slow_down() -> None:
    slower = TempoSegment(0, 0.0, 1.0, 0.5, 100)
    assert slower.slope == -0.005
    assert slower.at(100) == 75.0 and slower.at(50) == 43.75
    assert slower.frame_of(43.75) == pytest.approx(50.0)
    assert slower.frame_of(75.0) == 100.0 and slower.frame_of(76.0) == 102.0


@given(segment=segments, after=st.integers(0, 2500))
def test_beats_are_the_sum_of_the_tempo(segment: TempoSegment, after: int) -> None:
    frame = segment.frame + after
    assert segment.at(frame) == pytest.approx(summed(segment, frame), rel=1e-9, abs=1e-6)


@given(segment=segments, offset=st.floats(-3000.0, 3000.0))
def test_frame_of_is_the_inverse_of_at(segment: TempoSegment, offset: float) -> None:
    frame = segment.frame + offset
    assert segment.frame_of(segment.at(frame)) == pytest.approx(frame, abs=1e-4)


@given(segment=segments, later=st.integers(0, 2500), further=st.integers(0, 2500))
def test_a_continued_segment_has_the_same_tempo(
    segment: TempoSegment, later: int, further: int
) -> None:
    frame = segment.frame + later
    rest = segment.continued(frame, 1000.0)
    assert (rest.frame, rest.beat, rest.end) == (frame, 1000.0, segment.end)
    assert rest.rate_at(frame + further) == pytest.approx(segment.rate_at(frame + further))
    passed = rest.at(frame + further) - 1000.0
    expected = segment.at(frame + further) - segment.at(frame)
    assert passed == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_finished_ramp_continues_at_constant_tempo() -> None:
    assert RAMP.continued(139, 0.0) == TempoSegment(139, 0.0, RAMP.rate_at(139), 1.5, 1)
    assert RAMP.continued(140, 0.0) == TempoSegment.steady(140, 0.0, 1.5)
    assert RAMP.continued(141, 0.0) == TempoSegment.steady(141, 0.0, 1.5)
    assert RAMP.continued(110, 2.0) == TempoSegment(110, 2.0, 0.75, 1.5, 30)


def test_first_frame_rounds_up() -> None:
    assert [first_frame(one) for one in (7.0, 7.1, 7.9, -0.5)] == [7, 8, 8, 0]
    assert first_frame(7.0 + 0.9 * ROUNDING) == 7, "this little after a frame is still that frame"
    assert first_frame(7.0 + 1.1 * ROUNDING) == 8
    assert ROUNDING == 1e-6, "as in the engine"


def test_the_length_of_a_ramp_in_frames() -> None:
    assert ramp_frames(0.5, 1.5, 40.0) == 40
    assert ramp_frames(1.5, 0.5, 40.4) == 40
    assert ramp_frames(0.25, 0.25, 10.0) == 40
    assert ramp_frames(1.0, 1.0, 0.0) == 1, "a ramp has at least one frame"
    assert ramp_frames(1.0, 1.0, 2.0) == 2


@given(rate=st.floats(1e-3, 2.0), end=st.floats(1e-3, 2.0), beats=st.floats(1.0, 500.0))
def test_a_ramp_lasts_its_beats(rate: float, end: float, beats: float) -> None:
    frames = ramp_frames(rate, end, beats)
    segment = TempoSegment(0, 0.0, rate, end, frames)
    assert segment.at(frames) == pytest.approx(beats, abs=0.5 * (rate + end))


def test_a_segment_is_an_immutable_value() -> None:
    with pytest.raises(FrozenInstanceError):
        RAMP.beat = 9.0  # type: ignore[misc]
    assert replace(RAMP) == RAMP and hash(replace(RAMP)) == hash(RAMP)
