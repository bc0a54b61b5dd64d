"""A client's OSC connection to the server: messages, replies, and reply times."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.osc.codec import Malformed, build, parse

ANSWER_SECONDS = 10.0  # limit for a reply
LOAD_SECONDS = 30.0  # the same for loading a piece
_BIGGEST = 65536


class ReplyTracker:
    """Tracks expected replies by key.

    `late` is called for each reply that has not arrived (key, time of sending), `answered` for
    each one that has (key, seconds it took).
    """

    def __init__(
        self, answered: Callable[[str, float], None], late: Callable[[str, float], None]
    ) -> None:
        self._answered = answered
        self._late = late
        self._sent: dict[str, list[tuple[float, float]]] = {}  # time of sending, deadline

    def expect(self, key: str, seconds: float = ANSWER_SECONDS) -> None:
        """Expect a reply."""
        now = time.monotonic()
        self._sent.setdefault(key, []).append((now, now + seconds))

    def arrived(self, key: str) -> None:
        """Register a message that may be a reply."""
        waits = self._sent.get(key)
        if waits:
            sent, _ = waits.pop(0)
            if not waits:
                del self._sent[key]
            self._answered(key, time.monotonic() - sent)

    def check(self) -> None:
        """Give up replies that are overdue."""
        now = time.monotonic()
        for key, waits in list(self._sent.items()):
            while waits and now > waits[0][1]:
                self._late(key, waits.pop(0)[0])
            if not waits:
                del self._sent[key]

    def lost(self) -> None:
        """Give up all replies: the connection is lost."""
        for key, waits in self._sent.items():
            for sent, _ in waits:
                self._late(key, sent)
        self._sent.clear()


class OscConnection(ReplyTracker):
    """A UDP socket. `on_message(address, arguments)` is called for each incoming message.

    The keys of expected replies are addresses, or an address and its first argument.
    """

    def __init__(
        self,
        port: int,
        on_message: Callable[[str, Sequence[Any]], None],
        answered: Callable[[str, float], None],
        late: Callable[[str, float], None],
    ) -> None:
        super().__init__(answered, late)
        self._to = ("127.0.0.1", port)
        self._on_message = on_message
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._serial = 0
        self.sent = 0
        self.received: Counter[str] = Counter()

    def fileno(self) -> int:
        """Return the descriptor for a selector."""
        return self._socket.fileno()

    def send(self, packet: bytes) -> None:
        """Send a packet unchanged."""
        self.sent += 1
        # While no server is running (it was killed), the system may report an error.
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            self._socket.sendto(packet, self._to)

    def send_message(self, address: str, *arguments: Any) -> None:
        """Send a message."""
        self.send(build(address, arguments))

    def sync(self) -> None:
        """Request a reply when everything before has been carried out."""
        self._serial = self._serial % 1_000_000_000 + 1
        self.expect(f"/synced {self._serial}")
        self.send_message("/sync", self._serial)

    def read(self) -> None:
        """Handle all messages that have arrived."""
        while True:
            try:
                packet = self._socket.recv(_BIGGEST)
            except ConnectionRefusedError:
                continue
            except BlockingIOError:
                return
            with contextlib.suppress(Malformed):
                for _, message in parse(packet):
                    self._take(message.address, message.params)

    def _take(self, address: str, arguments: Sequence[Any]) -> None:
        self.received[address] += 1
        self._on_message(address, arguments)
        keys = [address]
        if arguments:
            keys.append(f"{address} {arguments[0]}")
            if address == "/fail":
                keys.append(f"/done {arguments[0]}")
        for key in keys:
            self.arrived(key)

    def close(self) -> None:
        """Close the socket without signing off."""
        self._socket.close()
