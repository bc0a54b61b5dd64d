"""The undo log: a turn's changes are restored, and the turn is rendered again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import (
    EV_ENDED,
    OP_CANCEL,
    OP_SPIN,
    WORK_IDLE,
    WORK_PUBLISHES,
    WORK_RENDERS,
)
from crowdstream.desk.ramps import VOICE_SPIN, voice_ramp
from crowdstream.engine.precompiled import kernels
from tests.support.busy_scene import scene
from tests.support.effect_harness import put
from tests.support.offline_server import RATE, Rig
from tests.support.render_harness import RenderHarness, noise

STATE = (
    "clock", "decks", "ramps", "voices", "history", "stem_past", "stem_eq", "stem_eq_use",
    "stem_filter", "eq", "eq_use", "filter", "limiter", "chains", "effects", "effect_registers",
    "metering", "meters", "cue_line", "delay_line", "taps",
)  # fmt: skip


def test_every_turn_can_be_restored_and_rendered_again(tmp_path: Path) -> None:
    """Restore all changes of a turn: rendered again, it has the same result."""
    with Rig(memory_mb=64, block=256) as rig:
        scene(rig, tmp_path)
        desk = rig.desk
        desk.undo_log["off"] = 0
        made = kernels()

        def turn() -> tuple[bytes, dict[str, bytes]]:
            made.render_at(desk.address, out.ctypes.data, len(out))
            state = {
                name: os.pread(desk.fd, REGIONS[name].dtype.itemsize
                               * int(np.prod(REGIONS[name].shape)), REGIONS[name].offset)
                for name in STATE
            }  # fmt: skip
            return out.tobytes(), state

        out = np.zeros((256, 2), np.float32)
        turn()  # receives the commands, which are not published again
        for _ in range(5 * RATE // 256):
            frame, epoch = desk.frame, int(desk.clock["epoch"])
            events = int(desk.rings["event_head"])
            sound, state = turn()
            assert desk.frame == frame + 256
            desk.undo_log["state"] = WORK_RENDERS
            made.recover(desk.address)
            assert (desk.frame, int(desk.clock["epoch"])) == (frame, epoch)
            desk.rings["event_head"] = events
            again, after = turn()
            assert again == sound, f"frame {frame}"
            assert [name for name in STATE if after[name] != state[name]] == [], f"frame {frame}"


def test_unpublished_results_are_published_by_the_successor(tmp_path: Path) -> None:
    with Rig(memory_mb=64, block=256) as rig:
        scene(rig, tmp_path)
        desk = rig.desk
        before = desk.frame, int(desk.clock["epoch"]), int(desk.rings["command_tail"])
        rig.step()
        after = desk.frame, int(desk.clock["epoch"]), int(desk.rings["command_tail"])
        assert after[0] == before[0] + 256 and after[1] == before[1] + 1 and after[2] > before[2]
        desk.clock["frame"], desk.clock["epoch"], desk.rings["command_tail"] = before
        desk.clock["stamp"] += 1  # it also died while writing the time
        desk.undo_log["state"] = WORK_PUBLISHES
        kernels().recover(desk.address)
        assert (desk.frame, int(desk.clock["epoch"]), int(desk.rings["command_tail"])) == after
        assert int(desk.clock["stamp"]) % 2 == 0
        assert int(desk.undo_log["state"]) == WORK_IDLE


def turn_again(harness: RenderHarness) -> None:
    """Render 256 frames, and again as the successor of an engine that died just before the end."""
    desk = harness.desk
    rings = {name: int(desk.rings[name]) for name in ("event_head", "command_tail")}
    once = harness.render(256)
    desk.undo_log["state"] = WORK_RENDERS
    for name, value in rings.items():
        desk.rings[name] = value
    kernels().recover(desk.address)
    assert np.array_equal(harness.render(256), once)


def test_a_start_that_was_cancelled_in_a_repeated_turn_is_reported() -> None:
    with RenderHarness() as harness:
        harness.push(harness.start_command(3, harness.load(noise(20000)), frame=5000))
        harness.send(OP_CANCEL, target=3, frame=1100)
        harness.render(1024)
        turn_again(harness)
        events = harness.events()
        assert events["target"][events["kind"] == EV_ENDED].tolist() == [3]


def test_all_platters_that_brake_in_a_repeated_turn_come_to_rest() -> None:
    with RenderHarness() as harness:
        source = harness.load(noise(60000))
        for voice in range(3):
            harness.start(voice, source, deck=voice)
            harness.send(OP_SPIN, target=voice, x=0.0, y=5000.0, frame=1100)
        harness.render(1024)
        turn_again(harness)
        harness.render(6000)
        rows = [voice_ramp(voice, VOICE_SPIN) for voice in range(3)]
        assert not harness.desk.ramps["value"][rows].any()


@pytest.mark.parametrize("name", ["echo", "reverb", "roll"])
def test_an_effect_that_enters_in_a_repeated_turn_sounds_the_same(name: str) -> None:
    heard = []
    for repeated in (False, True):
        with RenderHarness() as harness:
            harness.start(0, harness.load(noise(60000)))
            harness.render(1024)
            put(harness, 0, name, frame=1100)
            if repeated:
                turn_again(harness)
            else:
                harness.render(256)
            heard.append(harness.render(40000))
    assert np.array_equal(heard[0], heard[1])
