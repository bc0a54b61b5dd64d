"""Commands act at their frame, in order; late, refused and cancelled ones are reported."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.codes import (
    EV_ENDED,
    EV_MARK,
    EV_REFUSED,
    EV_STARTED,
    OP_CANCEL,
    OP_MARK,
    OP_RAMP,
    OP_SEEK,
    OP_STOP,
)
from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.desk.sizes import COMMAND_RING, EVENT_RING, PENDING
from crowdstream.engine.queue import CANCELLED
from tests.engine.bench import Bench, noise

TONE = np.full(3000, 0.1, np.float32)


def _first(out: np.ndarray) -> int:
    return int(np.flatnonzero(out.any(axis=1))[0])


@settings(max_examples=60)
@given(
    frame=st.integers(1, 6000),
    blocks=st.lists(st.integers(1, 2048), min_size=1, max_size=12),
    decks=st.integers(1, 4),
)
def test_group_starts_on_its_frame_whatever_the_blocks(
    frame: int, blocks: list[int], decks: int
) -> None:
    with Bench(pages=8) as bench:
        source = bench.load(TONE)
        records = [
            bench.start_command(deck, source, deck=deck, frame=frame) for deck in range(decks)
        ]
        assert bench.push(*records)
        out = bench.render(frame + 10, blocks)
        assert bench.started() == [frame] * decks
        assert int(bench.desk.ledger["late_commands"]) == 0
    assert _first(out) == frame
    assert np.allclose(out[frame], 0.1 * decks)


@settings(max_examples=40)
@given(
    frames=st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    blocks=st.lists(st.integers(1, 1500), min_size=1, max_size=8),
)
def test_every_command_at_its_frame_and_equals_in_order(
    frames: list[int], blocks: list[int]
) -> None:
    with Bench(pages=4) as bench:
        serials = [bench.send(OP_MARK, frame=frame) for frame in frames]
        bench.render(5100, blocks)
        marks = bench.events()
    assert (marks["kind"] == EV_MARK).all()
    order = sorted(zip(frames, serials, strict=True))
    assert marks["serial"].tolist() == [serial for _frame, serial in order]
    assert marks["frame"].tolist() == [frame for frame, _serial in order]


@settings(max_examples=30)
@given(st.data())
def test_heap_against_a_model(data: st.DataObject) -> None:
    # Commands come in between blocks, some with frames that have passed.
    with Bench(pages=4) as bench:
        waiting: list[tuple[int, int]] = []
        done: list[tuple[int, int]] = []
        late: dict[int, int] = {}
        now = 0
        for _turn in range(data.draw(st.integers(1, 12))):
            wishes = data.draw(st.lists(st.integers(-50, 900), max_size=20))
            for ahead in wishes:
                frame = max(0, now + ahead)
                serial = bench.send(OP_MARK, frame=frame)
                heapq.heappush(waiting, (max(frame, now), serial))
                if 0 < frame < now:
                    late[serial] = now - frame
            length = data.draw(st.integers(1, 400))
            bench.render(length, 4096)
            while waiting and waiting[0][0] < now + length:
                done.append(heapq.heappop(waiting))
            now += length
        events = bench.events()
        marks = events[events["kind"] == EV_MARK]
        assert list(zip(marks["frame"].tolist(), marks["serial"].tolist(), strict=True)) == done
        reported = events[events["kind"] == 3]
        assert (
            dict(
                zip(
                    reported["serial"].tolist(), reported["value"].astype(int).tolist(), strict=True
                )
            )
            == late
        )
        ledger = bench.desk.ledger
        assert int(ledger["late_commands"]) == len(late)
        assert int(ledger["latest_frames"]) == max(late.values(), default=0)
        assert int(bench.desk.master["pending"]) == len(waiting)


def test_late_command_acts_now_and_says_how_late() -> None:
    with Bench() as bench:
        source = bench.load(TONE)
        bench.render(1000)
        serial = bench.start(0, source, frame=400)
        out = bench.render(10)
        assert bench.late() == {serial: 600}
        assert int(bench.desk.ledger["latest_frames"]) == 600
    assert _first(out) == 0


def test_frame_zero_is_at_once_and_not_late() -> None:
    with Bench() as bench:
        bench.render(777)
        bench.start(0, bench.load(TONE))
        assert _first(bench.render(10)) == 0
        assert bench.late() == {}
        assert int(bench.desk.ledger["late_commands"]) == 0


def test_command_for_the_very_next_frame_is_in_time() -> None:
    with Bench() as bench:
        bench.render(777)
        bench.start(0, bench.load(TONE), frame=777)
        assert _first(bench.render(10)) == 0
        assert bench.late() == {}
        assert int(bench.desk.ledger["late_commands"]) == 0


def test_command_far_ahead_waits() -> None:
    with Bench() as bench:
        bench.start(0, bench.load(TONE), frame=1 << 40)
        assert not bench.render(5000).any()
        assert int(bench.desk.master["pending"]) == 1


def test_equal_frames_in_the_order_they_were_sent() -> None:
    with Bench() as bench:
        bench.start(0, bench.load(TONE))
        for target in (0.9, 0.1, 0.5):
            bench.ramp(deck_level_ramp(0), target, 0, frame=100)
        out = bench.render(200)[:, 0]
    assert np.allclose(out[100:], 0.05)
    assert np.allclose(out[:100], 0.1)


def test_full_heap_refuses_and_counts() -> None:
    with Bench() as bench:
        for _turn in range(4):
            records = [bench.command(OP_RAMP, index=0, x=1.0, frame=10**9) for _ in range(2500)]
            assert bench.push(*records)
            bench.render(10)
        refused = 10000 - PENDING
        assert int(bench.desk.ledger["pending_refused"]) == refused
        events = bench.events()
        assert events["kind"].tolist() == [EV_REFUSED] * refused
        assert events["serial"].tolist() == list(range(PENDING + 1, 10001))
        assert int(bench.desk.master["pending"]) == PENDING
        # What is due still comes, and makes room.
        assert not bench.render(100).any()


def test_heap_is_whole_after_having_been_full() -> None:
    rng = np.random.default_rng(1)
    with Bench() as bench:
        frames = rng.integers(1, 20000, PENDING)
        records = np.concatenate([bench.command(OP_MARK, frame=int(frame)) for frame in frames])
        for half in np.split(records, 4):
            assert bench.push(half)
        got = []
        for _turn in range(40):
            bench.render(500)
            events = bench.events()
            assert len(events) < EVENT_RING
            got += events["frame"].tolist()
        assert got == sorted(frames.tolist())
        for _turn in range(2):  # and its free places are all there again
            for half in np.split(records, 4):
                half["frame"] = 10**9
                assert bench.push(half)
            bench.render(1)
            assert int(bench.desk.master["pending"]) == PENDING


def test_full_ring_refuses_the_whole_batch() -> None:
    with Bench() as bench:
        batch = np.concatenate([bench.command(OP_RAMP, index=0, x=1.0)] * (COMMAND_RING - 1))
        two = np.concatenate([bench.command(OP_RAMP, index=0, x=0.25)] * 2)
        assert bench.push(batch)
        assert not bench.push(two)
        assert int(bench.desk.rings["command_head"]) == COMMAND_RING - 1
        assert bench.push(two[:1])
        assert not bench.push(two[:1])
        bench.render(1)
        assert int(bench.desk.ledger["commands"]) == COMMAND_RING
        assert bench.push(two)


def test_cancel_drops_what_waits_of_one_voice() -> None:
    with Bench() as bench:
        source = bench.load(TONE)
        first = bench.start(0, source, frame=500)
        bench.start(1, source, deck=1, frame=600)
        bench.send(OP_SEEK, target=0, start=100, frame=550)
        bench.send(OP_CANCEL, target=0, frame=300)
        out = bench.render(1000)
        events = bench.events()
        cancelled = events[events["kind"] == EV_ENDED]
        assert cancelled["serial"].tolist() == [first]
        assert cancelled["value"].tolist() == [CANCELLED]
        assert events["serial"][events["kind"] == EV_STARTED].tolist() == [2]
    assert _first(out) == 600
    assert np.allclose(out[600:900], 0.1)


@pytest.mark.parametrize("frame", [0, 200])
def test_cancel_spares_what_was_sent_after_it(frame: int) -> None:
    # Stop, and play again later: that is one message after the other in the same block.
    with Bench() as bench:
        source = bench.load(TONE)
        bench.start(0, source, frame=400)
        bench.send(OP_CANCEL, target=0, frame=frame)
        bench.send(OP_STOP, target=0, frame=frame)
        again = bench.start(0, source, frame=500)
        out = bench.render(1000)
        events = bench.events()
        assert events["serial"][events["kind"] == EV_STARTED].tolist() == [again]
    assert _first(out) == 500


def test_ended_is_reported_once_with_its_reason() -> None:
    with Bench() as bench:
        source = bench.load(noise(3000, peak=0.1))
        ran_out = bench.start(0, source)
        stopped = bench.start(1, source, deck=1, loop=(0, 3000))
        bench.send(OP_STOP, target=1, frame=9000)
        bench.render(20000, 100)
        events = bench.events()
        ended = events[events["kind"] == EV_ENDED]
        assert ended["serial"].tolist() == [ran_out, stopped]
        assert ended["value"].tolist() == [0.0, 1.0]
        assert 3000 <= int(ended["frame"][0]) <= 3000 + 2000
        assert 9000 + 256 <= int(ended["frame"][1]) <= 9000 + 256 + 100


def test_lost_events_are_counted() -> None:
    with Bench() as bench:
        mark = np.concatenate([bench.command(OP_MARK)] * 6000)
        assert bench.push(mark)
        bench.render(10)
        assert int(bench.desk.ledger["events_lost"]) == 6000 - EVENT_RING
        assert len(bench.events()) == EVENT_RING
        assert len(bench.events()) == 0


def test_malformed_start_does_not_hang_or_crash() -> None:
    # A loop that ends before it begins, or a start before the file: played without them.
    with Bench() as bench:
        source = bench.load(TONE)
        bench.start(0, source, loop=(2000, 2000))
        bench.start(1, source, loop=(2000, 100), deck=1)
        bench.start(2, source, start=-50, deck=2)
        bench.start(3, source, start=10**9, deck=3)
        out = bench.render(9000)
        assert not bench.desk.voices["state"].any()
    assert np.all(np.isfinite(out))
    assert np.allclose(out[10], 0.3)
