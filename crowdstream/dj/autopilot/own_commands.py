"""Which of the commands that a server tells of were one's own.

`/changed` says what was carried out, not who said it. So what is sent is remembered until the
server has told of it; what nobody here has sent, somebody else has.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any

KEPT_SECONDS = 120.0  # after which a command that was never told of is forgotten

Key = tuple[str, tuple[Any, ...]]


def key(address: str, arguments: tuple[Any, ...]) -> Key:
    """A command as it comes back: numbers as 32-bit floats have them."""
    return address, tuple(_rounded(value) for value in arguments)


def _rounded(value: Any) -> Any:
    if isinstance(value, int | float):
        try:
            return struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            return float(value)
    return value


class OwnCommandFilter:
    """Commands that were sent and not told of yet."""

    def __init__(self) -> None:
        self._sent: dict[Key, list[float]] = defaultdict(list)
        self._cleaned = 0.0

    def expect(self, address: str, arguments: tuple[Any, ...], now: float) -> None:
        """A command is sent; of `/clock/at` also the one that it carries is told."""
        self._sent[key(address, arguments)].append(now + KEPT_SECONDS)
        if address == "/clock/at":
            self.expect(str(arguments[1]), arguments[2:], now)

    def own(self, address: str, arguments: tuple[Any, ...]) -> bool:
        """Whether a command that is told of was one's own; each counts once."""
        found = key(address, arguments)
        waiting = self._sent.get(found)
        if not waiting:
            return False
        waiting.pop(0)
        if not waiting:
            del self._sent[found]
        return True

    def forget_old(self, now: float) -> None:
        """Let go of what was never told of; call it now and then."""
        if now < self._cleaned + 1.0:
            return
        self._cleaned = now
        for found in list(self._sent):
            left = [until for until in self._sent[found] if until > now]
            if left:
                self._sent[found] = left
            else:
                del self._sent[found]
