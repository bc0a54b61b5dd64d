"""Forks writers of a desk's rings for the fuzzer, which stops and kills them.

Arguments: the desk's descriptor. Each line of the standard input is `commands SEED` (a writer of
commands, as control is) or `engine` (the kernels, which take commands and tell of marks, going on
where one that was killed has stopped); the answer is the number of the process, which goes on
until it is killed.
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
FRAMES = 16  # rendered at a time: blocks that are soon over, so that more of them are cut off


def batch(first: int, count: int) -> np.ndarray:
    """Commands from number `first` on, of which every part says the number."""
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
    # The first one of a batch says how many it has: so a part of one shows.
    made["index"][0] = count
    return made


def write_commands(desk: Desk, seed: int) -> None:
    """Publish batches for ever, from the head on that is visible."""
    random = np.random.default_rng(seed)
    while True:
        first = int(desk.rings["command_head"]) + 1
        while not push_commands(desk, batch(first, int(random.integers(1, MAX_BATCH)))):
            time.sleep(0.0002)


def render(desk: Desk) -> None:
    """Be an engine without a device, for ever."""
    out = np.zeros((FRAMES, 2), np.float32)
    made = kernels()
    made.recover(desk.address)
    while True:
        made.render_at(desk.address, out.ctypes.data, FRAMES)
        time.sleep(0.0001)


def main() -> None:
    """Fork what is asked for."""
    desk = Desk(int(sys.argv[1]))
    kernels()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that were killed
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
