"""Access control for OSC senders: this machine is always trusted, others as `--osc-allow` lists.

Networks are IPv4 or IPv6. A socket bound to `::` reports IPv4 senders as `::ffff:10.0.0.1`; these
are treated as the IPv4 addresses that they are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Any

from crowdstream.system.network_address import is_loopback, parse_address, parse_network

LOCAL_SENDERS = frozenset({"midi", "rooms"})
"""Hosts in the addresses of senders inside the server; no packet can come from them."""
REMEMBERED = 4096  # addresses whose trust level is cached


class TrustLevel(IntEnum):
    """Trust in a sender, which decides on its limits.

    TRUSTED: this machine, or on the allow list. STRANGER: any other address, if there is no list.
    BARRED: any other address, if there is one.
    """

    TRUSTED = 0
    STRANGER = 1
    BARRED = 2


def is_local(sender: Any) -> bool:
    """Whether a sender is not on the network but in the server, or the program that hosts it."""
    return sender is None or sender[0] in LOCAL_SENDERS


class AllowList:
    """Classifies senders by the networks of `--osc-allow` (see `settings.types.Networks`).

    `host`: the address on which the server listens. Programs of its own machine, such as the DJ,
    send from it. If it is an IPv4 address, no others do: Linux drops packets that arrive from
    outside with one of its own IPv4 addresses as their source, unless `accept_local` is set.
    """

    def __init__(self, networks: Sequence[str] = (), host: str = "") -> None:
        own = parse_address(host)
        self._own = own if isinstance(own, IPv4Address) and not own.is_unspecified else None
        self._classified = functools.lru_cache(REMEMBERED)(self._classify)
        self.change(networks)

    def change(self, networks: Sequence[str]) -> None:
        """Trust these networks from now on, and no others."""
        self._networks = [parse_network(text) for text in networks]
        self._classified.cache_clear()

    def trust_level(self, sender: Any) -> TrustLevel:
        """Return the trust level of a socket address. A local caller is trusted."""
        return TrustLevel.TRUSTED if is_local(sender) else self._classified(sender[0])

    def trusts(self, sender: Any) -> bool:
        """Whether a sender is trusted."""
        return self.trust_level(sender) is TrustLevel.TRUSTED

    def _classify(self, host: str) -> TrustLevel:
        address = parse_address(host)
        if address is not None:
            if address.is_loopback or address == self._own:
                return TrustLevel.TRUSTED
            for network in self._networks:
                if address.version == network.version and address in network:
                    return TrustLevel.TRUSTED
        return TrustLevel.BARRED if self._networks else TrustLevel.STRANGER


def exposure(host: str, allow: Sequence[str], roots: Sequence[object]) -> str:
    """Return a warning about a server that other machines can control, or an empty string.

    `host`: the address or name on which it listens. `allow`, `roots`: `--osc-allow` and
    `--media-root`.
    """
    if allow or is_loopback(host):
        return ""
    text = (
        f"listening on {host} without --osc-allow: any machine that can reach this one can control "
        "the server; set --osc-allow to the addresses that may"
    )
    if not roots:
        text += ", and set --media-root, or they can load any file and record to any folder"
    return text
