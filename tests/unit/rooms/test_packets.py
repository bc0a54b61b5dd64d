"""Authentication of packets, and protection from repetition."""

from __future__ import annotations

import pytest

from crowdstream.rooms.packets import (
    DATA,
    HELLO,
    MAX_PACKET,
    REPLAY_WINDOW,
    KeyUnusable,
    Seal,
    make_open,
    read_key,
    read_open,
    session_key,
)

KEY = read_key(b"a secret of sixteen or more")
SESSION = b"12345678"


def pair(key: bytes = KEY) -> tuple[Seal, Seal]:
    return Seal(key, SESSION, b"L"), Seal(key, SESSION, b"F")


def test_a_packet_is_opened_once() -> None:
    leader, follower = pair()
    packet = leader.make(DATA, b"play")
    opened = follower.open(packet)
    assert opened is not None and (opened.kind, opened.payload) == (DATA, b"play")
    assert follower.open(packet) is None


def test_packets_may_overtake_each_other() -> None:
    leader, follower = pair()
    packets = [leader.make(DATA, bytes([n])) for n in range(200)]
    found = [follower.open(one) for one in [*packets[100:], *packets[:100]]]
    assert None not in found
    assert all(follower.open(one) is None for one in packets)


def test_a_packet_that_is_too_old_is_refused() -> None:
    leader, follower = pair()
    first = leader.make(DATA, b"old")
    for _ in range(REPLAY_WINDOW):
        assert follower.open(leader.make(DATA, b"")) is not None
    assert follower.open(first) is None


def test_no_bit_may_be_changed() -> None:
    leader, follower = pair()
    packet = leader.make(DATA, b"play")
    for bit in range(8 * len(packet)):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        assert follower.open(bytes(forged)) is None
    assert follower.open(packet) is not None


def test_a_packet_of_another_key_session_or_direction_is_refused() -> None:
    leader, follower = pair()
    packet = leader.make(DATA, b"play")
    assert leader.open(packet) is None  # returned to its sender
    assert Seal(KEY, b"87654321", b"F").open(packet) is None
    assert pair(read_key(b"another secret, as long"))[1].open(packet) is None
    assert follower.open(packet[:20]) is None
    assert follower.open(b"") is None
    assert follower.open(packet + bytes(2 * MAX_PACKET)) is None


def test_a_session_has_a_key_of_its_own() -> None:
    keys = {session_key(KEY, a, b) for a in (b"1" * 16, b"2" * 16) for b in (b"3" * 16, b"4" * 16)}
    assert len(keys) == 4


def test_a_greeting_needs_the_shared_key() -> None:
    packet = make_open(KEY, b"F", HELLO, SESSION, b"number")
    assert read_open(KEY, b"F", packet) is not None
    assert read_open(KEY, b"L", packet) is None
    assert read_open(read_key(b"another secret, as long"), b"F", packet) is None
    assert read_open(KEY, b"F", packet[:-1]) is None


def test_a_short_key_is_refused_with_a_remedy() -> None:
    with pytest.raises(KeyUnusable, match="openssl"):
        read_key(b"  short\n")
    assert read_key(b" sixteen letters! \n") == read_key(b"sixteen letters!")
