"""Token bucket: a rate limit that allows bursts."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """Refills with `rate` tokens per second, up to `burst`, with which it starts.

    `now`: the time on `clock` in seconds, for callers that have read it already.
    """

    __slots__ = ("_at", "_burst", "_clock", "_left", "_rate")

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        now: float | None = None,
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = burst, clock() if now is None else now

    def take(self, tokens: float = 1.0, now: float | None = None) -> bool:
        """Take `tokens`; if there are fewer, takes nothing and returns False."""
        if self._filled(now) < tokens:
            return False
        self._left -= tokens
        return True

    def charge(self, tokens: float, now: float | None = None) -> None:
        """Take `tokens` even if there are fewer: the bucket goes into debt."""
        self._filled(now)
        self._left -= tokens

    def wait(self, tokens: float = 1.0, now: float | None = None) -> float:
        """Seconds until `tokens` are available; 0 if they are."""
        return max(0.0, (tokens - self._filled(now)) / self._rate)

    def left(self, now: float | None = None) -> float:
        """Available tokens; negative in debt."""
        now = self._clock() if now is None else now
        return min(self._burst, self._left + self._rate * (now - self._at))

    def _filled(self, now: float | None) -> float:
        now = self._clock() if now is None else now
        self._left, self._at = self.left(now), now
        return self._left
