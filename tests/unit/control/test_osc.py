"""The OSC socket: what finds no room, and what is lost, is counted."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from crowdstream.control.inbox import TRUSTED_LIMIT
from crowdstream.control.osc import OscSocket
from tests.support.server import until


def drained(osc: OscSocket) -> int:
    """How many packets have come, once all that are there have been taken in."""
    osc.drain()
    return osc.received


def test_packets_that_find_no_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = dataclasses.replace(TRUSTED_LIMIT, room=200, room_bytes=200_000)
    monkeypatch.setattr("crowdstream.control.inbox.TRUSTED_LIMIT", limit)
    osc = OscSocket("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(150):
            client.sendto(b"/a\0\0", ("127.0.0.1", osc.port))
        until(lambda: drained(osc) == 150)
        assert (osc.waiting, osc.refused) == (100, 50)
        assert len(list(osc.take(64))) == 64
        assert len(list(osc.take(64))) == 36
        for _ in range(20):
            client.sendto(bytes(10_000), ("127.0.0.1", osc.port))
        until(lambda: drained(osc) == 170)
        assert (osc.waiting, osc.refused, osc.limited) == (10, 60, 0)
    osc.close()


def test_packets_that_the_system_drops_are_counted() -> None:
    osc = OscSocket("127.0.0.1", 0)
    osc._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(1000):
            client.sendto(bytes(1000), ("127.0.0.1", osc.port))
    osc.drain()
    assert osc.dropped > 0
    assert osc.received + osc.dropped == 1000
    assert osc._dropped_by_table() == osc.dropped
    osc.close()


def test_an_answer_that_can_not_be_sent_is_counted() -> None:
    osc = OscSocket("127.0.0.1", 0)
    osc.answer(("127.0.0.1", 9), "/big", "x" * 70000)
    assert osc.answers_lost == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
    for _ in range(5):
        osc.answer(nobody, "/done")
        osc.drain()
    osc.close()
