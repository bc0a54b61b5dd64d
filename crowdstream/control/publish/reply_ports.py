"""Addresses of replies: the port a message came from, or a port set by its sender.

Controllers often listen on a fixed port and send from another one. A sender can set only the
port; the host is always the sender's own. Only trusted senders may set one, so that nobody can
make this server send to a third party.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from crowdstream.commands.errors import BadArgument

MIN_REPLY_PORT, MAX_REPLY_PORT = 1024, 65535
MAX_REPLY_PORTS = 256  # remembered senders; the one that was silent longest is dropped


class ReplyPorts:
    """Maps the address a message comes from to the address its replies go to.

    Subscriptions and meters are stored by the reply address: a controller that restarts on
    another source port keeps its subscriptions.
    """

    def __init__(self, own: int) -> None:
        """`own`: the server's port. Clients must not set it, or the server would obey itself."""
        self.own = own
        self._named: OrderedDict[Any, Any] = OrderedDict()

    def __len__(self) -> int:
        """Number of senders that have set a port."""
        return len(self._named)

    def address_of(self, sender: Any) -> Any:
        """The address to which replies to `sender` go."""
        named = self._named.get(sender) if self._named else None
        if named is None:
            return sender
        self._named.move_to_end(sender)
        return named

    def name(self, sender: Any, port: int) -> Any:
        """Send replies for `sender` to a port of its host; returns the new reply address.

        `sender` is a result of `address_of`. Raises `BadArgument`.
        """
        if sender is None:
            raise BadArgument("port: the program that hosts the server has none")
        if port == self.own and sender[1] != port:
            raise BadArgument(f"port: {port} is the server's own")
        address = (sender[0], port, *sender[2:])
        for source in self._sources(sender) or [sender]:
            self._named[source] = address
            self._named.move_to_end(source)
        while len(self._named) > MAX_REPLY_PORTS:
            self._named.popitem(last=False)
        return address

    def forget(self, sender: Any) -> bool:
        """Reply to the source address again; returns whether a port had been set.

        `sender` is a result of `address_of`.
        """
        sources = self._sources(sender)
        for source in sources:
            del self._named[source]
        return bool(sources)

    def _sources(self, address: Any) -> list[Any]:
        return [source for source, named in self._named.items() if named == address]

    def to_state(self) -> list[Any]:
        """State for JSON; see `restore`."""
        return [[source, named] for source, named in self._named.items()]

    def restore(self, state: Iterable[Any]) -> None:
        """Restore saved reply addresses."""
        self._named = OrderedDict((tuple(source), tuple(named)) for source, named in state)
