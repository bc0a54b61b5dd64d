"""Feed of executed commands, for clients that follow what others do.

A client that subscribes by `/changes/subscribe` receives `/changed address arguments...` for each
command with a visible effect, whichever client sent it. In a flood, changes that differ only in
their fractional values are reduced to the newest: moving a fader takes up one entry.

A change is reported under the command's present address, even if it was sent to an alias. A client
that subscribes by `/watch`, the alias, does not know the present addresses: it receives aliases
instead, so programs of earlier versions recognize changes, in particular their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crowdstream.commands.patterns import Selection
from crowdstream.commands.registry import TABLE, Command
from crowdstream.control.engine_queue.request import Reply, Request
from crowdstream.control.publish.subscribers import Subscribers
from crowdstream.osc.acl import is_local
from crowdstream.osc.codec import BUNDLE_HEADER_BYTES, build, bundle
from crowdstream.system.text import mask_passwords

SEND_SECONDS = 0.02  # between two transmissions
FLOOD = 16  # changes per transmission, 800 per second: above that, only the newest are sent
FORMER_SUBSCRIBE = "/watch"  # alias: its subscribers receive aliases
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
        self._former: set[Any] = set()  # senders that receive aliases; may contain former watchers
        self._waiting: list[Change] = []
        self._due = 0.0

    def switch(self, request: Request, on: bool) -> int:
        """Subscribe or unsubscribe the sender of a command, as `Subscribers.switch`."""
        number = self.watchers.switch(request, on)
        self._former.intersection_update(self._watching())
        if on and Selection([request.address]).holds(FORMER_SUBSCRIBE):
            self._former.add(request.sender)
        else:
            self._former.discard(request.sender)
        return number

    def _watching(self) -> list[Any]:
        return [sender for sender, _ in self.watchers.replies()]

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
            values = tuple(
                mask_passwords(value) if isinstance(value, str) else value
                for value in command.values(bound, count)
            )
            self._waiting.append((command.address_at(place), values))

    def tick(self) -> None:
        """Send collected changes when they are `due`."""
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

    def due(self) -> float:
        """Return when `tick` has work (monotonic seconds); infinity without changes."""
        return self._due if self._waiting else math.inf

    def _send(self, changes: list[Change]) -> None:
        packed: dict[bool, list[bytes]] = {}
        for sender, reply in self.watchers.replies():
            former = sender in self._former
            spelled = with_aliases(changes) if former else changes
            if is_local(sender):
                for address, values in spelled:
                    reply("/changed", address, *values)
                continue
            if former not in packed:
                packed[former] = list(packets(spelled))
            for packet in packed[former]:
                self._send_packet(sender, packet)

    def to_state(self) -> list[Any]:
        """State for JSON: that of `Subscribers`, and whether each client receives aliases."""
        return [[*one, one[0] in self._former] for one in self.watchers.to_state()]

    def restore(self, state: list[Any], reply_to: Callable[[Any], Reply]) -> None:
        """Restore saved subscriptions, also of a version in which all clients sent `/watch`."""
        self.watchers.restore([one[:2] for one in state], reply_to)
        for sender, _number, *former in state:
            if former != [False]:
                self._former.add(tuple(sender) if sender else None)


def with_aliases(changes: list[Change]) -> list[Change]:
    """Replace each address that has aliases by the first of them."""
    return [(TABLE.all_names(address)[:2][-1], values) for address, values in changes]


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
