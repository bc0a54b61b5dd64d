"""The heap of scheduled commands in the desk, ordered by frame, then by arrival."""

from __future__ import annotations

from crowdstream.desk.constants import COMMAND_RING, PENDING
from crowdstream.desk.opcodes import (
    EV_ENDED,
    EV_LATE,
    EV_REFUSED,
    OP_JUMP,
    OP_SEEK,
    OP_START,
    REFUSED_FULL,
)
from crowdstream.desk.rings import COMMAND_HEAD
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.beat_clock import frame_of_beat
from crowdstream.engine.schedule.events import push_event

CANCELLED = 2.0  # value of `EV_ENDED` for a start that was cancelled
NEVER = 1 << 62
PLACES = 64  # of internal commands to the same target within a turn


@kernel
def _sooner(pending, order, a, b):
    if pending[a].frame != pending[b].frame:
        return pending[a].frame < pending[b].frame
    return order[a] < order[b]


@kernel
def _push(address, master):
    # Sift the last element of the heap up to its position.
    heap = views.heap(address)
    pending = views.pending(address)
    order = views.order(address)
    at = master.pending - 1
    while at > 0:
        parent = (at - 1) // 2
        if not _sooner(pending, order, heap[at], heap[parent]):
            break
        heap[at], heap[parent] = heap[parent], heap[at]
        at = parent


@kernel
def pop_next(address):
    """Remove the soonest command; return its index in `pending`, where its record remains."""
    master = views.master(address)[0]
    heap = views.heap(address)
    pending = views.pending(address)
    order = views.order(address)
    taken = heap[0]
    master.pending -= 1
    count = master.pending
    heap[0] = heap[count]
    views.spare(address)[count] = taken
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and _sooner(pending, order, heap[child + 1], heap[child]):
            child += 1
        if not _sooner(pending, order, heap[child], heap[at]):
            break
        heap[at], heap[child] = heap[child], heap[at]
        at = child
    return taken


@kernel
def next_frame(address):
    """Return the frame of the soonest scheduled command, or `NEVER` if there is none."""
    if views.master(address)[0].pending == 0:
        return NEVER
    return views.pending(address)[views.heap(address)[0]].frame


@kernel
def restore_heap(address):
    """Restore the heap order, whatever order the elements are in."""
    master = views.master(address)[0]
    waiting = master.pending
    for i in range(waiting):
        master.pending = i + 1
        _push(address, master)
    master.pending = waiting


@kernel
def cancel(address, voice, before):
    """Cancel a voice's scheduled starts and jumps; a cancelled start is reported as ended.

    Only commands with an arrival number of at most `before` are cancelled, so those sent after the
    cancel command remain.
    """
    pending = views.pending(address)
    order = views.order(address)
    heap = views.heap(address)
    master = views.master(address)[0]
    waiting = master.pending
    kept = 0
    for i in range(waiting):
        slot = heap[i]
        command = pending[slot]
        chosen = order[slot] <= before and command.target == voice
        if chosen and command.op in (OP_START, OP_SEEK, OP_JUMP):
            if command.op == OP_START:
                push_event(address, EV_ENDED, voice, command.serial, command.frame, 0, CANCELLED)
            # The record remains: after a failover, it may have to be cancelled again.
            views.spare(address)[waiting - 1 - (i - kept)] = slot
        else:
            heap[kept] = slot
            kept += 1
    if kept < waiting:
        master.pending = kept
        restore_heap(address)


@kernel
def schedule_internal(address, op, target, frame):
    """Schedule a command of the engine's own: `op` at `frame`. Dropped if the table is full."""
    master = views.master(address)[0]
    if master.pending >= PENDING:
        views.ledger(address)[0].pending_refused += 1
        return
    # Use a slot other than those freed in this turn, whose commands may have to be applied again
    # after a failover. One of them takes its place, so each command uses another place.
    spare = views.spare(address)
    free = PENDING - master.pending
    place = PENDING - 1 - (PLACES * target + frame % PLACES) % free
    slot = spare[place]
    spare[place] = spare[master.pending]
    spare[master.pending] = slot
    command = views.pending(address)[slot]
    command.op = op
    command.target = target
    command.frame = frame
    command.by_beat = 0
    command.serial = 0
    views.order(address)[slot] = views.undo_log(address)[0].command_tail
    views.heap(address)[master.pending] = slot
    master.pending += 1
    _push(address, master)


@kernel
def reschedule_beats(address, now):
    """After a change of the clock, recompute the frames of commands scheduled by beat."""
    heap = views.heap(address)
    pending = views.pending(address)
    for i in range(views.master(address)[0].pending):
        command = pending[heap[i]]
        if command.by_beat:
            command.frame = max(now, frame_of_beat(address, command.beat))
    restore_heap(address)


@kernel
def receive_commands(address, now):
    """Move every published command from the ring to the heap.

    Their slots in the ring are released at the end of the turn.

    A command without a frame, or whose frame has passed, is due `now`. Its lateness is entered in
    the ledger and reported to control.
    """
    undo_log = views.undo_log(address)[0]
    tail = undo_log.command_tail
    head = load_acquire(address + COMMAND_HEAD)
    if head == tail:
        return
    ring = views.commands(address)
    master = views.master(address)[0]
    ledger = views.ledger(address)[0]
    pending = views.pending(address)
    while tail < head:
        command = ring[tail & (COMMAND_RING - 1)]
        wanted = frame_of_beat(address, command.beat) if command.by_beat else command.frame
        if master.pending >= PENDING:
            ledger.pending_refused += 1
            why = REFUSED_FULL
            push_event(address, EV_REFUSED, command.target, command.serial, now, wanted, why)
        else:
            slot = views.spare(address)[master.pending]
            pending[slot] = command
            pending[slot].frame = wanted
            views.order(address)[slot] = tail
            views.heap(address)[master.pending] = slot
            master.pending += 1
            if wanted < now:
                pending[slot].frame = now
                if wanted > 0 or command.by_beat:
                    ledger.late_commands += 1
                    ledger.latest_frames = max(ledger.latest_frames, now - wanted)
                    late = now - wanted
                    push_event(address, EV_LATE, 0, command.serial, now, wanted, late)
            _push(address, master)
        ledger.commands += 1
        tail += 1
    undo_log.command_tail = tail
