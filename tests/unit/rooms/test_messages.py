"""Messages in order over packets that get lost, repeated and overtaken."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from crowdstream.rooms.messages import MAX_PENDING, Overflow, Receiver, Sender


def deliver(messages: list[dict[str, Any]], loss: float, seed: int = 1) -> list[dict[str, Any]]:
    """Send messages over a network that loses and reorders; returns what arrives."""
    rng = random.Random(seed)
    sender, receiver = Sender(), Receiver()
    for one in messages:
        sender.add(one)
    found: list[dict[str, Any]] = []
    now = 0.0
    on_way: list[bytes] = []
    while sender.next_at() is not None:
        now += 0.01
        on_way += [payload for payload in sender.due(now) if rng.random() >= loss]
        rng.shuffle(on_way)
        for _ in range(len(on_way) // 2 + 1):
            if on_way:
                found += receiver.receive(on_way.pop())
        if rng.random() >= loss:
            sender.acknowledge(*receiver.acknowledgement())
    return found


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.5])
def test_messages_arrive_once_and_in_order(loss: float) -> None:
    rng = random.Random(3)
    sent = [{"n": n, "noise": rng.randbytes(rng.choice((5, 4000))).hex()} for n in range(100)]
    assert deliver(sent, loss) == sent


def test_a_part_is_repeated_until_it_is_acknowledged() -> None:
    sender = Sender()
    sender.add({"a": 1})
    assert len(list(sender.due(1.0))) == 1
    assert list(sender.due(1.01)) == []
    assert len(list(sender.due(1.021))) == 1
    assert sender.repeated == 1
    sender.acknowledge(0, 1)
    assert sender.next_at() is None and list(sender.due(2.0)) == []


def test_a_room_that_takes_nothing_is_given_up() -> None:
    sender, rng = Sender(), random.Random(4)
    with pytest.raises(Overflow):
        for _ in range(100):
            sender.add({"noise": rng.randbytes(200_000).hex()})
    assert len(list(sender.due(0.0))) == MAX_PENDING


@pytest.mark.parametrize("payload", [b"", b"abc", bytes(4) + b"\x01junk"])
def test_a_part_that_no_sender_makes_delivers_nothing(payload: bytes) -> None:
    receiver = Receiver()
    with contextlib.suppress(ValueError):
        assert receiver.receive(payload) == []
    assert receiver.acknowledgement() == (0, 0)
