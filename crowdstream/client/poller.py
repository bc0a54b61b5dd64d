"""The connection of a program that has a loop of its own: it polls, and never waits.

`crowdstream top` and the DJ use it: they follow a server through its status, also while it is
unavailable, and send commands whose results they see there.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from enum import Enum
from typing import Any, Protocol

from crowdstream.client.endpoint import MAX_PACKET_BYTES
from crowdstream.client.results import RestartDetector, Status, parse_status
from crowdstream.osc.codec import Malformed, build, parse

MAX_PACKETS = 500  # received per turn, so that a flood does not block the program


class Transport(Protocol):
    """The transport for packets: a non-blocking socket."""

    def send(self, data: bytes, /) -> int:
        """Send a packet. Raise OSError."""

    def recv(self, size: int, /) -> bytes:
        """Return the next packet. Raise BlockingIOError if there is none, or OSError."""

    def close(self) -> None:
        """Close the transport."""


def connect(host: str, port: int) -> socket.socket:
    """Return a non-blocking UDP socket to a server. Raise OSError if the host is unknown."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    found = socket.socket(family, kind, protocol)
    found.setblocking(False)
    found.connect(address)
    return found


class Seen(Enum):
    """What a status has shown about the server."""

    ONGOING = "ongoing"
    AVAILABLE = "available"  # it answers, or answers again
    RESTARTED = "restarted"


class ServerPoller:
    """Polls the status of one server. `now` is in monotonic seconds everywhere.

    `connected`: it answers; `problem`: the reason why not. `status`: the last one, also while it is
    unavailable; `replied_at`: when that was received. `status_at`: the earliest time at which it
    may have arrived, long before if the program was suspended. `sent`: number of messages sent.
    """

    def __init__(
        self, transport: Transport, silent_seconds: float, away_seconds: float = 0.0
    ) -> None:
        """After `silent_seconds` without a reply, the server counts as unavailable.

        Until it answers again, it is polled no more often than every `away_seconds`.
        """
        self._transport = transport
        self._silent_seconds = silent_seconds
        self._away_seconds = away_seconds
        self._restarts = RestartDetector()
        self._polled_at = -math.inf
        # When all packets had been received: before this turn, and at its end.
        self._emptied_before = self._emptied_at = math.inf
        self.connected = False
        self.problem = "no answer yet"
        self.status: Status = {}
        self.replied_at = self.status_at = -math.inf
        self.sent = 0

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message. If sending fails, the message is lost, as on the network."""
        self.sent += 1
        try:
            self._transport.send(build(address, arguments))
        except OSError as error:
            self._note_error(error)

    def poll(self, now: float, every: float) -> bool:
        """Send a status request if one is due; return whether the server has become unavailable."""
        lost = self.connected and now - self.replied_at > self._silent_seconds
        if lost:
            self.connected = False
            self.problem = "the server does not answer"
        every = every if self.connected else max(every, self._away_seconds)
        if now - self._polled_at >= every:
            self._polled_at = now
            self.send("/status")
        return lost

    def receive(self, now: float) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Yield received messages as address and arguments.

        A `/status.reply` is yielded as well; give it to `take_status`.
        """
        self._emptied_before = self._emptied_at
        for _ in range(MAX_PACKETS):
            try:
                packet = self._transport.recv(MAX_PACKET_BYTES)
            except BlockingIOError:
                self._emptied_at = now
                break
            except OSError as error:
                self._note_error(error)
                continue
            try:
                messages = parse(packet)
            except Malformed:
                continue
            yield from ((message.address, message.params) for _time, message in messages)

    def take_status(self, values: tuple[Any, ...], now: float) -> Seen:
        """Take the values of a `/status.reply`; return what it shows."""
        self.status_at = min(now, self._emptied_before)
        restarted = self._restarts.update(parse_status(values), now, self.status_at)
        back = not self.connected
        self.status, self.replied_at, self.connected = self._restarts.status, now, True
        if restarted:
            return Seen.RESTARTED
        return Seen.AVAILABLE if back else Seen.ONGOING

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def _note_error(self, error: OSError) -> None:
        # The system reports a port without a program in response to an earlier packet.
        if isinstance(error, ConnectionRefusedError):
            self.problem = "no program listens on that port"
        else:
            self.problem = error.strerror or "the host is unreachable"
