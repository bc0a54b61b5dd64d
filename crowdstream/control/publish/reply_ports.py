"""Where answers go: to the port that a message came from, or one that its sender has named.

Controllers often listen on a fixed port and send from another one. Only the port can be named, the
host is always the sender's own, and only trusted senders may name one: nobody can have this server
send to somebody else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from crowdstream.commands.errors import BadArgument

MIN_REPLY_PORT, MAX_REPLY_PORT = 1024, 65535
MAX_REPLY_PORTS = 256  # senders whose port is remembered; the one that is silent longest gives way


class ReplyPorts:
    """By the address a message comes from, the one that its answers go to.

    All else that is kept by sender, subscriptions and meters, is kept by the address that answers
    go to: a controller that starts again from another port takes up its own place.
    """

    def __init__(self, own: int) -> None:
        """`own`: the server's port. It must not be named, or the server would obey itself."""
        self.own = own
        self._named: OrderedDict[Any, Any] = OrderedDict()

    def __len__(self) -> int:
        """Senders that have named a port."""
        return len(self._named)

    def address_of(self, sender: Any) -> Any:
        """Where the answers to a packet of `sender` go."""
        named = self._named.get(sender) if self._named else None
        if named is None:
            return sender
        self._named.move_to_end(sender)
        return named

    def name(self, sender: Any, port: int) -> Any:
        """Have the answers to `sender` go to a port of its host; their address from now on.

        `sender`: as `address_of` gives it. Raises `BadArgument`.
        """
        if sender is None:
            raise BadArgument("port: a program that the server runs in has none")
        if port == self.own and sender[1] != port:
            raise BadArgument(f"port: {port} is the server's own")
        address = (sender[0], port, *sender[2:])
        for source in self._sources(sender) or [sender]:
            self._named[source] = address
            self._named.move_to_end(source)
        while len(self._named) > MAX_REPLY_PORTS:
            self._named.popitem(last=False)
        return address

    def forget(self, sender: Any) -> None:
        """Answer to where it sends from again. `sender`: as `address_of` gives it."""
        for source in self._sources(sender):
            del self._named[source]

    def _sources(self, address: Any) -> list[Any]:
        return [source for source, named in self._named.items() if named == address]

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `restore`."""
        return [[source, named] for source, named in self._named.items()]

    def restore(self, note: Iterable[Any]) -> None:
        """Go on answering to where it was noted."""
        self._named = OrderedDict((tuple(source), tuple(named)) for source, named in note)
