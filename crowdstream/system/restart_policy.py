"""Restart policy: exponential back-off before a process is restarted."""

from __future__ import annotations

import math


class RestartPolicy:
    """Delays that double with every failure in a row and reset after a long life.

    `first`: the shortest delay in seconds; `longest`: the upper limit. `at_once`: no delay before
    the first restart. `settled`: a process that lived longer than this many seconds had settled,
    and its end counts as the first failure in a row.
    """

    def __init__(
        self, first: float, longest: float, *, settled: float = math.inf, at_once: bool = False
    ) -> None:
        self._first = first
        self._longest = longest
        self._settled = settled
        self._begin = 0.0 if at_once else first
        self.current_delay = self._begin
        """Next result of `pause`, unless the process had settled."""

    def next_delay(self, lived: float = 0.0) -> float:
        """Seconds to wait after a process that lived `lived` seconds; doubles for the next time."""
        if lived > self._settled:
            self.reset()
        pause = self.current_delay
        self.current_delay = min(max(self._first, 2 * pause), self._longest)
        return pause

    def reset(self) -> None:
        """Reset the delay: the process works as it should."""
        self.current_delay = self._begin
