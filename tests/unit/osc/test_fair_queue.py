"""Fair queuing: senders take turns within their rates, and forged addresses fill no memory."""

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
    """A monotonic clock that is set by the test."""

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


def test_a_flood_delays_another_sender_by_one_packet(clock: Clock) -> None:
    box = queue(clock)
    for number in range(5000):
        box.put(b"%d" % number, FLOOD)
    for number in range(10):
        box.put(b"s%d" % number, SEQUENCER)
        box.put(b"o%d" % number, OTHER)
    first = taken(box, 30)
    assert [packet for packet, sender in first if sender == SEQUENCER] == [
        b"s%d" % number for number in range(10)
    ], "in order"
    rest = taken(box)
    assert all(sender == FLOOD for _, sender in rest)
    assert [packet for packet, sender in first + rest if sender == FLOOD] == [
        b"%d" % number for number in range(5000)
    ]
    assert (box.waiting, box.refused) == (0, 0)


def test_a_sender_during_a_flood_waits_for_at_most_one_packet(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(1000):
        box.put(PACKET, FLOOD)
    for _ in range(50):
        taken(box, 7)
        box.put(PACKET, SEQUENCER)
        assert SEQUENCER in [sender for _, sender in taken(box, 2)]


def test_any_number_of_strangers_take_turns_with_trusted_senders(clock: Clock) -> None:
    box = queue(clock)
    for number in range(500):
        for _ in range(4):
            box.put(PACKET, (f"192.0.{number >> 8}.{number & 255}", 5))
    for _ in range(20):
        box.put(PACKET, SEQUENCER)
    assert sum(sender == SEQUENCER for _, sender in taken(box, 40)) == 20


def test_a_flood_from_a_trusted_sender_leaves_strangers_their_turns(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(1000):
        box.put(PACKET, FLOOD)
    for _ in range(20):
        box.put(PACKET, STRANGER)
    assert sum(sender == STRANGER for _, sender in taken(box, 40)) == 20


def test_a_sequencer_may_send_twenty_thousand_messages_a_second(clock: Clock) -> None:
    box = queue(clock)
    for _ in range(200):  # 10 s of bursts every 50 ms, then a burst of a whole set
        for _ in range(1000):
            box.put(bytes(200), SEQUENCER)
        taken(box)
        clock.now += 0.05
    for _ in range(50_000):
        box.put(PACKET, SEQUENCER)
    assert (box.refused, box.waiting) == (0, 50_000)


def test_packets_above_the_rate_are_counted_and_their_sender_logged_once(
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
    assert line.startswith("192.0.2.1 port 9 exceeds the rate limit of strangers")
    clock.now += WARNING_SECONDS
    caplog.clear()
    for _ in range(5000):
        box.put(PACKET, STRANGER_2)
        taken(box)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("192.0.2.2 port 9 exceeds")
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


def test_a_stranger_is_limited_by_address_regardless_of_port_and_ipv6_suffix(clock: Clock) -> None:
    for hosts in ([f"2001:db8::{n:x}" for n in range(50)], ["192.0.2.1"] * 50):
        box = queue(clock)
        for _ in range(100):
            for port, host in enumerate(hosts):
                box.put(PACKET, (host, port))
            taken(box)
        assert box.limited == 5000 - STRANGER_LIMIT.burst


def test_strangers_share_a_total_rate(clock: Clock) -> None:
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
    assert len(taken(box)) == 10, "trusted senders do not wait for that"


def test_a_long_packet_costs_as_much_as_many_short_ones(clock: Clock) -> None:
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


def test_forged_addresses_and_ports_do_not_fill_the_memory(clock: Clock) -> None:
    box = queue(clock)
    for number in range(20_000):
        box.put(PACKET, (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", number))
        box.put(PACKET, ("127.0.0.1", number))
    assert box.remembered == 2 * MAX_SENDERS
    strangers = STRANGER_LIMIT.room // 1
    assert box.waiting <= 20_000 + strangers
    assert len(taken(box)) + box.refused == 40_000


def test_a_flood_always_leaves_room_for_another_sender(clock: Clock) -> None:
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


def test_packets_of_barred_senders_are_dropped_counted_and_logged_once(
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
    """Return the fraction of one stranger's packets, 50 a second, that is handled in a flood.

    `flood` returns the packet with a number and its address; 20 000 of them arrive a second.
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
def test_a_stranger_gets_its_share_however_many_others_flood(
    clock: Clock, senders: int, size: int
) -> None:
    packet = bytes(size)
    found = strangers(clock, queue(clock), lambda n: (packet, f"198.51.100.{n % senders}"))
    share = STRANGER_LIMIT.rate_of_all / (senders + 1)  # tokens per second, as for each other one
    assert found > 0.9 * min(1.0, share / 50.0)


def test_a_known_stranger_gets_its_turns_among_any_number_of_forged_addresses(
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


def test_forged_addresses_do_not_displace_known_strangers(clock: Clock) -> None:
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
