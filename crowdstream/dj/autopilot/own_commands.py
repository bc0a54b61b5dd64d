"""Tell the DJ's own commands apart from those of others.

`/changed` reports which command was carried out, but not its sender. Each command sent is
therefore kept until the server reports it; any other report stems from another client.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any

KEPT_SECONDS = 120.0  # after which an unreported command is forgotten

Key = tuple[str, tuple[Any, ...]]


def key(address: str, arguments: tuple[Any, ...]) -> Key:
    """Return a command as the server reports it: numbers rounded to 32-bit floats."""
    return address, tuple(_rounded(value) for value in arguments)


def _rounded(value: Any) -> Any:
    if isinstance(value, int | float):
        try:
            return struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            return float(value)
    return value


class OwnCommandFilter:
    """The DJ's own commands that the server has not reported yet."""

    def __init__(self) -> None:
        self._sent: dict[Key, list[float]] = defaultdict(list)
        self._cleaned = 0.0

    def expect(self, address: str, arguments: tuple[Any, ...], now: float) -> None:
        """Register a command that is sent; for `/clock/at`, also the command it carries."""
        self._sent[key(address, arguments)].append(now + KEPT_SECONDS)
        if address == "/clock/at":
            self.expect(str(arguments[1]), arguments[2:], now)

    def own(self, address: str, arguments: tuple[Any, ...]) -> bool:
        """Return whether a reported command was the DJ's own; each one matches only once."""
        found = key(address, arguments)
        waiting = self._sent.get(found)
        if not waiting:
            return False
        waiting.pop(0)
        if not waiting:
            del self._sent[found]
        return True

    def forget_old(self, now: float) -> None:
        """Forget commands that were never reported. Call it regularly."""
        if now < self._cleaned + 1.0:
            return
        self._cleaned = now
        for found in list(self._sent):
            left = [until for until in self._sent[found] if until > now]
            if left:
                self._sent[found] = left
            else:
                del self._sent[found]
