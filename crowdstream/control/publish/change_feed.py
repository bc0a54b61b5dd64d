"""Feed of executed commands, for clients that follow what others do.

A client that subscribes by `/watch` receives `/changed address arguments...` for each command with
a visible effect, whichever client sent it. In a flood, changes that differ only in their
fractional values are reduced to the newest: moving a fader takes up one entry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crowdstream.commands.registry import Command
from crowdstream.control.publish.subscribers import Subscribers
from crowdstream.osc.codec import BUNDLE_HEADER_BYTES, build, bundle

SEND_SECONDS = 0.02  # between two transmissions
FLOOD = 16  # changes per transmission, 800 per second: above that, only the newest are sent
MAX_BYTES = 1400  # of a packet, so that networks need not fragment it

Change = tuple[str, tuple[Any, ...]]
"""Address and arguments of an executed command."""


class ChangeFeed:
    """Reports executed commands to watchers and listeners. For the control thread."""

    def __init__(
        self,
        send: Callable[[Any, bytes], None],
        monotonic: Callable[[], float] = time.monotonic,
        check: Callable[[Any], None] = lambda _sender: None,
    ) -> None:
        """`send(sender, packet)` sends one packet; `check` as in `Subscribers`."""
        self.watchers = Subscribers(monotonic, check)
        self._send_packet = send
        self._monotonic = monotonic
        self._listeners: list[Callable[[str, tuple[Any, ...]], None]] = []
        self._waiting: list[Change] = []
        self._due = 0.0

    def listen(self, callback: Callable[[str, tuple[Any, ...]], None]) -> None:
        """Call `callback` with address and arguments of each change that watchers receive."""
        self._listeners.append(callback)

    def record(
        self, command: Command, place: dict[str, Any], bound: dict[str, Any], count: int
    ) -> None:
        """Record a command that was executed and that had `count` arguments.

        `place` holds the parts of its address (see `Table.find`), `bound` its arguments by name.
        """
        if command.changes and (self._listeners or len(self.watchers)):
            values = command.values(bound, count)
            self._waiting.append((command.address_at(place), values))

    def tick(self) -> None:
        """Send collected changes when they are due; call this about every 10 ms."""
        now = self._monotonic()
        if not self._waiting or now < self._due:
            return
        self._due = now + SEND_SECONDS
        changes, self._waiting = self._waiting, []
        if len(changes) > FLOOD:
            changes = newest(changes)
        for callback in self._listeners:
            for change in changes:
                callback(*change)
        if len(self.watchers):
            self._send(changes)

    def _send(self, changes: list[Change]) -> None:
        packed: list[bytes] = []
        for sender, reply in self.watchers.replies():
            if sender is None:  # not on the network: the program that hosts this server
                for address, values in changes:
                    reply("/changed", address, *values)
                continue
            packed = packed or list(packets(changes))
            for packet in packed:
                self._send_packet(sender, packet)


def newest(changes: list[Change]) -> list[Change]:
    """Keep the newest of changes that differ only in fractional values, in order of arrival."""
    found: dict[tuple[Any, ...], Change] = {}
    for address, values in changes:
        key = (address, *(value for value in values if not isinstance(value, float)))
        found.pop(key, None)
        found[key] = address, values
    return list(found.values())


def packets(changes: list[Change]) -> Iterator[bytes]:
    """Build the packets that report these changes to watchers."""
    return pack(build("/changed", (address, *values)) for address, values in changes)


def pack(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Pack messages: one as it is, several into immediate bundles of up to `MAX_BYTES`."""
    together: list[bytes] = []
    size = BUNDLE_HEADER_BYTES
    for message in messages:
        if together and size + 4 + len(message) > MAX_BYTES:
            yield _packet(together)
            together, size = [], BUNDLE_HEADER_BYTES
        together.append(message)
        size += 4 + len(message)
    if together:
        yield _packet(together)


def _packet(messages: list[bytes]) -> bytes:
    return messages[0] if len(messages) == 1 else bundle(messages)
