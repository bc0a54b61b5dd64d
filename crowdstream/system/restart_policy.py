"""How long to wait before something that has ended is started again."""

from __future__ import annotations

import math


class RestartPolicy:
    """Pauses that double while what is started ends again, and begin anew once it has lasted.

    `first`: the shortest; `longest`: none is longer. `at_once`: the first start of a row waits
    for nothing. `settled`: seconds after which an end is the first one in a row.
    """

    def __init__(
        self, first: float, longest: float, *, settled: float = math.inf, at_once: bool = False
    ) -> None:
        self._first = first
        self._longest = longest
        self._settled = settled
        self._begin = 0.0 if at_once else first
        self.next_pause = self._begin
        """What `pause` gives next, unless what has ended had settled."""

    def pause(self, lived: float = 0.0) -> float:
        """Seconds to wait now, for what has lived that long; the next time it is twice that."""
        if lived > self._settled:
            self.reset()
        pause = self.next_pause
        self.next_pause = min(max(self._first, 2 * pause), self._longest)
        return pause

    def reset(self) -> None:
        """It does what it should: the next end is the first one in a row."""
        self.next_pause = self._begin
