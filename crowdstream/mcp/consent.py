"""Consent to commands that change something: patterns of the command line, or a question."""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

MAX_QUESTIONS = 256  # that may be open; older ones can no longer be answered


class Consent:
    """Decides which commands may be carried out.

    Patterns match addresses as shell patterns do, and `*` also matches several parts of an address:
    `/deck/*` allows everything about decks.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._tools: set[str] = set()
        self._key = secrets.token_bytes(32)
        self._open: dict[str, None] = {}

    def allows(self, tool: str, *addresses: str) -> bool:
        """Whether a tool may send a command to an address, and one that this command sends."""
        return tool in self._tools or all(
            any(fnmatch.fnmatchcase(address, pattern) for pattern in self._patterns)
            for address in addresses
        )

    def remember(self, tool: str) -> None:
        """Allow a tool from now on."""
        self._tools.add(tool)

    # A client of the protocol's present version answers a question by repeating the request. The
    # ticket proves that this very request was asked about, and is valid once.

    def ask(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Return the ticket of a question about this use of a tool."""
        nonce = secrets.token_hex(8)
        ticket = f"{nonce}.{self._signature(nonce, tool, arguments)}"
        self._open[ticket] = None
        while len(self._open) > MAX_QUESTIONS:
            del self._open[next(iter(self._open))]
        return ticket

    def redeem(self, ticket: str | None, tool: str, arguments: Mapping[str, Any]) -> bool:
        """Whether a ticket belongs to this use of a tool; it becomes invalid."""
        if ticket is None or ticket not in self._open:
            return False
        del self._open[ticket]
        nonce, _, signature = ticket.partition(".")
        return hmac.compare_digest(signature, self._signature(nonce, tool, arguments))

    def _signature(self, nonce: str, tool: str, arguments: Mapping[str, Any]) -> str:
        text = json.dumps([nonce, tool, arguments], sort_keys=True)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
