"""Who may send: this machine always, others as `--osc-allow` says.

A network is IPv4 or IPv6. A socket that listens on `::` sees IPv4 senders as `::ffff:10.0.0.1`;
they are judged as what they are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from crowdstream.system.network_address import is_loopback, plain_address, plain_network

REMEMBERED = 4096  # addresses whose standing is kept; any other is looked up again


class TrustLevel(IntEnum):
    """What a sender may do.

    TRUSTED: this machine, or on the allow list. STRANGER: anybody else while there is no list.
    BARRED: anybody else where there is one.
    """

    TRUSTED = 0
    STRANGER = 1
    BARRED = 2


class AllowList:
    """Judges senders by the networks of `--osc-allow` (see `settings.kinds.Networks`)."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = [plain_network(text) for text in networks]
        self._judged = functools.lru_cache(REMEMBERED)(self._judge)

    def standing(self, sender: Any) -> TrustLevel:
        """The standing of a socket address; None, which is nobody on the network, is trusted."""
        return TrustLevel.TRUSTED if sender is None else self._judged(sender[0])

    def trusts(self, sender: Any) -> bool:
        """Whether a sender is trusted."""
        return self.standing(sender) is TrustLevel.TRUSTED

    def _judge(self, host: str) -> TrustLevel:
        address = plain_address(host)
        if address is not None:
            if address.is_loopback:
                return TrustLevel.TRUSTED
            for network in self._networks:
                if address.version == network.version and address in network:
                    return TrustLevel.TRUSTED
        return TrustLevel.BARRED if self._networks else TrustLevel.STRANGER


def exposure(host: str, allow: Sequence[str], roots: Sequence[object]) -> str:
    """What is to be said of a server that listens on `host`; empty where that is this machine.

    `host`: an address or a name. `allow`, `roots`: `--osc-allow` and `--media-root`.
    """
    if allow or is_loopback(host):
        return ""
    text = (
        f"listening on {host} without --osc-allow: whoever reaches this machine may control it;"
        " say --osc-allow with the addresses that may"
    )
    if not roots:
        text += ", and --media-root, or they may name any file to load or record"
    return text
