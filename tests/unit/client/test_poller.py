"""The polling connection: availability, restarts, errors of the network, and strange replies."""

from __future__ import annotations

import errno
from collections import deque

from crowdstream.client.poller import MAX_PACKETS, Seen, ServerPoller
from crowdstream.osc.codec import build, parse


class Wire:
    """A transport whose packets and errors the test prepares."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.incoming: deque[bytes | OSError] = deque()

    def send(self, data: bytes) -> int:
        """Keep the address of a packet."""
        self.sent.append(parse(data)[0][1].address)
        return len(data)

    def recv(self, _size: int) -> bytes:
        """Return the next packet, or raise the next error."""
        if not self.incoming:
            raise BlockingIOError
        found = self.incoming.popleft()
        if isinstance(found, OSError):
            raise found
        return found

    def close(self) -> None:
        """Do nothing."""


def status(frame: int) -> tuple[object, ...]:
    """The values of a status reply."""
    return (*range(9), "frame", frame, "sample_rate", 44100.0)


def test_it_polls_and_notices_that_the_server_is_gone_and_back() -> None:
    wire = Wire()
    poller = ServerPoller(wire, 2.0, 0.5)
    assert not poller.poll(0.0, 0.1) and not poller.poll(0.4, 0.1)
    assert wire.sent == ["/status"], "no more often while it is unavailable"
    assert poller.take_status(status(100), 0.5) is Seen.AVAILABLE
    poller.poll(0.6, 0.1)
    poller.poll(0.8, 0.1)
    assert len(wire.sent) == 3 and poller.connected
    assert poller.take_status(status(5000), 0.7) is Seen.ONGOING
    assert poller.poll(3.0, 0.1) and not poller.connected
    assert not poller.poll(3.1, 0.1)
    assert poller.problem == "the server does not answer"
    assert poller.status["frame"] == 5000
    assert poller.take_status(status(200_000), 4.7) is Seen.AVAILABLE


def test_a_restart_is_a_frame_that_has_not_advanced() -> None:
    poller = ServerPoller(Wire(), 2.0)
    poller.take_status(status(100_000), 0.0)
    assert poller.take_status(status(99_000), 1.0) is Seen.RESTARTED
    assert poller.take_status(status(99_500), 2.0) is Seen.ONGOING
    assert poller.take_status(status(100_000), 10.0) is Seen.RESTARTED, "8 s are 352 800 frames"


def test_a_reply_that_waited_while_the_program_was_suspended_is_no_restart() -> None:
    wire = Wire()
    poller = ServerPoller(wire, 2.0)

    def turn(now: float, frame: int) -> list[Seen]:
        wire.incoming += [build("/status.reply", status(frame))] if frame else []
        return [poller.take_status(values, now) for _, values in poller.receive(now)]

    assert turn(0.0, 44_100) == [Seen.AVAILABLE] and turn(0.4, 0) == []
    assert turn(9.0, 61_740) == [Seen.ONGOING], "it was sent at 0.4 s"
    assert (poller.status_at, poller.replied_at) == (0.4, 9.0)
    assert turn(9.4, 458_640) == [Seen.ONGOING] and poller.status_at == 9.0
    assert turn(12.5, 0) == [] and turn(12.6, 470_000) == [Seen.RESTARTED]


def test_errors_of_the_network_are_named_and_malformed_packets_ignored() -> None:
    wire = Wire()
    poller = ServerPoller(wire, 2.0)
    wire.incoming += [b"nonsense", ConnectionRefusedError(), build("/x", (1,))]
    assert list(poller.receive(0.0)) == [("/x", (1,))]
    assert poller.problem == "no program listens on that port"
    wire.incoming += [OSError(errno.ENETUNREACH, "the network is away")]
    assert list(poller.receive(0.0)) == []
    assert poller.problem == "the network is away"


def test_a_flood_does_not_block_the_program() -> None:
    wire = Wire()
    wire.incoming += [build("/x", ())] * (MAX_PACKETS + 1)
    assert len(list(ServerPoller(wire, 2.0).receive(0.0))) == MAX_PACKETS
