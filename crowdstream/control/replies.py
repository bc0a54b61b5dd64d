"""Replies to senders, limited so that strangers cannot use the server for amplification attacks.

The source address of a packet can be forged. So that nobody can make this server flood a third
party, all replies to one packet of an untrusted sender together are at most `MAX_TIMES` as long as
the packet, and an untrusted sender can't subscribe to anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.commands.errors import Refused
from crowdstream.control.engine_queue.request import Reply, discard_reply
from crowdstream.osc.acl import AllowList
from crowdstream.osc.codec import build
from crowdstream.system.token_bucket import TokenBucket

MAX_AMPLIFICATION = 4
# Replaces a reply that is too long; short enough to fit in most cases.
TOO_LONG_REPLY = "see --osc-allow"
NO_SUBSCRIPTION = "only for --osc-allow"
# Another server's reply to an unknown message. Replying to it could start an endless exchange.
FAILED = b"/fail\0"
# Commands that the patterns of all strangers together may match, per second and in one burst:
# otherwise one short packet could demand as much work as a hundred.
STRANGERS_MATCHES = 500.0
STRANGERS_MATCHES_BURST = 1000.0


class Replies:
    """Makes the reply functions of packets. `withheld` counts replies not sent to strangers."""

    def __init__(self, allow: AllowList, send: Callable[..., None]) -> None:
        """`send(sender, address, *arguments)` sends one message."""
        self._allow = allow
        self._send = send
        self._matches = TokenBucket(STRANGERS_MATCHES, STRANGERS_MATCHES_BURST, now=0.0)
        self.withheld = 0

    def allow(self, networks: Sequence[str]) -> None:
        """Trust the senders of these networks from now on; see `AllowList`."""
        self._allow.change(networks)

    def trusts(self, sender: Any) -> bool:
        """Whether a sender is this machine or on the allow list (`--osc-allow`)."""
        return self._allow.trusts(sender)

    def to(self, packet: bytes, sender: Any) -> Reply:
        """Return the reply function of `packet`."""
        if packet.startswith(FAILED):
            return discard_reply
        send = self._send
        if not self._allow.trusts(sender):
            return self._within(MAX_AMPLIFICATION * len(packet), sender)

        def reply(address: str, *arguments: Any) -> None:
            send(sender, address, *arguments)

        return reply

    def _within(self, left: int, sender: Any) -> Reply:
        # A reply function that sends up to `left` bytes.
        notified = False

        def fits(address: str, *arguments: Any) -> bool:
            nonlocal left
            size = len(build(address, arguments))
            if size > left:
                return False
            left -= size
            self._send(sender, address, *arguments)
            return True

        def reply(address: str, *arguments: Any) -> None:
            nonlocal notified
            if fits(address, *arguments):
                return
            self.withheld += 1
            if not notified:
                notified = True
                names_command = address in ("/fail", "/done", "/late")
                about = arguments[0] if names_command else address.removesuffix(".reply")
                fits("/fail", about, TOO_LONG_REPLY)

        return reply

    def check_subscription(self, sender: Any) -> None:
        """Raise `Refused` for a sender that may not subscribe."""
        if not self._allow.trusts(sender):
            raise Refused(NO_SUBSCRIPTION)

    def check_matches(self, sender: Any, count: int, now: float) -> None:
        """Charge a stranger's pattern for `count` matches; raise `Refused` above the limit.

        `now`: monotonic seconds.
        """
        if self._allow.trusts(sender):
            return
        if not self._matches.take(count, now):
            raise Refused("patterns of strangers match too many commands: see --osc-allow")


def once(reply: Reply) -> Reply:
    """Wrap a reply so that it sends each `/fail` once: a pattern's commands often fail alike."""
    failed: set[tuple[Any, ...]] = set()

    def send(address: str, *arguments: Any) -> None:
        if address == "/fail":
            if arguments in failed:
                return
            failed.add(arguments)
        reply(address, *arguments)

    return send
