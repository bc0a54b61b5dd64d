"""A separate process that pushes commands into a desk. Arguments: descriptor, number."""

from __future__ import annotations

import sys
import time

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.rings import push_commands


def main() -> None:
    desk = Desk(int(sys.argv[1]))
    total = int(sys.argv[2])
    rng = np.random.default_rng(0)
    sent = refused = 0
    while sent < total:
        count = min(int(rng.integers(1, 900)), total - sent)
        serials = np.arange(sent + 1, sent + count + 1)
        batch = np.zeros(count, COMMAND)
        batch["serial"] = serials
        # All fields depend on the serial number, so that half-written records are detected.
        batch["frame"] = 1 << 50
        batch["x"] = serials * 0.5
        batch["start"] = serials * 7
        batch["end"] = serials ^ 0x5555
        batch["sources"][:] = (serials % 1000)[:, None]
        batch["gains"][:] = (serials % 4096)[:, None]
        while not push_commands(desk, batch):
            refused += 1
            time.sleep(0.0001)
        sent += count
    print(refused)


if __name__ == "__main__":
    main()
