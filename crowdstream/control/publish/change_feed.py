"""What is carried out, for all who want to see what others do.

Whoever says `/watch` is sent `/changed address arguments...` for each command that others may see
a difference after, whoever said it. In a flood only the newest of those that differ in nothing
but how far: a fader that is moved has one place, and nobody sees more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crowdstream.commands.registry import Command
from crowdstream.control.publish.subscribers import Subscribers
from crowdstream.osc.codec import HEAD, build, bundle

TURN_SECONDS = 0.02  # between two lots of packets
FLOOD = 16  # changes in a turn: above that, the newest ones count (800 a second)
MAX_BYTES = 1400  # of a packet: one that the network need not cut

Change = tuple[str, tuple[Any, ...]]
"""Address and arguments of a command that was carried out."""


class ChangeFeed:
    """Tells watchers and listeners what was carried out. For the control thread."""

    def __init__(
        self,
        send: Callable[[Any, bytes], None],
        monotonic: Callable[[], float] = time.monotonic,
        check: Callable[[Any], None] = lambda _sender: None,
    ) -> None:
        """`send(sender, packet)` sends a packet; `check` as in `Subscribers`."""
        self.watchers = Subscribers(monotonic, check)
        self._send_packet = send
        self._monotonic = monotonic
        self._listeners: list[Callable[[str, tuple[Any, ...]], None]] = []
        self._waiting: list[Change] = []
        self._due = 0.0

    def listen(self, callback: Callable[[str, tuple[Any, ...]], None]) -> None:
        """Have `callback` told of address and arguments of each change, as watchers are."""
        self._listeners.append(callback)

    def carried_out(
        self, command: Command, place: dict[str, Any], bound: dict[str, Any], count: int
    ) -> None:
        """A command was carried out that came with `count` arguments.

        `place`: what its address says, see `Table.find`; `bound`: its arguments by name.
        """
        if command.changes and (self._listeners or len(self.watchers)):
            values = command.values(bound, count)
            self._waiting.append((command.address_at(place), values))

    def tick(self) -> None:
        """Send what has gathered, if it is time; call it every 10 ms or so."""
        now = self._monotonic()
        if not self._waiting or now < self._due:
            return
        self._due = now + TURN_SECONDS
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
            if sender is None:  # nobody on the network: a program that this server runs in
                for address, values in changes:
                    reply("/changed", address, *values)
                continue
            packed = packed or list(packets(changes))
            for packet in packed:
                self._send_packet(sender, packet)


def newest(changes: list[Change]) -> list[Change]:
    """Of those that differ in fractional numbers only, the newest, in the order they came."""
    found: dict[tuple[Any, ...], Change] = {}
    for address, values in changes:
        key = (address, *(value for value in values if not isinstance(value, float)))
        found.pop(key, None)
        found[key] = address, values
    return list(found.values())


def packets(changes: list[Change]) -> Iterator[bytes]:
    """Messages for watchers, packed."""
    return packed(build("/changed", (address, *values)) for address, values in changes)


def packed(messages: Iterable[bytes]) -> Iterator[bytes]:
    """One message by itself, several as bundles (at once) as long as a packet may be."""
    together: list[bytes] = []
    size = HEAD
    for message in messages:
        if together and size + 4 + len(message) > MAX_BYTES:
            yield _packet(together)
            together, size = [], HEAD
        together.append(message)
        size += 4 + len(message)
    if together:
        yield _packet(together)


def _packet(messages: list[bytes]) -> bytes:
    return messages[0] if len(messages) == 1 else bundle(messages)
