"""What the engine tells control: its side of the ring of events."""

from __future__ import annotations

from crowdstream.desk.rings import EVENT_TAIL
from crowdstream.desk.sizes import EVENT_RING
from crowdstream.engine import views
from crowdstream.engine.atomics import load_acquire
from crowdstream.engine.jit import kernel


@kernel
def push_event(address, kind, target, serial, frame, wanted, value):
    """Add one event, or count it as lost when control is not reading.

    Control sees it at the end of the turn.
    """
    journal = views.journal(address)[0]
    head = journal.event_head
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
    journal.event_head = head + 1
