"""Forks processes that write to a desk's rings, for the fuzzer to stop and kill.

The argument is the desk's file descriptor. Each line of standard input is `commands SEED` (a
process that writes commands, as control does) or `engine` (the kernels, which read commands and
report marks, and which recover from where a killed process has stopped). The answer is the process
id; the process runs until it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import OP_MARK
from crowdstream.desk.rings import push_commands
from crowdstream.engine.precompiled import kernels

MAX_BATCH = 700  # records of a batch
FRAMES = 16  # frames of a block: short, so that kills hit more blocks in the middle


def batch(first: int, count: int) -> np.ndarray:
    """Commands from number `first` on; every field encodes the number."""
    numbers = np.arange(first, first + count)
    made = np.zeros(count, COMMAND)
    made["serial"] = numbers
    made["op"] = OP_MARK
    made["target"] = numbers % 30_000
    made["x"] = numbers * 0.5
    made["start"] = numbers * 7
    made["end"] = numbers ^ 0x5555
    made["sources"][:] = (numbers % 30_000)[:, None]
    made["gains"][:] = (numbers % 4096)[:, None]
    # The first command holds the size of the batch, so that a partial batch is detected.
    made["index"][0] = count
    return made


def write_commands(desk: Desk, seed: int) -> None:
    """Publish batches forever, starting at the visible head."""
    random = np.random.default_rng(seed)
    while True:
        first = int(desk.rings["command_head"]) + 1
        while not push_commands(desk, batch(first, int(random.integers(1, MAX_BATCH)))):
            time.sleep(0.0002)


def render(desk: Desk) -> None:
    """Run the engine without an audio device, forever."""
    out = np.zeros((FRAMES, 2), np.float32)
    made = kernels()
    made.recover(desk.address)
    while True:
        made.render_at(desk.address, out.ctypes.data, FRAMES)
        time.sleep(0.0001)


def main() -> None:
    """Fork the requested processes."""
    desk = Desk(int(sys.argv[1]))
    kernels()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no one waits for the killed children
    for line in sys.stdin:
        what, *seed = line.split()
        child = os.fork()
        if child == 0:
            if what == "engine":
                render(desk)
            write_commands(desk, int(seed[0]))
        print(child, flush=True)


if __name__ == "__main__":
    main()
