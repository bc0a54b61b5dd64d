"""The command heap, kernel by kernel: order, refusals, lateness and cancellation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import COMMAND_RING, PENDING
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import (
    EV_ENDED,
    EV_LATE,
    EV_REFUSED,
    OP_CANCEL,
    OP_JUMP,
    OP_MARK,
    OP_RAMP,
    OP_SEEK,
    OP_START,
    OP_STOP,
    REFUSED_FULL,
)
from crowdstream.desk.rings import pop_events, push_commands
from tests.support.interpreted import address_of, interpreted


class Heap:
    """The engine's side of a desk, on which only the heap's kernels run."""

    def __init__(self) -> None:
        self.desk = Desk.create(0)
        self.kernels: Any = interpreted("schedule.command_heap")
        self.address = address_of(self.desk)
        self.serial = 0

    def push(self, *frames: int, op: int = OP_MARK, **fields: float) -> list[int]:
        """Publish commands for these frames to the ring; return their serial numbers."""
        batch = np.zeros(len(frames), COMMAND)
        batch["frame"], batch["op"] = frames, op
        batch["serial"] = np.arange(self.serial, self.serial + len(frames)) + 1
        for name, value in fields.items():
            batch[name] = value
        self.serial += len(frames)
        assert push_commands(self.desk, batch)
        return [int(one) for one in batch["serial"]]

    def receive(self, now: int = 0) -> None:
        self.kernels.receive_commands(self.address, now)

    def publish(self) -> None:
        """End the turn: commands taken leave the ring, and events become visible."""
        self.desk.rings["command_tail"] = self.desk.undo_log["command_tail"]
        self.desk.rings["event_head"] = self.desk.undo_log["event_head"]

    def events(self) -> list[tuple[int, int, int, int, int, float]]:
        self.publish()
        names = ("kind", "target", "serial", "frame", "wanted", "value")
        return [tuple(event[name].item() for name in names) for event in pop_events(self.desk)]

    def take(self) -> tuple[int, int]:
        """Take the soonest command; return its frame and its serial number."""
        before = self.waiting
        slot = int(self.kernels.pop_next(self.address))
        assert self.waiting == before - 1
        assert int(self.desk.spare[self.waiting]) == slot, "the place is the next one to be free"
        command = self.desk.pending[slot]  # type: ignore[attr-defined]
        return int(command["frame"]), int(command["serial"])

    def take_all(self) -> list[tuple[int, int]]:
        return [self.take() for _ in range(self.waiting)]

    @property
    def waiting(self) -> int:
        return int(self.desk.master["pending"])

    @property
    def next(self) -> int:
        return int(self.kernels.next_frame(self.address))

    def check(self) -> None:
        """Check that every slot is either free or in the heap, and that the heap is in order."""
        heap: Any = self.desk.heap  # type: ignore[attr-defined]
        taken = heap[: self.waiting].tolist()
        free = self.desk.spare[self.waiting :].tolist()
        assert sorted(taken + free) == list(range(PENDING))
        pending: Any = self.desk.pending  # type: ignore[attr-defined]
        order: Any = self.desk.order  # type: ignore[attr-defined]
        keys = [(int(pending["frame"][one]), int(order[one])) for one in taken]
        for at in range(1, len(keys)):
            assert keys[(at - 1) // 2] <= keys[at]


@pytest.fixture
def heap() -> Iterator[Heap]:
    made = Heap()
    yield made
    made.desk.close()


def ledger(heap: Heap) -> dict[str, int]:
    names = ("commands", "late_commands", "latest_frames", "pending_refused", "events_lost")
    return {name: int(heap.desk.ledger[name]) for name in names}


def test_equal_frames_keep_their_order_in_a_large_heap(heap: Heap) -> None:
    serials = heap.push(*([9] * 40))
    heap.receive()
    assert heap.take_all() == [(9, serial) for serial in serials]


def test_commands_leave_the_ring_when_the_turn_is_published(heap: Heap) -> None:
    heap.push(5, 6)
    heap.receive()
    assert int(heap.desk.undo_log["command_tail"]) == 2
    assert int(heap.desk.rings["command_tail"]) == 0
    heap.receive()
    assert heap.waiting == 2, "none is taken twice"
    assert ledger(heap)["commands"] == 2


def test_reading_the_ring_wraps_around(heap: Heap) -> None:
    for name in ("command_head", "command_tail"):
        heap.desk.rings[name] = COMMAND_RING - 2
    heap.desk.undo_log["command_tail"] = COMMAND_RING - 2
    serials = heap.push(4, 3, 2, 1)
    heap.receive()
    assert heap.take_all() == list(zip((1, 2, 3, 4), reversed(serials), strict=True))


def test_a_late_command_is_due_now_and_reported(heap: Heap) -> None:
    (early, now, late, later) = heap.push(101, 100, 99, 40, target=7)
    heap.receive(100)
    assert heap.take_all() == [(100, now), (100, late), (100, later), (101, early)]
    assert heap.events() == [
        (EV_LATE, 0, late, 100, 99, 1.0),
        (EV_LATE, 0, later, 100, 40, 60.0),
    ]
    assert ledger(heap) == {
        "commands": 4, "late_commands": 2, "latest_frames": 60, "pending_refused": 0,
        "events_lost": 0,
    }  # fmt: skip


def test_the_ledger_keeps_the_largest_lateness(heap: Heap) -> None:
    heap.push(40)
    heap.receive(100)
    heap.push(99)
    heap.receive(100)
    assert ledger(heap)["latest_frames"] == 60 and ledger(heap)["late_commands"] == 2


def test_a_command_without_a_frame_is_due_now_and_not_late(heap: Heap) -> None:
    (serial,) = heap.push(0)
    heap.receive(100)
    assert heap.take_all() == [(100, serial)]
    assert heap.events() == [] and ledger(heap)["late_commands"] == 0
    (one,) = heap.push(1)
    heap.receive(100)
    assert heap.events() == [(EV_LATE, 0, one, 100, 1, 99.0)]


def tempo(heap: Heap, frame: int, beat: float, frames_per_beat: float) -> None:
    clock = heap.desk.clock
    clock["tempo_frame"], clock["tempo_beat"] = frame, beat
    clock["tempo_rate"] = clock["tempo_end"] = 1.0 / frames_per_beat


def test_a_command_at_a_beat_gets_its_frame_from_the_clock(heap: Heap) -> None:
    tempo(heap, 1000, 4.0, 50.0)
    (serial,) = heap.push(7, by_beat=1, beat=6.0)
    heap.receive(20)
    assert heap.take_all() == [(1100, serial)]
    (late,) = heap.push(9999, by_beat=1, beat=3.0)
    heap.receive(1000)
    assert heap.take_all() == [(1000, late)]
    (before,) = heap.push(9999, by_beat=1, beat=4.0 - 30.0)
    heap.receive(1000)
    assert heap.events() == [
        (EV_LATE, 0, late, 1000, 950, 50.0),
        (EV_LATE, 0, before, 1000, -500, 1500.0),
    ]


def test_commands_at_beats_move_when_the_clock_is_set(heap: Heap) -> None:
    tempo(heap, 0, 0.0, 100.0)
    fixed = heap.push(250)[0]
    beats = [heap.push(1, by_beat=1, beat=beat)[0] for beat in (3.0, 2.0, 1.0)]
    heap.receive()
    tempo(heap, 0, 0.0, 50.0)
    heap.kernels.reschedule_beats(heap.address, 60)
    heap.check()
    three, two, one = beats
    assert heap.take_all() == [(60, one), (100, two), (150, three), (250, fixed)]


def test_a_moved_command_may_become_the_first(heap: Heap) -> None:
    tempo(heap, 0, 0.0, 1000.0)
    fixed = heap.push(100, 150)
    (beat,) = heap.push(1, by_beat=1, beat=3.0)
    heap.receive()
    assert heap.next == 100
    tempo(heap, 0, 0.0, 10.0)
    heap.kernels.reschedule_beats(heap.address, 20)
    heap.check()
    assert heap.take_all() == [(30, beat), (100, fixed[0]), (150, fixed[1])]


def test_a_heap_in_any_order_is_sorted(heap: Heap) -> None:
    serials = heap.push(*range(1, 31))
    heap.receive()
    entries: Any = heap.desk.heap  # type: ignore[attr-defined]
    entries[:30] = entries[:30][::-1].copy()
    heap.kernels.restore_heap(heap.address)
    assert heap.waiting == 30
    heap.check()
    assert heap.take_all() == list(zip(range(1, 31), serials, strict=True))


def test_a_full_heap_refuses_and_reports(heap: Heap) -> None:
    heap.push(*([5000] * PENDING))
    heap.receive()
    heap.publish()
    assert heap.waiting == PENDING and heap.events() == []
    (first, second) = heap.push(7, 8, target=3)
    heap.receive(2)
    assert heap.events() == [
        (EV_REFUSED, 3, first, 2, 7, REFUSED_FULL),
        (EV_REFUSED, 3, second, 2, 8, REFUSED_FULL),
    ]
    assert ledger(heap)["pending_refused"] == 2 and ledger(heap)["commands"] == PENDING + 2
    heap.kernels.schedule_internal(heap.address, OP_STOP, 1, 9)
    assert ledger(heap)["pending_refused"] == 3 and heap.waiting == PENDING
    heap.take()
    heap.kernels.schedule_internal(heap.address, OP_STOP, 1, 9)
    assert heap.waiting == PENDING and heap.next == 9
    heap.check()


def test_cancel_drops_starts_and_jumps_of_one_voice(heap: Heap) -> None:
    kinds = (OP_START, OP_SEEK, OP_JUMP, OP_STOP, OP_RAMP, OP_CANCEL)
    for target in (3, 4):
        for frame, op in enumerate(kinds):
            heap.push(50 + frame, op=op, target=target)
    heap.receive()
    heap.kernels.cancel(heap.address, 4, 1 << 40)
    assert heap.kernels.CANCELLED == 2.0
    assert heap.events() == [(EV_ENDED, 4, 7, 50, 0, 2.0)]
    heap.check()
    taken = sorted(serial for _frame, serial in heap.take_all())
    assert taken == [*range(1, 7), *range(10, 13)]


def test_cancelled_commands_keep_their_records_for_a_failover(heap: Heap) -> None:
    for op in (OP_START, OP_SEEK, OP_JUMP):
        heap.push(50, op=op, target=4)
    heap.receive()
    pending: Any = heap.desk.pending  # type: ignore[attr-defined]
    before = pending.copy()
    heap.kernels.cancel(heap.address, 4, 1 << 40)
    assert heap.waiting == 0 and np.array_equal(pending, before)


def test_cancel_spares_commands_that_arrived_later(heap: Heap) -> None:
    heap.push(50, 51, 52, op=OP_START, target=4)
    heap.receive()
    heap.kernels.cancel(heap.address, 4, 1)  # the second command's arrival number
    heap.check()
    assert heap.take_all() == [(52, 3)]


def test_an_internal_command_follows_earlier_commands_of_its_frame(heap: Heap) -> None:
    before = heap.push(80, 80)
    heap.receive()
    free = int(heap.desk.spare[heap.waiting])
    place = PENDING - 1 - (5 * 64 + 80 % 64)  # of target 5, frame 80
    last = int(heap.desk.spare[place])
    stale: Any = heap.desk.pending  # type: ignore[attr-defined]
    stale["by_beat"][last], stale["serial"][last] = 1, 77
    heap.kernels.schedule_internal(heap.address, OP_STOP, 5, 80)
    heap.check()
    assert int(heap.desk.spare[place]) == free, "not the slot that is used next"
    after = heap.push(80)
    heap.receive()
    command = stale[last]
    assert (int(command["op"]), int(command["target"]), int(command["frame"])) == (OP_STOP, 5, 80)
    assert (int(command["by_beat"]), int(command["serial"])) == (0, 0)
    taken = heap.take_all()
    assert [serial for _frame, serial in taken][:2] == before
    assert sorted(serial for _frame, serial in taken[2:]) == sorted([0, *after])


def test_slots_freed_in_this_turn_keep_their_commands(heap: Heap) -> None:
    serials = heap.push(10, 10, 10, 10)
    heap.receive()
    slots = []
    for target, frame in ((0, 20), (1, 20), (63, 20), (0, 21)):
        slots.append(int(heap.kernels.pop_next(heap.address)))
        heap.kernels.schedule_internal(heap.address, OP_STOP, target, frame)
    heap.check()
    pending: Any = heap.desk.pending  # type: ignore[attr-defined]
    kept = pending["serial"][slots].tolist()
    assert kept == serials, "the commands may have to be applied again"
    assert heap.next == 20 and heap.waiting == 4


@settings(max_examples=25)
@given(
    turns=st.lists(
        st.tuples(st.lists(st.integers(1, 12), max_size=12), st.integers(0, 12)), max_size=8
    )
)
def test_commands_are_ordered_by_frame_then_arrival(
    turns: list[tuple[list[int], int]],
) -> None:
    heap = Heap()
    model: list[tuple[int, int]] = []
    for frames, taken in turns:
        model += zip(frames, heap.push(*frames), strict=True)
        heap.receive()
        heap.check()
        model.sort()
        for _ in range(min(taken, len(model))):
            assert heap.next == model[0][0]
            assert heap.take() == model.pop(0)
        heap.check()
        assert heap.waiting == len(model)
    assert heap.take_all() == model
    assert heap.next == heap.kernels.NEVER == 1 << 62
    assert ledger(heap)["commands"] == heap.serial
    heap.desk.close()
