"""Clients that connect and leave beside the DJ. To add a kind, add a class to `VISITORS`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from benchmarks.long_night.browsers import DeafListener, Listener, RudeTab, Scraper, Tab
from benchmarks.long_night.line import Line, Waiting

POLL_SECONDS = 2.0


class Door(Protocol):
    """Access to the server for visitors."""

    http_port: int

    def line(self) -> Line:
        """Return a connection to the server for a client."""

    def waiting(self) -> Waiting:
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

    def __init__(self, door: Door, seconds: float) -> None:
        self.line = door.line()
        self.leaves = time.monotonic() + seconds
        self._next = 0.0
        self.come()

    def come(self) -> None:
        """Called at the start."""

    def fileno(self) -> int:
        """Return the descriptor for a selector."""
        return self.line.fileno()

    def read(self) -> None:
        """Handle all messages that have arrived."""
        self.line.read()

    def tick(self) -> None:
        """Send a request when it is due."""
        self.line.check()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + POLL_SECONDS
            self.ask()

    def ask(self) -> None:
        """Send the request."""
        self.line.expect("/status.reply")
        self.line.say("/status")

    def leave(self) -> None:
        """Close the socket."""
        self.line.close()


class Subscriber(Poller):
    """Receives events and the clock's beats, and signs off."""

    def come(self) -> None:
        """Subscribe."""
        self.line.expect("/done /notify")
        self.line.say("/notify", 1)
        self.line.say("/clock/ticks", 1)

    def ask(self) -> None:
        """Request the position of the clock."""
        self.line.expect("/clock/beat.reply")
        self.line.say("/clock/beat")

    def leave(self) -> None:
        """Sign off."""
        self.line.say("/clock/ticks", 0)
        self.line.say("/notify", 0)
        self.line.close()


class Metered(Subscriber):
    """Receives meters as well."""

    def come(self) -> None:
        """Subscribe to the meters of all stems."""
        super().come()
        self.line.expect("/done /meters")
        self.line.say("/meters", 10.0, "all")

    def leave(self) -> None:
        """Sign off."""
        self.line.say("/meters", 0.0)
        super().leave()


class Rude(Metered):
    """Subscribes to everything, and disconnects without signing off."""

    def leave(self) -> None:
        """Only close the socket: the server's packets to it bounce."""
        self.line.close()


VISITORS: Mapping[str, Callable[[Door, float], Visitor]] = {
    "poller": Poller, "subscriber": Subscriber, "metered": Metered, "rude": Rude,
    "tab": Tab, "rude tab": RudeTab, "listener": Listener, "deaf listener": DeafListener,
    "scraper": Scraper,
}  # fmt: skip
