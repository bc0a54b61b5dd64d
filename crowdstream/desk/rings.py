"""The two rings of the desk: commands to the engine, and events back to control.

Each ring has one writer and one reader. The writer guarantees that published elements are complete
and stay unchanged until the reader has moved past them; a batch becomes visible as a whole. The
reader guarantees that it takes elements in order and never writes the head. A full ring refuses the
whole batch; neither side ever waits. This module is control's side. The engine's side is in
`engine.schedule.command_heap` and `engine.schedule.events`.
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
    """Publish `batch` (dtype `COMMAND`) as a whole; return False if the ring lacks room for it."""
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
    """Take up to `room` events, oldest first, as a new array of dtype `EVENT`."""
    tail = load_acquire(desk.address + EVENT_TAIL)
    head = load_acquire(desk.address + EVENT_HEAD)
    count = min(room, head - tail)
    if not count:
        return desk.events[:0]
    batch: np.ndarray = desk.events[np.arange(tail, tail + count) % EVENT_RING]
    store_release(desk.address + EVENT_TAIL, tail + count)
    return batch
