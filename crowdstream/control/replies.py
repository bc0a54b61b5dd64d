"""Answers go to whoever sent, and never amplify what a stranger has sent.

The source address of a packet can be made up. So that nobody can use this server to flood
somebody else, all answers to one packet of a sender that is not trusted are together at most
`MAX_TIMES` as long as the packet, and nothing is sent to it unasked: it can't subscribe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.control.engine_queue.request import Reply, nobody
from crowdstream.osc.acl import AllowList
from crowdstream.osc.codec import build
from crowdstream.system.token_bucket import TokenBucket

MAX_TIMES = 4
# In place of an answer that is too long; short enough to fit in most cases.
INSTEAD = "see --osc-allow"
NO_SUBSCRIPTION = "only for --osc-allow"
# What another server says to what it does not understand: answering that might never end.
FAILED = b"/fail\0"
# Commands a second that the patterns of all strangers together may stand for, and in one go: one
# short packet could otherwise ask for as much as a hundred.
STRANGERS_MATCHES = 500.0
STRANGERS_MATCHES_BURST = 1000.0


class Replies:
    """Makes the reply of a packet. `withheld`: answers that strangers were not sent."""

    def __init__(self, allow: AllowList, send: Callable[..., None]) -> None:
        """`send(sender, address, *arguments)` sends one message."""
        self._allow = allow
        self._send = send
        self._matches = TokenBucket(STRANGERS_MATCHES, STRANGERS_MATCHES_BURST, now=0.0)
        self.withheld = 0

    def trusts(self, sender: Any) -> bool:
        """Whether a sender is this machine or on the allow list."""
        return self._allow.trusts(sender)

    def to(self, packet: bytes, sender: Any) -> Reply:
        """The function that answers `packet`."""
        if packet.startswith(FAILED):
            return nobody
        send = self._send
        if not self._allow.trusts(sender):
            return self._within(MAX_TIMES * len(packet), sender)

        def reply(address: str, *arguments: Any) -> None:
            send(sender, address, *arguments)

        return reply

    def _within(self, left: int, sender: Any) -> Reply:
        told = False

        def fits(address: str, *arguments: Any) -> bool:
            nonlocal left
            size = len(build(address, arguments))
            if size > left:
                return False
            left -= size
            self._send(sender, address, *arguments)
            return True

        def reply(address: str, *arguments: Any) -> None:
            nonlocal told
            if fits(address, *arguments):
                return
            self.withheld += 1
            if not told:
                told = True
                told_of = address in ("/fail", "/done", "/late")
                about = arguments[0] if told_of else address.removesuffix(".reply")
                fits("/fail", about, INSTEAD)

        return reply

    def check_subscription(self, sender: Any) -> None:
        """Raises `Refused` for a sender that may not be sent things unasked."""
        if not self._allow.trusts(sender):
            raise Refused(NO_SUBSCRIPTION)

    def check_matches(self, sender: Any, count: int, now: float) -> None:
        """Raises `Refused` where a stranger's pattern stands for more than strangers may ask for.

        `now`: monotonic seconds.
        """
        if self._allow.trusts(sender):
            return
        if not self._matches.take(count, now):
            raise Refused("strangers' patterns match too much: see --osc-allow")


def once(reply: Reply) -> Reply:
    """A reply that sends each `/fail` once: what a pattern stands for often fails alike."""
    failed: set[tuple[Any, ...]] = set()

    def send(address: str, *arguments: Any) -> None:
        if address == "/fail":
            if arguments in failed:
                return
            failed.add(arguments)
        reply(address, *arguments)

    return send
