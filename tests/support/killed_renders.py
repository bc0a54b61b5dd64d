"""Render a desk in processes that are killed one after another, until everything is rendered.

A script with these arguments: descriptor of the desk, descriptor of a file of float32 stereo
frames, its frames, number of processes to kill, seed. Each process continues where the previous one
died.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import time

from crowdstream.desk.block import Desk
from crowdstream.engine.precompiled import kernels


def main() -> None:
    desk_fd, out_fd, frames, kills, seed = map(int, sys.argv[1:])
    desk = Desk(desk_fd)
    dice = random.Random(seed)
    memory = mmap.mmap(out_fd, 8 * frames)
    import numpy as np

    out = np.frombuffer(memory, np.float32)
    made = kernels()
    states = [0, 0, 0]
    while desk.frame < frames:
        kills -= 1
        first = desk.frame  # read before the fork, because the child may finish immediately
        child = os.fork()
        if child == 0:
            while (frame := desk.frame) < frames:
                count = min(256, frames - frame)
                made.render_at(desk.address, int(out.ctypes.data) + 8 * frame, count)
            os._exit(0)
        if kills >= 0:
            while desk.frame == first and desk.undo_log["state"] == 0:
                time.sleep(0)
            time.sleep(dice.uniform(0.0, 0.0005))
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        states[int(desk.undo_log["state"])] += 1
        made.recover(desk.address)
        assert int(desk.undo_log["state"]) == 0
    print(*states)


if __name__ == "__main__":
    main()
