"""Sync, loops and jumps, by measuring the playhead's position in the output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from crowdstream.desk.opcodes import (
    EV_LATE,
    EV_REFUSED,
    LOOP_AGAIN,
    LOOP_EXIT,
    LOOP_HERE,
    LOOP_IN,
    LOOP_MOVE,
    LOOP_OUT,
    LOOP_SCALE,
    LOOP_SET,
    OP_CLOCK,
    OP_GRID,
    OP_JUMP,
    OP_LOOP,
    OP_REVERSE,
    OP_SEEK,
    OP_SLIP,
    OP_SPIN,
    OP_STOP,
    OP_SYNC,
)
from tests.support.position_track import (
    BEAT,
    FIRST,
    LENGTH,
    SETTLED,
    TRACK_BEAT,
    grid,
    phase_error,
    places,
    synced,
    track,
)
from tests.support.render_harness import RATE, RenderHarness, noise


@pytest.fixture
def harness() -> Iterator[RenderHarness]:
    with RenderHarness() as harness:
        yield harness


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_a_synced_deck_has_no_phase_error(harness: RenderHarness, ratio: float) -> None:
    synced(harness, start=9000, x=ratio)
    out = harness.render(60000, [64, 1000])
    assert np.abs(phase_error(harness, out, 0, ratio)[SETTLED:]).max() < 0.05


def test_a_synced_deck_has_no_phase_error_through_tempo_ramps(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    harness.tempo(1.1, 50001, frame=10007)
    harness.tempo(0.9, 7, frame=70001)
    harness.tempo(1.0, 30000, frame=90001)
    out = harness.render(200000, [256, 77, 2048])
    assert np.abs(phase_error(harness, out, 0)[SETTLED:]).max() < 0.6


def test_a_synced_deck_has_no_phase_error_after_hours(harness: RenderHarness) -> None:
    begin = 6 * 3600 * int(RATE)
    harness.desk.clock["frame"] = begin
    harness.start(0, track(harness), grid=grid(harness), loop=(5000, 105000))
    harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0)
    harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=4.0, y=1.0)
    out = harness.render(200000, 2048)
    joins = _joins(out)
    error = np.abs(phase_error(harness, out, begin))
    assert np.all(error[_away_from(joins, len(out))] < 0.55)  # a lap has a whole number of frames


def _joins(out: np.ndarray) -> np.ndarray:
    steps = np.diff(places(out))
    return np.flatnonzero((steps < -100) | (steps > 100))


def _away_from(joins: np.ndarray, length: int) -> np.ndarray:
    away = np.ones(length, bool)
    away[:SETTLED] = False
    for join in joins:
        away[max(0, join - SETTLED) : join + SETTLED] = False
    # Crossfades yield values between the two positions.
    return away


def test_a_synced_deck_has_no_phase_error_after_seeks_and_jumps(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    harness.send(OP_SEEK, target=0, start=91234, frame=20011)
    harness.send(OP_JUMP, target=0, index=1, y=-2.0, frame=50001)
    harness.send(OP_JUMP, target=0, index=0, y=12345.0, frame=80001)
    out = harness.render(110000, [512, 31])
    error = np.abs(phase_error(harness, out, 0))
    for begin, end in ((500, 20000), (20500, 50000), (50500, 80000), (80500, 110000)):
        assert error[begin:end].max() < 0.51
    heard = places(out)
    assert abs(heard[20600] - 91234) < TRACK_BEAT / 2 + 600
    assert heard[50500] - heard[50000] == pytest.approx(
        -2 * TRACK_BEAT + 500 * TRACK_BEAT / BEAT, abs=0.1
    )


@pytest.mark.parametrize("beats", [1 / 32, 1 / 8, 1.0, 4.0])
def test_beat_loops_repeat_exactly(harness: RenderHarness, beats: float) -> None:
    synced(harness, start=int(FIRST))
    harness.send(
        OP_LOOP, target=0, index=LOOP_HERE, x=beats, y=min(beats, 1.0), frame=int(BEAT * 2)
    )
    length = round(BEAT * max(8 * beats, 2))
    out = harness.render(int(BEAT * 2) + length, 300)
    heard = places(out)[int(BEAT * 2) + SETTLED :]
    begin = FIRST + 2 * TRACK_BEAT
    assert heard.max() < begin + beats * TRACK_BEAT + 1
    assert heard.min() > begin - 130  # crossfaded in from just before the loop
    # One lap later the same sound is repeated, to the frame.
    lap = beats * BEAT
    late = places(out)[-6000:-4000]
    whole = round(lap)
    if abs(lap - whole) < 1e-9 and len(out) > 3 * whole + 6000:
        early = places(out)[-6000 - whole : -4000 - whole]
        assert np.abs(late - early).max() < 1.1  # a lap is a whole number of file frames


def test_leaving_a_loop_leaves_no_phase_error(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.25, y=0.25, frame=30000)
    harness.send(OP_LOOP, target=0, index=LOOP_EXIT, frame=90000)
    out = harness.render(120000, 333)
    assert np.abs(phase_error(harness, out, 0)[90000 + SETTLED :]).max() < 0.05


def test_manual_loops_can_be_scaled_moved_left_and_re_entered(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    at = [int(BEAT * beat) for beat in range(20)]
    harness.send(OP_LOOP, target=0, index=LOOP_IN, y=1.0, frame=at[1] + 700)
    harness.send(OP_LOOP, target=0, index=LOOP_OUT, y=1.0, frame=at[2] - 300)
    harness.send(OP_LOOP, target=0, index=LOOP_SCALE, x=0.5, frame=at[4])
    harness.send(OP_LOOP, target=0, index=LOOP_SCALE, x=4.0, frame=at[6])
    harness.send(OP_LOOP, target=0, index=LOOP_MOVE, x=2.0, frame=at[10])
    harness.send(OP_LOOP, target=0, index=LOOP_EXIT, frame=at[15])
    harness.send(OP_LOOP, target=0, index=LOOP_AGAIN, frame=at[17])

    def loop() -> tuple[float, float]:
        voice = harness.desk.voices[0]
        begin = (int(voice["loop_in"]) - FIRST) / TRACK_BEAT
        return round(begin, 3), round(float(voice["loop_exact"]) / TRACK_BEAT, 6)

    harness.render(at[3])
    assert loop() == (1.0, 1.0)
    harness.render(at[5] - at[3])
    assert loop() == (1.0, 0.5)
    harness.render(at[9] - at[5])
    assert loop() == (1.0, 2.0)
    harness.render(at[14] - at[9])
    assert loop() == (3.0, 2.0)
    harness.render(at[16] - at[14])
    assert not harness.desk.voices[0]["loop"]
    harness.render(at[19] - at[16])
    assert harness.desk.voices[0]["loop"] and loop() == (3.0, 2.0)


@pytest.mark.parametrize(("what", "x"), [(LOOP_SCALE, 0.5), (LOOP_MOVE, 1.0)])
def test_a_loop_that_was_left_is_changed_without_moving_the_playhead(
    harness: RenderHarness, what: int, x: float
) -> None:
    harness.start(0, track(harness), grid=grid(harness))
    harness.send(OP_LOOP, target=0, index=LOOP_SET, loop_in=10000, loop_out=30000, frame=20000)
    harness.send(OP_LOOP, target=0, index=LOOP_EXIT, frame=25000)
    harness.send(OP_LOOP, target=0, index=what, x=x, frame=60000)
    heard = places(harness.render(70000))
    assert np.abs(heard - np.arange(70000)).max() < 0.1
    assert not harness.desk.voices[0]["loop"]
    wanted = 10000.0 if what == LOOP_SCALE else 20000.0
    assert float(harness.desk.voices[0]["loop_exact"]) == pytest.approx(wanted, abs=0.5)


def test_a_loop_that_does_not_fit_the_track_is_refused(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    harness.render(100)
    harness.events()
    refused = [
        harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=64.0),
        harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.0),
        harness.send(OP_LOOP, target=0, index=LOOP_SET, loop_in=100, loop_out=LENGTH + 1),
        harness.send(OP_LOOP, target=0, index=LOOP_OUT),
        harness.send(OP_LOOP, target=0, index=LOOP_MOVE, x=-4.0),
    ]
    before = harness.desk.voices[0]["loop"]
    harness.render(100)
    events = harness.events()
    assert events["serial"][events["kind"] == EV_REFUSED].tolist() == refused
    assert harness.desk.voices[0]["loop"] == before == 0


def test_a_playhead_past_a_new_loop_jumps_into_it(harness: RenderHarness) -> None:
    harness.start(0, track(harness))
    harness.send(OP_LOOP, target=0, index=LOOP_SET, loop_in=10000, loop_out=14000, frame=30500)
    out = harness.render(40000)
    heard = places(out)
    assert heard[30499] == pytest.approx(30499, abs=0.1)
    # 30500 is 4 loop lengths and 500 frames past 14000: the same position within the loop.
    assert heard[31000] == pytest.approx(10000 + (31000 - 10000) % 4000, abs=0.1)


def test_turning_sync_off_keeps_the_speed(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    harness.send(OP_SYNC, target=0, index=0, frame=20000)
    harness.tempo(1.2, 0, frame=30000)
    heard = places(harness.render(50000))
    speed = TRACK_BEAT / BEAT
    assert heard[29000] - heard[21000] == pytest.approx(8000 * speed, abs=0.1)
    assert heard[45000] - heard[35000] == pytest.approx(10000 * 1.2 * speed, abs=0.1)


def test_a_grid_of_several_tempos_is_followed(harness: RenderHarness) -> None:
    points = [(0.0, 1000.0), (4.0, 81000.0), (6.0, 131000.0), (7.0, 150000.0)]
    harness.start(0, track(harness), start=1000, grid=harness.grid(*points))
    harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0)
    out = harness.render(int(BEAT * 8), [256, 1001])
    beats = np.arange(len(out)) / BEAT
    wanted = np.interp(beats, [b for b, _ in points], [f for _, f in points])
    wanted = np.where(beats > 7, 150000 + (beats - 7) * 19000, wanted)
    assert np.abs(places(out) - wanted)[SETTLED:].max() < 0.1


def test_another_grid_moves_a_synced_deck_into_phase(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    other = harness.grid((0.0, 5000.0), (1.0, 5000.0 + TRACK_BEAT))
    harness.send(OP_GRID, target=0, index=other, frame=30000)
    out = harness.render(60000)
    heard = (places(out)[31000:] - 5000.0) / TRACK_BEAT
    off = heard - np.arange(31000, 60000) / BEAT
    assert np.abs(off - np.round(off)).max() * TRACK_BEAT < 0.05


def test_commands_act_on_their_beat_through_tempo_changes(harness: RenderHarness) -> None:
    source = harness.load(noise(40000, peak=0.5))
    record = harness.start_command(0, source)
    record["by_beat"], record["beat"] = 1, 4.0
    harness.push(record)
    harness.tempo(2.0, 20000, frame=5000)
    frame = next(f for f in range(10**6) if harness.beat(f) >= 4.0 - 1e-9)
    out = harness.render(frame + 5000, 300)
    assert np.flatnonzero(out.any(axis=1))[0] == frame
    assert harness.started() == [frame]


def test_a_beat_that_has_passed_is_late(harness: RenderHarness) -> None:
    harness.start(0, harness.load(noise(40000)))
    harness.render(int(BEAT) + 100)
    harness.events()
    stop = harness.command(OP_STOP, target=0)
    stop["by_beat"], stop["beat"] = 1, 1.0
    harness.push(stop)
    harness.render(64)
    late = harness.events()
    late = late[late["kind"] == EV_LATE]
    assert late["value"].tolist() == [100.0]


def test_a_jump_of_the_clock_realigns_synced_decks(harness: RenderHarness) -> None:
    synced(harness, start=int(FIRST))
    base = float(harness.desk.clock["tempo_base"])
    harness.send(OP_CLOCK, frame=30000, start=30000, x=0.0, y=base, z=base)
    out = harness.render(60000)
    heard = (places(out)[30000 + SETTLED :] - FIRST) / TRACK_BEAT
    off = heard - np.arange(SETTLED, 30000) / BEAT
    assert np.abs(off - np.round(off)).max() * TRACK_BEAT < 0.05


def test_sync_needs_a_grid(harness: RenderHarness) -> None:
    harness.start(0, track(harness))
    serial = harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0)
    harness.render(10)
    events = harness.events()
    assert events["serial"][events["kind"] == EV_REFUSED].tolist() == [serial]
    assert not harness.desk.voices[0]["synced"]


def test_a_synced_deck_at_the_recorded_tempo_is_bit_exact(harness: RenderHarness) -> None:
    samples = noise(60000)
    grid = harness.grid((0.0, 0.0), (1.0, BEAT))
    harness.start(0, harness.load(samples), grid=grid)
    harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0)
    out = harness.render(50000, 100)
    assert np.array_equal(out, samples[:50000] / np.float32(32768))


def test_block_lengths_change_no_bit() -> None:
    def rendered(blocks: list[int]) -> np.ndarray:
        with RenderHarness() as harness:
            harness.start(0, harness.load(noise(200000)), grid=grid(harness))
            harness.start(1, harness.load(noise(200000, seed=1)), grid=grid(harness), deck=1)
            harness.send(OP_SYNC, target=0, index=1, x=1.0, y=1.0, frame=777)
            harness.tempo(1.3, 30001, frame=5003)
            harness.send(OP_SLIP, target=0, index=1, frame=20001)
            harness.send(OP_LOOP, target=0, index=LOOP_HERE, x=0.125, y=0.125, frame=21001)
            harness.send(OP_LOOP, target=0, index=LOOP_EXIT, frame=40003)
            harness.send(OP_REVERSE, target=1, index=1, frame=23007)
            harness.send(OP_SPIN, target=1, x=0.0, y=7001, frame=30001)
            harness.send(OP_SPIN, target=1, x=1.0, y=3001, frame=39001)
            harness.send(OP_SPIN, target=0, x=0.0, y=3001, frame=50001)
            harness.send(OP_SPIN, target=0, x=1.0, y=3001, frame=55001)
            return harness.render(70000, blocks)

    whole = rendered([256])
    for blocks in ([1000, 1, 7], [64], [2048]):
        assert np.array_equal(rendered(blocks), whole)
