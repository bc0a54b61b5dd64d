"""Clients of the web process: open pages, listeners, and programs that read figures.

Like a page, they reconnect when the connection is lost.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
from typing import Any, Protocol

from benchmarks.long_night.line import ReplyTracker
from benchmarks.long_night.websocket import WebSocket
from crowdstream.web.streaming.encoding import HEAD

RECONNECT_SECONDS = 1.0
HELLO_SECONDS = 10.0  # limit for the server's hello
MOVE_SECONDS = 0.5  # mean time between two moves on a page in use
REPORT_SECONDS = 0.2
FETCH_SECONDS = 2.0
PATHS = ("/", "/metrics", "/healthz", "/?HOST_INFO", "/api/openapi.json", "/page/main.js", "/mix")
_BIGGEST = 1 << 18


class ServerAccess(Protocol):
    """Access to the server for these clients."""

    http_port: int

    def reply_tracker(self) -> ReplyTracker:
        """Return a tracker for expected replies."""


class _Connected:
    """A client with a WebSocket."""

    path = ""

    def __init__(self, access: ServerAccess, seconds: float) -> None:
        self._port = access.http_port
        self._replies = access.reply_tracker()
        self.leaves = time.monotonic() + seconds
        self._reconnect_at = 0.0
        self._connect()

    def _connect(self) -> None:
        self._socket = WebSocket(self._port, self.path)
        self._reconnect_at = time.monotonic() + RECONNECT_SECONDS
        if self._socket.open:
            self._replies.expect(f"hello of {self.path.partition('?')[0]}", HELLO_SECONDS)
            self.connected()

    def connected(self) -> None:
        """Called for each new connection."""

    def fileno(self) -> int:
        """Return the descriptor for a selector."""
        return self._socket.fileno()

    def read(self) -> None:
        """Handle all messages that have arrived."""
        for data in self._socket.read():
            if data.startswith(b'{"hello"'):
                self._replies.arrived(f"hello of {self.path.partition('?')[0]}")
            else:
                self.on_message(data)
        if not self._socket.open:
            self._replies.lost()

    def on_message(self, data: bytes) -> None:
        """Handle a message other than the hello."""

    def tick(self) -> None:
        """Reconnect if the connection was lost; do what is due."""
        self._replies.check()
        if not self._socket.open and time.monotonic() > self._reconnect_at:
            self._connect()
        if self._socket.open:
            self.act()

    def act(self) -> None:
        """Called regularly while connected."""

    def leave(self) -> None:
        """Disconnect. Outstanding replies do not count as failures."""
        self._socket.leave()


class Tab(_Connected):
    """An open page: a person turns knobs and looks at the health panel."""

    path = "/live"

    def connected(self) -> None:
        """Show the health panel."""
        self._number = 0
        self._next = time.monotonic() + 1.0
        self._socket.send_message('{"see":["health"]}')

    def on_message(self, data: bytes) -> None:
        """Match replies, among many other messages."""
        if data.startswith(b'{"end"'):
            self._replies.arrived(f"/live {json.loads(data)['end']}")
        elif data.startswith(b'{"pong"'):
            self._replies.arrived("pong of /live")

    def act(self) -> None:
        """Turn a knob, or request the time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + MOVE_SECONDS * random.uniform(0.2, 2.0)
        self._number += 1
        if self._number % 10 == 0:
            self._replies.expect("pong of /live")
            self._socket.send_message(json.dumps({"ping": time.monotonic()}))
            return
        self._replies.expect(f"/live {self._number}")
        self._socket.send_message(json.dumps({"do": [self._number, *_knob()]}))


def _knob() -> list[Any]:
    deck = random.choice("ABCD")
    kinds: tuple[tuple[str, float, float], ...] = (
        (f"/deck/{deck}/level", 0.7, 1.0), (f"/deck/{deck}/eq/low", 0.5, 1.2),
        (f"/deck/{deck}/filter", -0.3, 0.3), ("/mix/crossfader", 0.4, 0.6),
        (f"/deck/{deck}/level", 7.0, 9.0),  # out of range, so it is refused
    )  # fmt: skip
    address, low, high = random.choice(kinds)
    return [address, random.uniform(low, high)]


class RudeTab(Tab):
    """A page that sends invalid messages, reads nothing, and disconnects abruptly."""

    def fileno(self) -> int:
        """Return -1: nothing is read."""
        return -1

    def tick(self) -> None:
        """Send a message that is not a page command."""
        with contextlib.suppress(OSError):
            self._socket.send_message(random.choice(('{"see":7}', '{"do":[1]}', '{"waves":"x"}')))

    def leave(self) -> None:
        """Close the socket without a closing handshake."""
        self._socket.close()


class Listener(_Connected):
    """A client that listens to the master."""

    path = "/listen?bus=master&format=pcm16"

    def connected(self) -> None:
        """Expect the first chunk as well."""
        self._received, self._acknowledged_at = -1, 0.0
        self._replies.expect("sound of /listen", HELLO_SECONDS)

    def on_message(self, data: bytes) -> None:
        """Handle a chunk, or a text that announces a different sample format."""
        if not data or data[0] == ord("{"):
            return
        _form, _channels, frames, own, rate, frame, _at = HEAD.unpack_from(data)
        self._replies.arrived("sound of /listen")
        self._received = frame + frames * rate // own

    def act(self) -> None:
        """Acknowledge what has arrived."""
        if self._received >= 0 and time.monotonic() > self._acknowledged_at + REPORT_SECONDS:
            self._acknowledged_at = time.monotonic()
            self._socket.send_message(json.dumps({"have": self._received}))


class DeafListener(Listener):
    """A listener that reads nothing: the server drops it, and nothing blocks."""

    def fileno(self) -> int:
        """Return -1: nothing is read."""
        return -1

    def tick(self) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Close the socket without a closing handshake."""
        self._socket.close()


class Scraper:
    """A program that requests figures over HTTP, with a new connection each time."""

    def __init__(self, access: ServerAccess, seconds: float) -> None:
        self._port = access.http_port
        self._replies = access.reply_tracker()
        self.leaves = time.monotonic() + seconds
        self._next = 0.0
        self._path = ""
        self._socket: socket.socket | None = None

    def fileno(self) -> int:
        """Return the descriptor for a selector."""
        return -1 if self._socket is None else self._socket.fileno()

    def read(self) -> None:
        """Read a part of a response."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_BIGGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")):
            self._replies.arrived(f"HTTP {self._path}")
        if not data:
            self._end()

    def tick(self) -> None:
        """Send a request when it is due."""
        self._replies.check()
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + FETCH_SECONDS
        self._end()
        self._path = random.choice(PATHS)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        head = f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nConnection: close"
        try:
            self._socket.connect(("127.0.0.1", self._port))
            self._socket.setblocking(False)
            self._socket.send(f"{head}\r\nAccept: */*\r\n\r\n".encode())
            self._replies.expect(f"HTTP {self._path}")
        except OSError:
            self._end()

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def leave(self) -> None:
        """Close the connection."""
        self._end()
