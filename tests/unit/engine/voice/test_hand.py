"""Slip, reverse and platter, by measuring the playhead's position in the output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from crowdstream.desk.opcodes import (
    LOOP_EXIT,
    LOOP_HERE,
    OP_CLOCK,
    OP_GRID,
    OP_JUMP,
    OP_LOOP,
    OP_REVERSE,
    OP_SLIP,
    OP_SPIN,
    OP_SYNC,
)
from crowdstream.desk.ramps import VOICE_RATE, voice_ramp
from tests.support.position_track import (
    BEAT,
    FIRST,
    SETTLED,
    TRACK_BEAT,
    grid,
    phase_error,
    places,
    synced,
    track,
)
from tests.support.render_harness import RenderHarness


@pytest.fixture
def harness() -> Iterator[RenderHarness]:
    with RenderHarness() as harness:
        yield harness


def test_slip_returns_to_where_the_track_would_be(harness: RenderHarness) -> None:
    harness.start(0, track(harness), grid=grid(harness))
    harness.send(OP_SLIP, target=0, index=1, frame=10000)
    harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.25, frame=12000)
    harness.send(OP_LOOP, target=0, index=LOOP_EXIT, frame=40000)
    harness.send(OP_REVERSE, target=0, index=1, frame=50000)
    harness.send(OP_REVERSE, target=0, index=0, frame=55000)
    harness.send(OP_JUMP, target=0, index=0, y=-9000.0, frame=60000)
    harness.send(OP_SLIP, target=0, index=0, frame=70000)
    out = harness.render(80000, [64, 1000])
    heard = places(out)
    for frame in (11000, 41000, 49999, 56000, 59999, 71000, 79999):
        assert heard[frame] == pytest.approx(frame, abs=0.1)
    assert heard[61000] == pytest.approx(61000 - 9000, abs=0.1)
    assert heard[39000] < 12000 + TRACK_BEAT / 4


def test_a_synced_deck_returns_from_slip_in_phase(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    plain = places(harness.render(100000))
    with RenderHarness() as other:
        synced(other, start=int(FIRST))
        other.send(OP_SLIP, target=0, index=1, frame=10000)
        other.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.5, y=0.5, frame=20000)
        other.send(OP_LOOP, target=0, index=LOOP_EXIT, frame=51234)
        other.send(OP_SPIN, target=0, x=0.0, y=8000, frame=60000)
        other.send(OP_SPIN, target=0, x=1.0, y=3000, frame=75000)
        out = places(other.render(100000))
    for begin, end in ((52000, 59999), (79000, 99999)):
        assert np.abs(out[begin:end] - plain[begin:end]).max() < 0.6


def test_reverse_retraces_the_positions_at_the_same_rate(harness: RenderHarness) -> None:
    harness.start(0, track(harness), rate=1.06)
    harness.send(OP_REVERSE, target=0, index=1, frame=40000)
    harness.send(OP_REVERSE, target=0, index=0, frame=60000)
    heard = places(harness.render(80000, 100))
    assert heard[50000] == pytest.approx(1.06 * 30000, abs=0.1)
    assert heard[79999] == pytest.approx(1.06 * (20000 + 19999), abs=0.1)


def test_a_synced_deck_in_reverse_loops_in_phase(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST + 4 * TRACK_BEAT))
    at = [int(BEAT * beat) for beat in range(12)]
    harness.send(OP_REVERSE, target=0, index=1, frame=at[2])
    harness.send(OP_REVERSE, target=0, index=0, frame=at[4])
    out = harness.render(at[6], 500)
    heard = places(out)
    # In reverse from a beat on, the track's beats still fall on the clock's beats.
    assert (heard[at[3] + 500] - FIRST) / TRACK_BEAT == pytest.approx(5.0 - 500 / BEAT, abs=1e-4)
    assert np.abs(phase_error(harness, out, 0)[at[4] + SETTLED :]).max() < 0.6


def test_brake_and_spin_up_bend_the_position_without_a_click(harness: RenderHarness) -> None:
    harness.start(0, track(harness))
    harness.send(OP_SPIN, target=0, x=0.0, y=20000, frame=10000)
    harness.send(OP_SPIN, target=0, x=1.0, y=10000, frame=50000)
    out = harness.render(80000, [64, 999])
    assert not out[30001:50000].any(), "a platter at rest is silent"
    place = float(places(out)[-1])
    # 10000 frames, half of 20000 while braking, half of 10000 while spinning up, and the rest.
    assert place == pytest.approx(10000 + 10000 + 5000 + 19999, abs=1.5)
    # Never a step: the sound bends with the ramp, and fades out as the platter comes to rest.
    assert np.abs(np.diff(out[:, 0])).max() < 3e-4


def test_a_brake_with_stop_ends_the_voice(harness: RenderHarness) -> None:
    harness.start(0, track(harness))
    harness.send(OP_SPIN, target=0, x=0.0, y=5000, index=1, frame=1000)
    harness.render(9000)
    assert not harness.desk.voices["state"].any()


def test_a_synced_deck_is_back_in_phase_after_brake_and_spin_up(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    harness.send(OP_SPIN, target=0, x=0.0, y=9000, frame=30000)
    harness.send(OP_SPIN, target=0, x=1.0, y=4000, frame=50000)
    out = harness.render(80000, 700)
    assert np.abs(phase_error(harness, out, 0)[54000 + SETTLED :]).max() < 0.05


def test_a_track_is_not_synced_because_the_one_before_it_was_braked(
    harness: RenderHarness,
) -> None:
    synced(harness, start=int(FIRST))
    harness.send(OP_SPIN, target=0, x=0.0, y=5000, index=1, frame=1000)
    harness.render(9000)
    assert not harness.desk.voices["state"].any()
    harness.start(0, track(harness))  # without a beat grid
    harness.send(OP_SPIN, target=0, x=0.0, y=2000, frame=10000)
    harness.send(OP_SPIN, target=0, x=1.0, y=2000, frame=14000)
    harness.render(4000)
    assert not harness.desk.voices[0]["resync"]
    harness.render(5000)
    assert not harness.desk.voices[0]["synced"]


def test_a_track_that_loses_its_grid_at_rest_is_not_synced_again(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    harness.send(OP_SPIN, target=0, x=0.0, y=5000, frame=1000)
    harness.send(OP_GRID, target=0, index=-1, frame=8000)
    harness.render(9000)
    assert not harness.desk.voices[0]["resync"]
    harness.send(OP_SPIN, target=0, x=1.0, y=5000)
    harness.render(9000)
    assert not harness.desk.voices[0]["synced"]


def test_the_slip_position_follows_a_changing_rate(harness: RenderHarness) -> None:
    def play(made: RenderHarness, slip: int, blocks: int) -> np.ndarray:
        made.start(0, track(made), grid=grid(made))
        made.send(OP_SLIP, target=0, index=slip, frame=1000)
        made.ramp(voice_ramp(0, VOICE_RATE), 2.0, 4000, frame=2000)
        if slip:
            made.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.25, frame=3000)
            made.send(OP_SLIP, target=0, index=0, frame=20000)
        return places(made.render(30000, blocks))[20000 + SETTLED :]

    plain = play(harness, 0, 256)
    for blocks in (256, 100):
        with RenderHarness() as other:
            assert np.abs(play(other, 1, blocks) - plain).max() < 0.1


def test_a_brake_that_was_cut_short_does_not_disturb_slip_later(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    plain = places(harness.render(80000))
    with RenderHarness() as other:
        synced(other, start=int(FIRST))
        other.send(OP_SLIP, target=0, index=1, frame=10000)
        other.send(OP_SPIN, target=0, x=0.0, y=40000, frame=20000)
        other.send(OP_SPIN, target=0, x=1.0, y=2000, frame=30000)
        out = places(other.render(80000))
    assert np.abs(out[33000:] - plain[33000:]).max() < 0.6


def test_a_track_that_is_synced_during_a_soft_start_does_not_jump(harness: RenderHarness) -> None:
    harness.start(0, track(harness), grid=grid(harness))
    harness.send(OP_SLIP, target=0, index=1, frame=5000)
    harness.send(OP_SPIN, target=0, x=1.0, y=8000, frame=10000)  # at full speed already
    harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0, frame=11000)
    heard = places(harness.render(30000))
    assert heard[25000] == pytest.approx(heard[15000] + 10000 * SPEED, abs=0.1)


SPEED = TRACK_BEAT / BEAT  # of a synced track: file frames per frame


def test_sync_switched_on_in_slip_mode_keeps_the_slip_position(harness: RenderHarness) -> None:
    harness.start(0, track(harness), start=20000, grid=grid(harness))
    harness.send(OP_SLIP, target=0, index=1, frame=30000)
    harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0, frame=40000)
    harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.5, y=0.5, frame=50000)
    harness.send(OP_SLIP, target=0, index=0, frame=90000)
    heard = places(harness.render(100000))
    assert heard[95000] == pytest.approx(heard[45000] + 50000 * SPEED, abs=0.5)


def test_sync_switched_off_in_slip_mode_keeps_the_slip_position(harness: RenderHarness) -> None:
    synced(harness, start=20000)
    harness.send(OP_SLIP, target=0, index=1, frame=30000)
    harness.send(OP_SYNC, target=0, index=0, frame=60000)
    harness.send(OP_SLIP, target=0, index=0, frame=70000)
    heard = places(harness.render(80000))
    assert heard[75000] == pytest.approx(heard[29000] + 46000 * SPEED, abs=0.5)


def test_a_jump_of_the_clock_does_not_move_the_slip_position(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST + TRACK_BEAT))
    harness.send(OP_SLIP, target=0, index=1, frame=1000)
    rate, at = float(harness.desk.clock["tempo_end"]), int(2 * BEAT)
    harness.send(OP_CLOCK, start=at, x=0.0, y=rate, z=rate, frame=at)
    harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.5, y=0.5, frame=50000)
    harness.send(OP_SLIP, target=0, index=0, frame=90000)
    heard = places(harness.render(100000))
    assert heard[95000] == pytest.approx(heard[45000] + 50000 * SPEED, abs=0.5)


def test_another_grid_does_not_move_the_slip_position(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST + TRACK_BEAT))
    # The same beats, counted from another downbeat.
    other = harness.grid((-4.0, FIRST), (-3.0, FIRST + TRACK_BEAT))
    harness.send(OP_SLIP, target=0, index=1, frame=1000)
    harness.send(OP_GRID, target=0, index=other, frame=30000)
    harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.5, y=0.5, frame=50000)
    harness.send(OP_SLIP, target=0, index=0, frame=90000)
    heard = places(harness.render(100000))
    assert heard[95000] == pytest.approx(heard[45000] + 50000 * SPEED, abs=0.5)


def test_slip_mode_that_begins_in_reverse_runs_forward_from_there(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST + 4 * TRACK_BEAT))
    at = [int(BEAT * beat) for beat in range(6)]
    harness.send(OP_REVERSE, target=0, index=1, frame=at[2])
    harness.send(OP_SLIP, target=0, index=1, frame=at[3])
    harness.send(OP_REVERSE, target=0, index=0, frame=at[4])
    heard = places(harness.render(at[5], 500))
    wanted = heard[at[3] - 1] + (at[4] + 1001 - at[3]) * SPEED
    assert heard[at[4] + 1000] == pytest.approx(wanted, abs=2.0)
