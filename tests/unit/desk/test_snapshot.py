"""A snapshot never mixes values of different moments."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from crowdstream.desk.opcodes import (
    OP_JUMP,
    OP_KEYLOCK,
    OP_REVERSE,
    OP_SPIN,
    OP_STOP,
    OP_SYNC,
    WORK_PUBLISHES,
    WORK_RENDERS,
)
from crowdstream.desk.snapshot import read_snapshot
from tests.support.render_harness import RATE, RenderHarness, noise

LAP = 5000  # length in frames of each voice's loop

@pytest.fixture
def harness() -> Iterator[RenderHarness]:
    with RenderHarness() as made:
        yield made


def test_during_a_turn_the_snapshot_is_that_before_the_turn(harness: RenderHarness) -> None:
    harness.start(0, harness.load(noise(4 * LAP)), rate=1.25)
    harness.render(512)
    before = read_snapshot(harness.desk)
    harness.render(256)
    # A turn in progress: some values have changed, others have not.
    harness.desk.undo_log["state"] = WORK_RENDERS
    harness.desk.clock["epoch"] -= 1
    harness.desk.clock["tempo_beat"] = 99.0
    assert read_snapshot(harness.desk) == before


def test_without_a_consistent_copy_the_last_snapshot_is_returned(harness: RenderHarness) -> None:
    harness.start(0, harness.load(noise(4 * LAP)))
    harness.render(512)
    before = read_snapshot(harness.desk)
    harness.desk.voices["position"][0] = 7
    for state, stamp in ((WORK_PUBLISHES, 0), (0, 1)):
        harness.desk.undo_log["state"], harness.desk.clock["stamp"] = state, stamp
        assert read_snapshot(harness.desk) == before
    harness.desk.clock["stamp"] = 2
    assert read_snapshot(harness.desk).positions[0] == 7


def test_a_voice_that_starts_in_the_turn_is_not_playing_yet(harness: RenderHarness) -> None:
    harness.render(256)
    harness.start(0, harness.load(noise(4 * LAP)))
    harness.render(256)
    harness.desk.undo_log["state"] = WORK_RENDERS
    assert not any(read_snapshot(harness.desk).playing)


@pytest.mark.parametrize(
    "kind", ["rate", "ramp", "synced", "reverse", "synced reverse", "keylock", "brake", "jump"]
)
def test_the_speed_matches_the_playheads_movement(harness: RenderHarness, kind: str) -> None:
    grid = harness.grid((0.0, 0.0), (100.0, 100 * 24000.0))  # 110.25 bpm, the clock runs at 120
    source = harness.load(noise(20 * 44100))
    harness.start(0, source, rate=1.3, start=300000, grid=grid)
    harness.start(1, source)
    harness.send(OP_STOP, target=1)
    harness.render(1024)
    if "synced" in kind:
        harness.send(OP_SYNC, target=0, index=1, x=1.0, y=0.25)
    if "reverse" in kind:
        harness.send(OP_REVERSE, target=0, index=1)
    if kind == "ramp":
        harness.tempo(1.5, 8000)
    if kind == "keylock":
        harness.send(OP_KEYLOCK, target=0, index=1)
    if kind == "brake":
        harness.send(OP_SPIN, target=0, x=0.0, y=20000)
    if kind == "jump":
        harness.send(OP_JUMP, target=0, y=-5000.0)
    harness.render(3000)
    now = read_snapshot(harness.desk)
    harness.render(100)
    then = read_snapshot(harness.desk)
    moved = then.positions[0] - now.positions[0]
    mean = 50 * (now.speeds[0] + then.speeds[0])
    assert moved == pytest.approx(mean, abs=1.5) and abs(moved) > 50
    wanted = {"synced": 24000 * 120 / 60 / RATE, "rate": 1.3, "jump": 1.3, "keylock": 1.3}
    if kind in wanted:
        assert now.speeds[0] == pytest.approx(wanted[kind], rel=1e-6)
    assert (now.speeds[0] < 0) == ("reverse" in kind)
    assert now.playing[:2] == (True, False) and now.speeds[1] == 0.0
    assert now.bpm == pytest.approx(120 * harness._tempo(now.frame))
    # Keylock's splices keep its playhead near the other one; without keylock there is only one.
    near = 4000.0 if kind == "keylock" else 1.001
    assert abs(now.audible_positions[0] - now.positions[0]) <= near
    assert (abs(now.audible_positions[0] - now.positions[0]) > 1.001) == (kind == "keylock")


def test_a_voice_at_its_end_has_speed_zero(harness: RenderHarness) -> None:
    harness.start(0, harness.load(noise(1000)))
    harness.render(1200)
    now = read_snapshot(harness.desk)
    assert (now.playing[0], now.positions[0], now.speeds[0], now.audible_positions[0]) == (
        True,
        1000,
        0,
        1000,
    )


@pytest.mark.parametrize("backward", [False, True])
def test_the_audible_position_follows_loops_like_the_playhead(
    harness: RenderHarness, backward: bool
) -> None:
    harness.start(0, harness.load(noise(20000)), start=8100, rate=1.7, loop=(8000, 8150))
    harness.start(1, harness.load(noise(20000)), start=7000, rate=0.6, loop=(3000, 7003), deck=1)
    harness.send(OP_REVERSE, target=0, index=int(backward))
    harness.send(OP_REVERSE, target=1, index=int(backward))
    for _ in range(400):
        harness.render(37)
        now = read_snapshot(harness.desk)
        for voice in (0, 1):
            assert abs(now.audible_positions[voice] - now.positions[voice]) < 1.001
    assert np.ptp(now.positions[:2]) > 0
