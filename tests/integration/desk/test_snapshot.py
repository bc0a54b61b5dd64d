"""A snapshot taken while an engine renders contains only values of one moment."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from crowdstream.desk.snapshot import read_snapshot
from tests.support.environment import PROJECT, child_environment
from tests.support.render_harness import RenderHarness, noise

READS = 4000
MOMENTS = 200  # minimum number of different moments
LAP = 5000  # frames of each voice's loop
BLOCKS = (256, 64, 1500)  # the last one takes several turns

# Renders until its standard input closes.
RENDERS = """
import select, sys, time
import numpy as np
from crowdstream.desk.block import Desk
from crowdstream.engine.precompiled import kernels
desk, made = Desk(int(sys.argv[1])), kernels()
out = np.zeros((2048, 2), np.float32)
print("begun", flush=True)
while not select.select([0], [], [], 0)[0]:
    for frames in BLOCKS:
        begin = time.monotonic_ns()
        made.begin_block(desk.address, frames, begin, 0)
        made.render_at(desk.address, out.ctypes.data, frames)
        made.end_block(desk.address, frames, time.monotonic_ns() - begin)
        time.sleep(0.0003)
""".replace("BLOCKS", repr(BLOCKS))


@pytest.fixture
def harness() -> Iterator[RenderHarness]:
    with RenderHarness() as made:
        yield made


def test_no_snapshot_is_torn_while_another_process_renders(harness: RenderHarness) -> None:
    for voice in range(3):
        harness.start(voice, harness.load(noise(4 * LAP)), start=0, loop=(0, LAP), deck=voice)
    harness.render(256)
    at = {voice: int(harness.desk.voices["position"][voice]) - 256 for voice in range(3)}
    assert set(at.values()) == {0}
    per_frame = float(harness.desk.clock["tempo_base"])
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", RENDERS, str(harness.desk.fd)], cwd=PROJECT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[harness.desk.fd],
        env=child_environment(),
    )  # fmt: skip
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == b"begun\n"
        while not int(harness.desk.clock["callback_ns"]):
            assert process.poll() is None
        frames: list[int] = []
        moments: set[int] = set()
        deadline = time.monotonic() + 120
        # On a busy machine the other process may render little while this one reads.
        while len(frames) < READS or len(moments) < MOMENTS:
            assert process.poll() is None and time.monotonic() < deadline
            now = read_snapshot(harness.desk)
            frames.append(now.frame)
            moments.add(now.frame)
            assert now.playing[:4] == (True, True, True, False)
            assert now.positions[:3] == (now.frame % LAP,) * 3
            assert now.audible_positions[:3] == (now.frame % LAP,) * 3
            assert now.speeds[:4] == (1.0, 1.0, 1.0, 0.0)
            assert now.beat == pytest.approx(now.frame * per_frame)
            assert 0 <= now.frame - now.callback_frame <= max(BLOCKS)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
    assert frames == sorted(frames)
