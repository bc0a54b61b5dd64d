"""Clients that come and go beside the DJ. A further kind of client is a class in `VISITORS`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from benchmarks.long_night.browsers import DeafListener, Listener, RudeTab, Scraper, Tab
from benchmarks.long_night.line import Line, Waiting

POLL_SECONDS = 2.0


class Door(Protocol):
    """What somebody finds who comes."""

    http_port: int

    def line(self) -> Line:
        """A line to the server, for a client of its own."""

    def waiting(self) -> Waiting:
        """For the answers that a client expects who has a way of its own."""


class Visitor(Protocol):
    """A client: there from when it is made until it leaves. `leaves`: when, monotonic seconds."""

    leaves: float

    def fileno(self) -> int:
        """For a selector; -1 while there is nothing to read."""

    def read(self) -> None:
        """Something has come in."""

    def tick(self) -> None:
        """Called now and then."""

    def leave(self) -> None:
        """Say goodbye, or not, and free everything."""


class Poller:
    """Asks for the status every few seconds."""

    def __init__(self, door: Door, seconds: float) -> None:
        self.line = door.line()
        self.leaves = time.monotonic() + seconds
        self._next = 0.0
        self.come()

    def come(self) -> None:
        """Say hello."""

    def fileno(self) -> int:
        """For a selector."""
        return self.line.fileno()

    def read(self) -> None:
        """Take in what has come."""
        self.line.read()

    def tick(self) -> None:
        """Ask, if it is time."""
        self.line.check()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + POLL_SECONDS
            self.ask()

    def ask(self) -> None:
        """The question."""
        self.line.expect("/status.reply")
        self.line.say("/status")

    def leave(self) -> None:
        """Nothing to undo."""
        self.line.close()


class Subscriber(Poller):
    """Hears events and the clock's beats, and signs off."""

    def come(self) -> None:
        """Subscribe."""
        self.line.expect("/done /notify")
        self.line.say("/notify", 1)
        self.line.say("/clock/ticks", 1)

    def ask(self) -> None:
        """Where the clock is."""
        self.line.expect("/clock/beat.reply")
        self.line.say("/clock/beat")

    def leave(self) -> None:
        """Sign off."""
        self.line.say("/clock/ticks", 0)
        self.line.say("/notify", 0)
        self.line.close()


class Metered(Subscriber):
    """Has meters sent, too."""

    def come(self) -> None:
        """Subscribe to meters of all stems."""
        super().come()
        self.line.expect("/done /meters")
        self.line.say("/meters", 10.0, "all")

    def leave(self) -> None:
        """Sign off."""
        self.line.say("/meters", 0.0)
        super().leave()


class Rude(Metered):
    """Subscribes to everything, and goes without a word."""

    def leave(self) -> None:
        """Only the socket is closed: the server's packets to it bounce."""
        self.line.close()


VISITORS: Mapping[str, Callable[[Door, float], Visitor]] = {
    "poller": Poller, "subscriber": Subscriber, "metered": Metered, "rude": Rude,
    "tab": Tab, "rude tab": RudeTab, "listener": Listener, "deaf listener": DeafListener,
    "scraper": Scraper,
}  # fmt: skip
