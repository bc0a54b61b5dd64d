"""Clients that connect and leave beside the DJ. To add a kind, add a class to `VISITORS`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from benchmarks.long_night.browsers import DeafListener, Listener, RudeTab, Scraper, Tab
from benchmarks.long_night.line import OscConnection, ReplyTracker

POLL_SECONDS = 2.0


class ServerAccess(Protocol):
    """Access to the server for visitors."""

    http_port: int

    def connection(self) -> OscConnection:
        """Return a connection to the server for a client."""

    def reply_tracker(self) -> ReplyTracker:
        """Return a tracker of replies for a client with a connection of its own."""


class Visitor(Protocol):
    """A client, connected from its creation until it leaves, at the monotonic time `leaves`."""

    leaves: float

    def fileno(self) -> int:
        """Return the descriptor for a selector; -1 if there is nothing to read."""

    def read(self) -> None:
        """Read the input."""

    def tick(self) -> None:
        """Called regularly."""

    def leave(self) -> None:
        """Sign off, or not, and release all resources."""


class Poller:
    """Requests the status every few seconds."""

    def __init__(self, access: ServerAccess, seconds: float) -> None:
        self.connection = access.connection()
        self.leaves = time.monotonic() + seconds
        self._next = 0.0
        self.subscribe()

    def subscribe(self) -> None:
        """Called at the start."""

    def fileno(self) -> int:
        """Return the descriptor for a selector."""
        return self.connection.fileno()

    def read(self) -> None:
        """Handle all messages that have arrived."""
        self.connection.read()

    def tick(self) -> None:
        """Send a request when it is due."""
        self.connection.check()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + POLL_SECONDS
            self.request()

    def request(self) -> None:
        """Send the request."""
        self.connection.expect("/status.reply")
        self.connection.send_message("/status")

    def leave(self) -> None:
        """Close the socket."""
        self.connection.close()


class Subscriber(Poller):
    """Receives events and the clock's beats, and signs off."""

    def subscribe(self) -> None:
        """Subscribe."""
        self.connection.expect("/done /notify")
        self.connection.send_message("/notify", 1)
        self.connection.send_message("/clock/ticks", 1)

    def request(self) -> None:
        """Request the position of the clock."""
        self.connection.expect("/clock/beat.reply")
        self.connection.send_message("/clock/beat")

    def leave(self) -> None:
        """Sign off."""
        self.connection.send_message("/clock/ticks", 0)
        self.connection.send_message("/notify", 0)
        self.connection.close()


class Metered(Subscriber):
    """Receives meters as well."""

    def subscribe(self) -> None:
        """Subscribe to the meters of all stems."""
        super().subscribe()
        self.connection.expect("/done /meters")
        self.connection.send_message("/meters", 10.0, "all")

    def leave(self) -> None:
        """Sign off."""
        self.connection.send_message("/meters", 0.0)
        super().leave()


class Rude(Metered):
    """Subscribes to everything, and disconnects without signing off."""

    def leave(self) -> None:
        """Only close the socket: the server's packets to it bounce."""
        self.connection.close()


VISITORS: Mapping[str, Callable[[ServerAccess, float], Visitor]] = {
    "poller": Poller, "subscriber": Subscriber, "metered": Metered, "rude": Rude,
    "tab": Tab, "rude tab": RudeTab, "listener": Listener, "deaf listener": DeafListener,
    "scraper": Scraper,
}  # fmt: skip
