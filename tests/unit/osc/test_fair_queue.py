"""Packets take turns by sender, each within its rate, and nothing made up fills the memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crowdstream.osc.acl import AllowList, TrustLevel
from crowdstream.osc.fair_queue import (
    MAX_SENDERS,
    SETTLED_SECONDS,
    STRANGER_LIMIT,
    TRUSTED_LIMIT,
    WARNING_SECONDS,
    FairQueue,
)

SEQUENCER, FLOOD, OTHER = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.2", 1)
STRANGER, STRANGER_2 = ("192.0.2.1", 9), ("192.0.2.2", 9)
PACKET = b"/a\0\0,\0\0\0"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def queue(clock: Clock, *allow: str) -> FairQueue:
    return FairQueue(AllowList(allow), clock)


def taken(box: FairQueue, limit: int = 1 << 30) -> list[tuple[bytes, object]]:
    found: list[tuple[bytes, object]] = []
    while len(found) < limit:
        packet = box.take()
        if packet is None:
            break
        found.append(packet)
    return found


def test_a_flood_delays_another_by_one_packet(clock: Clock) -> None:
    box = queue(clock)
    for number in range(5000):
        box.put(b"%d" % number, FLOOD)
    for number in range(10):
        box.put(b"s%d" % number, SEQUENCER)
        box.put(b"o%d" % number, OTHER)
    first = taken(box, 30)
    assert [packet for packet, sender in first if sender == SEQUENCER] == [
        b"s%d" % number for number in range(10)
    ], "and in their order"
    rest = taken(box)
    assert all(sender == FLOOD for _, sender in rest)
    assert [packet for packet, sender in first + rest if sender == FLOOD] == [
        b"%d" % number for number in range(5000)
    ]
    assert (box.waiting, box.refused) == (0, 0)


def test_one_that_comes_while_a_flood_is_handled_is_next_but_one(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(1000):
        box.put(PACKET, FLOOD)
    for _ in range(50):
        taken(box, 7)
        box.put(PACKET, SEQUENCER)
        assert SEQUENCER in [sender for _, sender in taken(box, 2)]


def test_any_number_of_strangers_take_turns_with_the_trusted(clock: Clock) -> None:
    box = queue(clock)
    for number in range(500):
        for _ in range(4):
            box.put(PACKET, (f"192.0.{number >> 8}.{number & 255}", 5))
    for _ in range(20):
        box.put(PACKET, SEQUENCER)
    assert sum(sender == SEQUENCER for _, sender in taken(box, 40)) == 20


def test_a_flood_of_the_trusted_leaves_strangers_their_turns(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(1000):
        box.put(PACKET, FLOOD)
    for _ in range(20):
        box.put(PACKET, STRANGER)
    assert sum(sender == STRANGER for _, sender in taken(box, 40)) == 20


def test_a_sequencer_may_send_twenty_thousand_a_second_for_long(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(200):  # 10 s in bursts of 50 ms, and bursts of a whole set
        for _ in range(1000):
            box.put(bytes(200), SEQUENCER)
        taken(box)
        clock.now += 0.05
    for _ in range(50_000):
        box.put(PACKET, SEQUENCER)
    assert (box.refused, box.waiting) == (0, 50_000)


def test_what_is_above_the_rate_is_counted_and_its_sender_named_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    box = queue(clock)
    for _ in range(10):
        for _ in range(1000):
            box.put(PACKET, STRANGER)
        taken(box)
        clock.now += 0.1
    sent, burst, rate = 10_000, STRANGER_LIMIT.burst, STRANGER_LIMIT.rate
    assert box.limited == box.refused == sent - burst - 0.9 * rate
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("192.0.2.1 port 9 sends more than it may as a stranger")
    clock.now += WARNING_SECONDS
    caplog.clear()
    for _ in range(5000):
        box.put(PACKET, STRANGER_2)
        taken(box)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("192.0.2.2 port 9 sends")
    assert "more like it)" in line


def test_the_flood_of_one_stranger_leaves_another_its_rate(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(40):
        for _ in range(1000):
            box.put(PACKET, STRANGER)
        for _ in range(5):
            box.put(PACKET, STRANGER_2)
        assert sum(sender == STRANGER_2 for _, sender in taken(box)) == 5
        clock.now += 0.01


def test_a_stranger_is_an_address_whatever_the_port_and_the_end_of_ipv6(clock: Clock) -> None:
    for hosts in ([f"2001:db8::{n:x}" for n in range(50)], ["192.0.2.1"] * 50):
        box = queue(clock)
        for _ in range(100):
            for port, host in enumerate(hosts):
                box.put(PACKET, (host, port))
            taken(box)
        assert box.limited == 5000 - STRANGER_LIMIT.burst


def test_strangers_together_have_a_rate(clock: Clock) -> None:
    box = queue(clock)
    done = 0
    for number in range(10_000):
        box.put(PACKET, (f"198.51.{number >> 8}.{number & 255}", 1))
        done += len(taken(box))
    assert done == STRANGER_LIMIT.burst_of_all and not box.ready
    assert box.waiting == STRANGER_LIMIT.room and box.refused == 10_000 - done - box.waiting
    clock.now += 1.0
    assert box.ready and len(taken(box)) == STRANGER_LIMIT.rate_of_all
    for _ in range(10):
        box.put(PACKET, SEQUENCER)
    assert len(taken(box)) == 10, "who is trusted does not wait for that"


def test_a_long_packet_costs_as_many_short_ones(clock: Clock) -> None:
    box = queue(clock)
    size = STRANGER_LIMIT.max_packet_bytes
    for _ in range(100):
        box.put(bytes(size), STRANGER)
        taken(box)
    assert box.limited == 100 - STRANGER_LIMIT.burst // (size // STRANGER_LIMIT.token_bytes)
    box = queue(clock)
    box.put(bytes(size + 1), STRANGER)
    box.put(bytes(size + 1), SEQUENCER)
    assert (box.limited, box.waiting) == (1, 1)


def test_made_up_addresses_and_ports_fill_no_memory(clock: Clock) -> None:
    box = queue(clock)
    for number in range(20_000):
        box.put(PACKET, (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", number))
        box.put(PACKET, ("127.0.0.1", number))
    assert box.remembered == 2 * MAX_SENDERS
    strangers = STRANGER_LIMIT.room // 1
    assert box.waiting <= 20_000 + strangers
    assert len(taken(box)) + box.refused == 40_000


def test_there_is_always_room_for_one_more(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(TRUSTED_LIMIT.room):
        box.put(b"", FLOOD)
    assert box.waiting == TRUSTED_LIMIT.room // 2
    for _ in range(1000):
        box.put(PACKET, SEQUENCER)
    assert sum(sender == SEQUENCER for _, sender in taken(box, 2000)) == 1000
    big = bytes(65_000)
    for _ in range(2000):
        box.put(big, OTHER)
    before = box.refused
    for _ in range(100):
        box.put(PACKET, ("127.0.0.3", 1))
    assert box.refused == before


def test_the_barred_are_dropped_counted_and_named_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    box = queue(clock, "192.0.2.2/32")
    for _ in range(1000):
        box.put(PACKET, STRANGER)
        box.put(PACKET, STRANGER_2)
    assert (box.barred, box.waiting, box.refused) == (1000, 1000, 0)
    assert box.remembered == 1
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "a packet from 192.0.2.1 was dropped: the address is not on --osc-allow"


def strangers(clock: Clock, box: FairQueue, flood: Callable[[int], tuple[bytes, str]]) -> float:
    """Which part of the packets of one more stranger, 50 a second, is carried out in a flood.

    `flood`: the packet with a number, and its address; 20 000 of them a second.
    """
    done = sent = number = 0
    for _ in range(100):
        for _ in range(200):
            packet, host = flood(number)
            box.put(packet, (host, 1))
            number += 1
        if sent < number // 400:
            box.put(b"hand", STRANGER)
            sent += 1
        done += sum(packet == b"hand" for packet, _ in taken(box))
        clock.now += 0.01
    return done / sent


@pytest.mark.parametrize("senders", [1, 3, 100])
@pytest.mark.parametrize("size", [8, 4096])
def test_however_many_flood_another_stranger_is_heard(
    clock: Clock, senders: int, size: int
) -> None:
    packet = bytes(size)
    found = strangers(clock, queue(clock), lambda n: (packet, f"198.51.100.{n % senders}"))
    share = STRANGER_LIMIT.rate_of_all / (senders + 1)  # tokens a second, as each of the others
    assert found > 0.9 * min(1.0, share / 50.0)


def test_a_stranger_that_was_heard_before_is_heard_among_any_number_of_made_up_ones(
    clock: Clock,
) -> None:
    box = queue(clock)
    for _ in range(2):
        box.put(b"hand", STRANGER)
        taken(box)
        clock.now += SETTLED_SECONDS + 1.0
    made_up = strangers(clock, box, lambda n: (PACKET, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    assert made_up > 0.95
    assert box.remembered <= 2 * MAX_SENDERS


def test_made_up_addresses_do_not_take_the_place_of_strangers_that_are_heard(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(2):
        for number in range(MAX_SENDERS // 2):
            box.put(PACKET, (f"10.0.{number >> 8}.{number & 255}", 1))
        clock.now += SETTLED_SECONDS
        taken(box)
    assert box.remembered <= 2 * MAX_SENDERS
    settled = box._kinds[TrustLevel.STRANGER].settled.known
    before = set(settled)
    assert before
    for _ in range(3):
        for number in range(2000):
            box.put(PACKET, (f"10.9.{number >> 8}.{number & 255}", 1))
        clock.now += SETTLED_SECONDS
        taken(box)
    assert before <= set(settled)
