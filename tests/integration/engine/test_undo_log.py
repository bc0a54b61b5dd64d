"""An engine may be killed at any moment: its successor continues bit-exactly."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_ROWS
from tests.support.busy_scene import scene
from tests.support.environment import PROJECT, child_environment
from tests.support.offline_server import RATE, Rig

FRAMES = 6 * RATE
SCRIPT = PROJECT / "tests" / "support" / "killed_renders.py"


def copy_of(fd: int) -> int:
    """Return the descriptor of a memory file with the same contents; holes stay holes."""
    size = os.fstat(fd).st_size
    made = os.memfd_create("copy")
    os.ftruncate(made, size)
    at = 0
    while True:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return made
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        while begin < at:
            begin += os.pwrite(made, os.pread(fd, min(at - begin, 1 << 24), begin), begin)


def rendered(fd: int, kills: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """Render a desk with `kills` kills; return the sound, and the log's state at each kill."""
    out = os.memfd_create("out")
    os.ftruncate(out, 8 * FRAMES)
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), *map(str, (fd, out, FRAMES, kills, seed))],
        pass_fds=(fd, out), env=child_environment(),
        stdout=subprocess.PIPE, check=True, timeout=500,
    )  # fmt: skip
    sound = np.frombuffer(os.pread(out, 8 * FRAMES, 0), np.float32).reshape(-1, 2)
    os.close(out)
    return sound, [int(state) for state in done.stdout.split()]


def left(fd: int) -> dict[str, bytes | str]:
    """Return the final state of a desk, except for parts that depend on the block division."""
    kept: dict[str, bytes | str] = {}
    for name in ("effects", "effect_registers", "chains", "eq", "filter"):
        region = REGIONS[name]
        size = region.dtype.itemsize * int(np.prod(region.shape))
        kept[name] = os.pread(fd, size, region.offset)
    with contextlib.closing(Desk(os.dup(fd))) as desk:
        kept["events"] = str(desk.events[: int(desk.rings["event_head"])])
        for slot in np.flatnonzero(desk.voices["state"]).tolist():
            rows = desk.ramps[RAMP_VOICE + VOICE_ROWS * slot :][:VOICE_ROWS]
            kept[f"voice {slot}"] = f"{desk.voices[slot]} {rows}"
        kept["tail"] = desk.rings["command_tail"].tobytes()
        kept["frame"] = desk.clock["frame"].tobytes()
        kept["waiting"] = desk.master["pending"].tobytes()
        for name in ("missing_frames", "hard_cuts", "late_commands", "commands", "limited_frames"):
            kept[name] = desk.ledger[name].tobytes()
    return kept


def test_an_engine_killed_at_any_moment_is_replaced_bit_exactly(tmp_path: Path) -> None:
    """Compare sound, voices, effects and events with those of an undisturbed engine."""
    with Rig(memory_mb=64, block=256) as rig:
        scene(rig, tmp_path)
        plain, kept = copy_of(rig.desk.fd), copy_of(rig.desk.fd)
    undisturbed, states = rendered(plain, 0, 1)
    assert states == [1, 0, 0]
    assert np.abs(undisturbed[RATE:]).max() > 0.1
    with contextlib.closing(Desk(os.dup(kept))) as desk:
        desk.undo_log["off"] = 0
    sound, states = rendered(kept, 250, 2)
    assert states[1] > 15, f"died while idle, rendering, publishing: {states}"
    different = np.flatnonzero((sound != undisturbed).any(axis=1))
    assert not len(different), f"from frame {different[0]} on, after {states}"
    assert left(kept) == left(plain)
    os.close(plain)
    os.close(kept)
