"""The two rings of the desk: commands to the engine, events back to control.

Each has one writer and one reader. The writer's promise: what it published is complete and
stays unchanged until the reader has moved past it; a batch becomes visible as a whole. The
reader's promise: it takes elements in order and never writes the head. A full ring refuses
the whole batch; nobody ever waits. This is control's side; the engine's is in `engine.queue`
and `engine.events`.
"""

from __future__ import annotations

import numpy as np

from crowdstream.desk.atomics import load_acquire, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, EVENT_RING
from crowdstream.desk.dtypes import COMMAND, RINGS
from crowdstream.desk.layout import REGIONS

_RINGS = REGIONS["rings"].offset
_FIELDS = RINGS.fields
assert _FIELDS is not None
COMMAND_HEAD = _RINGS + _FIELDS["command_head"][1]
COMMAND_TAIL = _RINGS + _FIELDS["command_tail"][1]
EVENT_HEAD = _RINGS + _FIELDS["event_head"][1]
EVENT_TAIL = _RINGS + _FIELDS["event_tail"][1]


def push_commands(desk: Desk, batch: np.ndarray) -> bool:
    """Publish `batch` (dtype `COMMAND`) as a whole; False when the ring has no room for it."""
    assert batch.dtype == COMMAND
    count = len(batch)
    head = load_acquire(desk.address + COMMAND_HEAD)
    tail = load_acquire(desk.address + COMMAND_TAIL)
    if count > COMMAND_RING - (head - tail):
        return False
    begin = head % COMMAND_RING
    straight = min(count, COMMAND_RING - begin)
    desk.commands[begin : begin + straight] = batch[:straight]
    desk.commands[: count - straight] = batch[straight:]
    store_release(desk.address + COMMAND_HEAD, head + count)
    return True


def pop_events(desk: Desk, room: int = EVENT_RING) -> np.ndarray:
    """Take up to `room` events, oldest first: a new array of dtype `EVENT`."""
    tail = load_acquire(desk.address + EVENT_TAIL)
    head = load_acquire(desk.address + EVENT_HEAD)
    count = min(room, head - tail)
    batch: np.ndarray = desk.events[np.arange(tail, tail + count) % EVENT_RING]
    store_release(desk.address + EVENT_TAIL, tail + count)
    return batch
