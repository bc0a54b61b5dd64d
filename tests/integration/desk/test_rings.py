"""The rings between two processes: no record is lost, torn or out of order."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from crowdstream.desk.atomics import load_acquire, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING
from crowdstream.desk.rings import COMMAND_HEAD, COMMAND_TAIL, pop_events
from crowdstream.engine.render import render
from tests.support.environment import PROJECT, child_environment

TOTAL = 1_000_000


def _take(desk: Desk, most: int) -> np.ndarray:
    # As the engine does.
    tail = load_acquire(desk.address + COMMAND_TAIL)
    head = load_acquire(desk.address + COMMAND_HEAD)
    count = min(most, head - tail)
    taken: np.ndarray = desk.commands[np.arange(tail, tail + count) % COMMAND_RING]
    store_release(desk.address + COMMAND_TAIL, tail + count)
    return taken


def test_a_million_commands_from_another_process_arrive_intact() -> None:
    desk = Desk.create(0)
    fd = os.dup(desk.fd)
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.support.ring_writer", str(fd), str(TOTAL)],
        pass_fds=[fd],
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        env=child_environment(),
    )
    os.close(fd)
    expected = 1
    try:
        while expected <= TOTAL:
            part = _take(desk, 1 + expected % 5000)
            if not len(part):
                assert writer.poll() is None or int(desk.rings["command_head"]) >= expected
                continue
            serials = np.arange(expected, expected + len(part))
            assert np.array_equal(part["serial"], serials)
            assert np.array_equal(part["x"], serials * 0.5)
            assert np.array_equal(part["start"], serials * 7)
            assert np.array_equal(part["end"], serials ^ 0x5555)
            assert np.array_equal(part["sources"], np.repeat(serials % 1000, 8).reshape(-1, 8))
            assert np.array_equal(part["gains"], np.repeat(serials % 4096, 8).reshape(-1, 8))
            expected += len(part)
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        assert int(output) >= 0
        assert int(desk.rings["command_head"]) == TOTAL == int(desk.rings["command_tail"])
    finally:
        writer.kill()
        writer.communicate()
        desk.close()


def test_the_engine_reads_commands_while_another_process_pushes() -> None:
    desk = Desk.create(0)
    fd = os.dup(desk.fd)
    total = 60_000
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.support.ring_writer", str(fd), str(total)],
        pass_fds=[fd],
        stdout=subprocess.DEVNULL,
        cwd=PROJECT,
        env=child_environment(),
    )
    os.close(fd)
    out = np.zeros((64, 2), np.float32)
    got: list[np.ndarray] = []
    try:
        while int(desk.ledger["commands"]) < total:
            assert writer.poll() in (None, 0)
            render(desk, out)
            got.append(pop_events(desk)["serial"])
            # All are due at a distant frame: most are refused and reported, in order.
        writer.wait(timeout=60)
        got.append(pop_events(desk)["serial"])
        serials = np.concatenate(got)
        assert (np.diff(serials) > 0).all()
        lost = int(desk.ledger["events_lost"])
        waiting = int(desk.master["pending"])
        assert len(serials) + lost + waiting == total
        assert int(desk.ledger["pending_refused"]) == total - waiting
    finally:
        writer.kill()
        writer.wait()
        desk.close()
