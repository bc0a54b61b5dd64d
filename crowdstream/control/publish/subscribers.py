"""Clients that are subscribed to events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.control.engine_queue.request import MAX_SUBSCRIBERS, Reply, Request
from crowdstream.osc.acl import is_local

log = logging.getLogger(__name__)

# A client that ends without unsubscribing keeps its place. When all places are taken, the client
# that was silent longest is removed if it was silent for this long; sequencers send more often.
SILENT_SECONDS = 600.0


class Subscribers:
    """Subscribed clients by sender, each with a number. For the control thread."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        check: Callable[[Any], None] = lambda _sender: None,
    ) -> None:
        """`check` raises `Refused` for a sender that must not receive unsolicited messages."""
        self._monotonic = monotonic
        self._check = check
        self._known: dict[Any, tuple[int, Reply]] = {}
        self._last_message: dict[Any, float] = {}
        self._listeners: list[Callable[[str, tuple[Any, ...]], None]] = []
        self.on_removed: Callable[[Any], None] = lambda _sender: None
        """Called with each client that was removed because it was silent."""

    def __len__(self) -> int:
        """Number of subscribers."""
        return len(self._known)

    def __contains__(self, sender: object) -> bool:
        """Whether a sender is subscribed."""
        return sender in self._known

    def add(self, request: Request) -> int:
        """Subscribe the sender of a command; returns its number. Raises `Refused` when full."""
        known = self._known.get(request.sender)
        if known is None and len(self._known) >= MAX_SUBSCRIBERS:
            self._remove_silent()
        taken = {number for number, _ in self._known.values()}
        number = known[0] if known else min(set(range(MAX_SUBSCRIBERS)) - taken)
        self._known[request.sender] = (number, request.reply)
        self._last_message[request.sender] = self._monotonic()
        return number

    def switch(self, request: Request, on: bool) -> int:
        """Subscribe or unsubscribe the sender of a command; returns its number.

        Raises `Refused` when full and for an untrusted sender.
        """
        if not on:
            return self.remove(request.sender)
        self._check(request.sender)
        return self.add(request)

    def replies(self) -> list[tuple[Any, Reply]]:
        """All subscribers with their reply functions."""
        return [(sender, reply) for sender, (_, reply) in self._known.items()]

    def mark_alive(self, sender: Any) -> None:
        """Note that `sender` has sent a message and is not silent."""
        if sender in self._known:
            self._last_message[sender] = self._monotonic()

    def _remove_silent(self) -> None:
        # Parts of the server, such as MIDI, subscribe once and never send.
        clients = [sender for sender in self._last_message if not is_local(sender)]
        silent = min(clients, key=lambda sender: self._last_message[sender])
        if self._monotonic() < self._last_message[silent] + SILENT_SECONDS:
            raise Refused(f"{MAX_SUBSCRIBERS} clients are subscribed already")
        log.info("%s was silent for a long time: its subscription goes to another client", silent)
        self.remove(silent)
        self.on_removed(silent)

    def remove(self, sender: Any) -> int:
        """Unsubscribe a sender; returns the number it had, 0 if it had none."""
        self._last_message.pop(sender, None)
        return self._known.pop(sender, (0, None))[0]

    def notify(self, address: str, *arguments: Any, to: Request | None = None) -> None:
        """Send an event to all subscribers, and to the sender of `to` even if unsubscribed."""
        if to is not None and to.sender not in self._known:
            to.reply(address, *arguments)
        for _sender, reply in self.replies():
            reply(address, *arguments)
        for callback in self._listeners:
            callback(address, arguments)

    def listen(self, callback: Callable[[str, tuple[Any, ...]], None]) -> None:
        """Call `callback` with every event, whether or not there are subscribers."""
        self._listeners.append(callback)

    def to_state(self) -> list[Any]:
        """State for JSON; see `restore`."""
        return [[sender, number] for sender, (number, _) in self._known.items()]

    def restore(self, state: list[Any], reply_to: Callable[[Any], Reply]) -> None:
        """Restore saved subscriptions."""
        for sender, number in state:
            origin = tuple(sender) if sender else None
            self._known[origin] = (number, reply_to(origin))
            self._last_message[origin] = self._monotonic()
