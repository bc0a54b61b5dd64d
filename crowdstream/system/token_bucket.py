"""How much of something may be had: so much a second in the long run, so much at once."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """`rate` tokens come back each second, `burst` is the most there can be, and the beginning.

    `now`: seconds on `clock`, for who has asked it already; left out, it is asked.
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
        """Take `tokens`; False, and nothing is taken, where there are not so many."""
        if self._filled(now) < tokens:
            return False
        self._left -= tokens
        return True

    def charge(self, tokens: float, now: float | None = None) -> None:
        """Take `tokens` whether there are so many or not: who is in debt waits for longer."""
        self._filled(now)
        self._left -= tokens

    def wait(self, tokens: float = 1.0, now: float | None = None) -> float:
        """Seconds until there are so many tokens; 0: there are."""
        return max(0.0, (tokens - self._filled(now)) / self._rate)

    def left(self, now: float | None = None) -> float:
        """Tokens that there are; in debt it is below 0."""
        now = self._clock() if now is None else now
        return min(self._burst, self._left + self._rate * (now - self._at))

    def _filled(self, now: float | None) -> float:
        now = self._clock() if now is None else now
        self._left, self._at = self.left(now), now
        return self._left
