"""Read from the desk the commands that the engine has received and not yet carried out."""

from __future__ import annotations

import time

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING
from crowdstream.desk.opcodes import OP_NONE

MAX_WAIT_BLOCKS = 2.5  # without the end of a block in this time, the engine is not rendering
MAX_ATTEMPTS = 20
POLL_SECONDS = 0.0002


def pending_commands(desk: Desk) -> np.ndarray:
    """Return the commands in the engine's heap, then those in its ring, each in order.

    The result has dtype `COMMAND`. The commands are read between two blocks, while the engine does
    not change them. If that does not succeed in `MAX_ATTEMPTS`, the last reading is returned.
    """
    held = _copy(desk)
    for _attempt in range(MAX_ATTEMPTS):
        _wait_for_end_of_block(desk)
        epoch, callback = int(desk.clock["epoch"]), int(desk.clock["callback_ns"])
        held = _copy(desk)
        if (int(desk.clock["epoch"]), int(desk.clock["callback_ns"])) == (epoch, callback):
            break
    left: np.ndarray = held[held["op"] != OP_NONE]
    return left


def _wait_for_end_of_block(desk: Desk) -> None:
    epoch = int(desk.clock["epoch"])
    wait = MAX_WAIT_BLOCKS * int(desk.header["block_frames"]) / desk.sample_rate
    deadline = time.monotonic() + wait
    while int(desk.clock["epoch"]) == epoch and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _copy(desk: Desk) -> np.ndarray:
    # Copy the ring first: a command that the engine moves meanwhile is then found in the heap too.
    rings = desk.rings
    places = np.arange(int(rings["command_tail"]), int(rings["command_head"])) % COMMAND_RING
    ringed = desk.commands[places]
    pending, heap, order = (getattr(desk, name) for name in ("pending", "heap", "order"))
    waiting = heap[: int(desk.master["pending"])].copy()
    waiting = waiting[(waiting >= 0) & (waiting < len(pending))]
    sorted_places = waiting[np.lexsort((order[waiting], pending["frame"][waiting]))]
    return np.concatenate((pending[sorted_places], ringed))
