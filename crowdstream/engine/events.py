"""What the engine tells control: its side of the ring of events."""

from __future__ import annotations

from crowdstream.desk.rings import EVENT_HEAD, EVENT_TAIL
from crowdstream.desk.sizes import EVENT_RING
from crowdstream.engine import views
from crowdstream.engine.atomics import load_acquire, store_release
from crowdstream.engine.jit import kernel


@kernel
def push_event(address, kind, target, serial, frame, wanted, value):
    """Publish one event, or count it as lost when control is not reading."""
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
