"""What the desk says of orders: those that the engine has and has not carried out yet."""

from __future__ import annotations

import time

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING
from crowdstream.desk.opcodes import OP_NONE

BLOCKS = 2.5  # that may pass until the end of one has been seen; else the engine stands still
ATTEMPTS = 20
GLANCE_SECONDS = 0.0002


def orders_held(desk: Desk) -> np.ndarray:
    """Commands (dtype `COMMAND`) that wait in the engine, then those in its ring, in order.

    Read between two blocks, while the engine leaves them alone. Where that does not succeed,
    what was read last.
    """
    held = _copy(desk)
    for _attempt in range(ATTEMPTS):
        _wait_for_end_of_block(desk)
        epoch, asked = int(desk.clock["epoch"]), int(desk.clock["callback_ns"])
        held = _copy(desk)
        if (int(desk.clock["epoch"]), int(desk.clock["callback_ns"])) == (epoch, asked):
            break
    left: np.ndarray = held[held["op"] != OP_NONE]
    return left


def _wait_for_end_of_block(desk: Desk) -> None:
    epoch = int(desk.clock["epoch"])
    deadline = time.monotonic() + BLOCKS * int(desk.header["block_frames"]) / desk.sample_rate
    while int(desk.clock["epoch"]) == epoch and time.monotonic() < deadline:
        time.sleep(GLANCE_SECONDS)


def _copy(desk: Desk) -> np.ndarray:
    # The ring first: what the engine takes from it meanwhile is then found in its heap as well.
    rings = desk.rings
    places = np.arange(int(rings["command_tail"]), int(rings["command_head"])) % COMMAND_RING
    ringed = desk.commands[places]
    pending, heap, order = (getattr(desk, name) for name in ("pending", "heap", "order"))
    waiting = heap[: int(desk.master["pending"])].copy()
    waiting = waiting[(waiting >= 0) & (waiting < len(pending))]
    sorted_places = waiting[np.lexsort((order[waiting], pending["frame"][waiting]))]
    return np.concatenate((pending[sorted_places], ringed))
