"""Slots of connections, and the options of their sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from crowdstream.web.auth import listener_sockets
from crowdstream.web.auth.limits import SEND_BUFFER_BYTES, SEND_SECONDS
from crowdstream.web.auth.listener_sockets import ConnectionSlots, bound, reset


def test_the_largest_client_loses_its_oldest_idle_connection() -> None:
    places = ConnectionSlots(6, 100, 0)
    dropped: list[str] = []
    for number in range(6):
        place = places.enter("10.0.0.1")
        assert place is not None
        place.busy = number == 0
        place.drop = lambda number=number: dropped.append(str(number))  # type: ignore[misc]
    assert all(places.enter("10.0.0.2") for _ in range(3))
    assert dropped == ["1", "2", "3"], "the one that is being answered is kept"
    assert places.refused == 3, "each of them was replaced"
    assert places.enter("10.0.0.2") is None, "both have as many"
    assert places.refused == 4
    assert (places.total, places.of("10.0.0.1"), places.of("10.0.0.2")) == (6, 3, 3)
    assert places.enter("10.0.0.3") is not None


def test_a_client_whose_connections_are_all_busy_loses_none() -> None:
    places = ConnectionSlots(3, 100, 0)
    for _ in range(3):
        place = places.enter("10.0.0.1")
        assert place is not None
        place.busy = True
    assert places.enter("10.0.0.2") is None
    assert (places.total, places.refused) == (3, 1)


def test_a_slot_that_is_released_twice_counts_once() -> None:
    places = ConnectionSlots(3, 100, 0)
    first, second = places.enter("10.0.0.1"), places.enter("10.0.0.1")
    assert first is not None and second is not None
    assert first.address == "10.0.0.1" and not first.busy
    first.leave()
    first.leave()
    assert (places.total, places.of("10.0.0.1")) == (1, 1)


def test_an_authenticated_address_may_use_reserved_slots() -> None:
    places = ConnectionSlots(4, 100, 2)
    assert [places.enter("10.0.0.1") is not None for _ in range(2)] == [True, True]
    places._taken.popitem()[0].busy = True
    assert places.enter("10.0.0.2") is not None, "an idle one of the other's"
    places.mark_authenticated("10.0.0.9")
    assert [places.enter("10.0.0.9") is not None for _ in range(2)] == [True, True]


def test_the_address_that_was_authenticated_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_sockets, "KNOWN_ADDRESSES", 2)
    places = ConnectionSlots(4, 100, 4)
    for number in (1, 2, 1, 3):
        places.mark_authenticated(f"10.0.0.{number}")
    assert places.enter("10.0.0.2") is None
    assert places.enter("10.0.0.1") is not None
    assert places.enter("10.0.0.3") is not None


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: its two ends."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        made, _ = listening.accept()
        with made:
            yield made, client


def test_the_kernel_keeps_little_for_a_client_that_does_not_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    made, _client = pair
    bound(made)
    doubled = made.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert doubled == 2 * SEND_BUFFER_BYTES
    timeout = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert timeout == 1000 * SEND_SECONDS
    assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_reset_connection_is_closed_at_once(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    made, client = pair
    made.sendall(b"this may be lost")
    reset(made)
    assert made.fileno() == -1
    with pytest.raises(ConnectionResetError):
        while client.recv(100):
            pass


def test_a_connection_that_is_closed_already_is_no_error() -> None:
    made = socket.socket()
    made.close()
    bound(made)
    reset(made)
