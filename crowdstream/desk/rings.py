"""The two rings of the desk: commands to the engine, events back to control.

Each has one writer and one reader. The writer's promise: what it published is complete and
stays unchanged until the reader has moved past it; a batch becomes visible as a whole. The
reader's promise: it takes elements in order and never writes the head. A full ring refuses
the whole batch; nobody ever waits.
"""

from __future__ import annotations

import numpy as np
from numba import carray, types

from crowdstream.desk import views
from crowdstream.desk.atomics import load_acquire, pointer, store_release
from crowdstream.desk.block import Desk
from crowdstream.desk.jit import entry, kernel
from crowdstream.desk.layout import (
    COMMAND,
    COMMAND_RING,
    EVENT,
    EVENT_RING,
    REGIONS,
    RINGS,
)

_RINGS = REGIONS["rings"].offset
_FIELDS = RINGS.fields
assert _FIELDS is not None
COMMAND_HEAD = _RINGS + _FIELDS["command_head"][1]
COMMAND_TAIL = _RINGS + _FIELDS["command_tail"][1]
EVENT_HEAD = _RINGS + _FIELDS["event_head"][1]
EVENT_TAIL = _RINGS + _FIELDS["event_tail"][1]


@entry(types.int64(types.int64, types.int64, types.int64))
def _push_commands(address, batch, count):
    head = load_acquire(address + COMMAND_HEAD)
    tail = load_acquire(address + COMMAND_TAIL)
    if count > COMMAND_RING - (head - tail):
        return 0
    ring = views.commands(address)
    source = carray(pointer(batch), (count,), COMMAND)
    for i in range(count):
        ring[(head + i) & (COMMAND_RING - 1)] = source[i]
    store_release(address + COMMAND_HEAD, head + count)
    return count


@entry(types.int64(types.int64, types.int64, types.int64))
def _pop_events(address, into, room):
    tail = load_acquire(address + EVENT_TAIL)
    head = load_acquire(address + EVENT_HEAD)
    count = min(room, head - tail)
    ring = views.events(address)
    target = carray(pointer(into), (room,), EVENT)
    for i in range(count):
        target[i] = ring[(tail + i) & (EVENT_RING - 1)]
    store_release(address + EVENT_TAIL, tail + count)
    return count


@kernel
def push_event(address, kind, target, serial, frame, wanted, value):
    """Engine side: publish one event, or count it as lost when control is not reading."""
    head = load_acquire(address + EVENT_HEAD)
    tail = load_acquire(address + EVENT_TAIL)
    if head - tail >= EVENT_RING:
        views.ledger(address)[0].events_lost += 1
        return
    slot = views.events(address)[head & (EVENT_RING - 1)]
    slot.kind = kind
    slot.target = target
    slot.serial = serial
    slot.frame = frame
    slot.wanted = wanted
    slot.value = value
    store_release(address + EVENT_HEAD, head + 1)


def push_commands(desk: Desk, batch: np.ndarray) -> bool:
    """Publish `batch` (dtype `COMMAND`) as a whole; False when the ring has no room for it."""
    assert batch.dtype == COMMAND and batch.flags.c_contiguous
    return int(_push_commands(desk.address, batch.ctypes.data, len(batch))) == len(batch)


def pop_events(desk: Desk, room: int = EVENT_RING) -> np.ndarray:
    """Take up to `room` events, oldest first: array of dtype `EVENT`."""
    batch = np.empty(room, EVENT)
    return batch[: int(_pop_events(desk.address, batch.ctypes.data, room))]
