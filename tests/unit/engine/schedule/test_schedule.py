"""Commands take effect at their frames, in order; late, refused and cancelled ones are reported."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.desk.constants import COMMAND_RING, EVENT_RING, PENDING
from crowdstream.desk.opcodes import (
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
from crowdstream.engine.schedule.command_heap import CANCELLED
from tests.support.render_harness import RenderHarness, noise

TONE = np.full(3000, 0.1, np.float32)


def _first(out: np.ndarray) -> int:
    return int(np.flatnonzero(out.any(axis=1))[0])


@settings(max_examples=60)
@given(
    frame=st.integers(1, 6000),
    blocks=st.lists(st.integers(1, 2048), min_size=1, max_size=12),
    decks=st.integers(1, 4),
)
def test_a_group_starts_on_its_frame_at_any_block_length(
    frame: int, blocks: list[int], decks: int
) -> None:
    with RenderHarness(pages=8) as harness:
        source = harness.load(TONE)
        records = [
            harness.start_command(deck, source, deck=deck, frame=frame) for deck in range(decks)
        ]
        assert harness.push(*records)
        out = harness.render(frame + 10, blocks)
        assert harness.started() == [frame] * decks
        assert int(harness.desk.ledger["late_commands"]) == 0
    assert _first(out) == frame
    assert np.allclose(out[frame], 0.1 * decks)


@settings(max_examples=40)
@given(
    frames=st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    blocks=st.lists(st.integers(1, 1500), min_size=1, max_size=8),
)
def test_commands_take_effect_at_their_frames_in_order(
    frames: list[int], blocks: list[int]
) -> None:
    with RenderHarness(pages=4) as harness:
        serials = [harness.send(OP_MARK, frame=frame) for frame in frames]
        harness.render(5100, blocks)
        marks = harness.events()
    assert (marks["kind"] == EV_MARK).all()
    order = sorted(zip(frames, serials, strict=True))
    assert marks["serial"].tolist() == [serial for _frame, serial in order]
    assert marks["frame"].tolist() == [frame for frame, _serial in order]


@settings(max_examples=30)
@given(st.data())
def test_the_heap_agrees_with_a_model(data: st.DataObject) -> None:
    # Commands arrive between blocks, some with frames that have passed.
    with RenderHarness(pages=4) as harness:
        waiting: list[tuple[int, int]] = []
        done: list[tuple[int, int]] = []
        late: dict[int, int] = {}
        now = 0
        for _turn in range(data.draw(st.integers(1, 12))):
            wishes = data.draw(st.lists(st.integers(-50, 900), max_size=20))
            for ahead in wishes:
                frame = max(0, now + ahead)
                serial = harness.send(OP_MARK, frame=frame)
                heapq.heappush(waiting, (max(frame, now), serial))
                if 0 < frame < now:
                    late[serial] = now - frame
            length = data.draw(st.integers(1, 400))
            harness.render(length, 4096)
            while waiting and waiting[0][0] < now + length:
                done.append(heapq.heappop(waiting))
            now += length
        events = harness.events()
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
        ledger = harness.desk.ledger
        assert int(ledger["late_commands"]) == len(late)
        assert int(ledger["latest_frames"]) == max(late.values(), default=0)
        assert int(harness.desk.master["pending"]) == len(waiting)


def test_a_late_command_takes_effect_now_and_reports_its_lateness() -> None:
    with RenderHarness() as harness:
        source = harness.load(TONE)
        harness.render(1000)
        serial = harness.start(0, source, frame=400)
        out = harness.render(10)
        assert harness.late() == {serial: 600}
        assert int(harness.desk.ledger["latest_frames"]) == 600
    assert _first(out) == 0


def test_a_command_at_frame_zero_is_immediate_and_not_late() -> None:
    with RenderHarness() as harness:
        harness.render(777)
        harness.start(0, harness.load(TONE))
        assert _first(harness.render(10)) == 0
        assert harness.late() == {}
        assert int(harness.desk.ledger["late_commands"]) == 0


def test_a_command_for_the_next_frame_is_not_late() -> None:
    with RenderHarness() as harness:
        harness.render(777)
        harness.start(0, harness.load(TONE), frame=777)
        assert _first(harness.render(10)) == 0
        assert harness.late() == {}
        assert int(harness.desk.ledger["late_commands"]) == 0


def test_a_command_far_ahead_stays_scheduled() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(TONE), frame=1 << 40)
        assert not harness.render(5000).any()
        assert int(harness.desk.master["pending"]) == 1


def test_commands_of_one_frame_keep_their_order() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(TONE))
        for target in (0.9, 0.1, 0.5):
            harness.ramp(deck_level_ramp(0), target, 0, frame=100)
        out = harness.render(200)[:, 0]
    assert np.allclose(out[100:], 0.05)
    assert np.allclose(out[:100], 0.1)


def test_a_full_heap_refuses_and_counts() -> None:
    with RenderHarness() as harness:
        for _turn in range(4):
            records = [harness.command(OP_RAMP, index=0, x=1.0, frame=10**9) for _ in range(2500)]
            assert harness.push(*records)
            harness.render(10)
        refused = 10000 - PENDING
        assert int(harness.desk.ledger["pending_refused"]) == refused
        events = harness.events()
        assert events["kind"].tolist() == [EV_REFUSED] * refused
        assert events["serial"].tolist() == list(range(PENDING + 1, 10001))
        assert int(harness.desk.master["pending"]) == PENDING
        # Due commands still take effect, and free their slots.
        assert not harness.render(100).any()


def test_a_heap_that_was_full_works_again() -> None:
    rng = np.random.default_rng(1)
    with RenderHarness() as harness:
        frames = rng.integers(1, 20000, PENDING)
        records = np.concatenate([harness.command(OP_MARK, frame=int(frame)) for frame in frames])
        for half in np.split(records, 4):
            assert harness.push(half)
        got = []
        for _turn in range(40):
            harness.render(500)
            events = harness.events()
            assert len(events) < EVENT_RING
            got += events["frame"].tolist()
        assert got == sorted(frames.tolist())
        for _turn in range(2):  # all slots are free again afterwards
            for half in np.split(records, 4):
                half["frame"] = 10**9
                assert harness.push(half)
            harness.render(1)
            assert int(harness.desk.master["pending"]) == PENDING


def test_a_full_ring_refuses_the_whole_batch() -> None:
    with RenderHarness() as harness:
        batch = np.concatenate([harness.command(OP_RAMP, index=0, x=1.0)] * (COMMAND_RING - 1))
        two = np.concatenate([harness.command(OP_RAMP, index=0, x=0.25)] * 2)
        assert harness.push(batch)
        assert not harness.push(two)
        assert int(harness.desk.rings["command_head"]) == COMMAND_RING - 1
        assert harness.push(two[:1])
        assert not harness.push(two[:1])
        harness.render(1)
        assert int(harness.desk.ledger["commands"]) == COMMAND_RING
        assert harness.push(two)


def test_cancel_drops_scheduled_commands_of_one_voice() -> None:
    with RenderHarness() as harness:
        source = harness.load(TONE)
        first = harness.start(0, source, frame=500)
        harness.start(1, source, deck=1, frame=600)
        harness.send(OP_SEEK, target=0, start=100, frame=550)
        harness.send(OP_CANCEL, target=0, frame=300)
        out = harness.render(1000)
        events = harness.events()
        cancelled = events[events["kind"] == EV_ENDED]
        assert cancelled["serial"].tolist() == [first]
        assert cancelled["value"].tolist() == [CANCELLED]
        assert events["serial"][events["kind"] == EV_STARTED].tolist() == [2]
    assert _first(out) == 600
    assert np.allclose(out[600:900], 0.1)


@pytest.mark.parametrize("frame", [0, 200])
def test_cancel_spares_commands_sent_after_it(frame: int) -> None:
    # Stop, then play again later: one message after the other in the same block.
    with RenderHarness() as harness:
        source = harness.load(TONE)
        harness.start(0, source, frame=400)
        harness.send(OP_CANCEL, target=0, frame=frame)
        harness.send(OP_STOP, target=0, frame=frame)
        again = harness.start(0, source, frame=500)
        out = harness.render(1000)
        events = harness.events()
        assert events["serial"][events["kind"] == EV_STARTED].tolist() == [again]
    assert _first(out) == 500


def test_the_end_of_a_voice_is_reported_once_with_its_reason() -> None:
    with RenderHarness() as harness:
        source = harness.load(noise(3000, peak=0.1))
        ran_out = harness.start(0, source)
        stopped = harness.start(1, source, deck=1, loop=(0, 3000))
        harness.send(OP_STOP, target=1, frame=9000)
        harness.render(20000, 100)
        events = harness.events()
        ended = events[events["kind"] == EV_ENDED]
        assert ended["serial"].tolist() == [ran_out, stopped]
        assert ended["value"].tolist() == [0.0, 1.0]
        assert 3000 <= int(ended["frame"][0]) <= 3000 + 2000
        assert 9000 + 256 <= int(ended["frame"][1]) <= 9000 + 256 + 100


def test_lost_events_are_counted() -> None:
    with RenderHarness() as harness:
        mark = np.concatenate([harness.command(OP_MARK)] * 6000)
        assert harness.push(mark)
        harness.render(10)
        assert int(harness.desk.ledger["events_lost"]) == 6000 - EVENT_RING
        assert len(harness.events()) == EVENT_RING
        assert len(harness.events()) == 0


def test_a_malformed_start_does_not_hang_or_crash() -> None:
    # A loop that ends before it begins, or a start before the file: both are ignored.
    with RenderHarness() as harness:
        source = harness.load(TONE)
        harness.start(0, source, loop=(2000, 2000))
        harness.start(1, source, loop=(2000, 100), deck=1)
        harness.start(2, source, start=-50, deck=2)
        harness.start(3, source, start=10**9, deck=3)
        out = harness.render(9000)
        assert not harness.desk.voices["state"].any()
    assert np.all(np.isfinite(out))
    assert np.allclose(out[10], 0.3)
