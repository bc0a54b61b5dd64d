"""Events from the engine to control: the engine's end of the event ring."""

from __future__ import annotations

from crowdstream.desk.constants import EVENT_RING
from crowdstream.desk.rings import EVENT_TAIL
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire
from crowdstream.engine.jit.compile import kernel


@kernel
def push_event(address, kind, target, serial, frame, wanted, value):
    """Append an event, or count it as lost if the ring is full because control is not reading.

    Control sees it at the end of the turn.
    """
    undo_log = views.undo_log(address)[0]
    head = undo_log.event_head
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
    undo_log.event_head = head + 1
