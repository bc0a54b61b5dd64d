"""Order of a set's commands and their frames, derived from the running clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from crowdstream.control.clock.clock import BeatClock
from crowdstream.offline.cues import Cue, Moment

NEVER = 1 << 62


class Timeline:
    """The commands of a set in the order of their frames; `origin` is the frame of second 0.

    Times in beats are recomputed on each call, because a tempo change shifts all later ones.
    Commands at the same frame keep the order of the file.
    """

    def __init__(self, cues: Sequence[Cue], clock: BeatClock, origin: int) -> None:
        self._clock = clock
        self._origin = origin
        numbered = list(enumerate(cues))
        self._queues = [
            deque(
                sorted((n for n in numbered if n[1].at.beats is beats), key=lambda n: n[1].at.value)
            )
            for beats in (False, True)
        ]

    def frame(self, moment: Moment, now: int) -> int:
        """Return the frame of a moment at the current tempo, or `now` if it has passed."""
        if moment.beats:
            return max(now, self._clock.frame_of_command(moment.value, now))
        return max(now, self._origin + round(moment.value * self._clock.sample_rate))

    def next_frame(self, now: int) -> int:
        """Return the frame of the next command, or `NEVER` if none is left."""
        return min((self.frame(queue[0][1].at, now) for queue in self._queues if queue),
                   default=NEVER)

    def take(self, now: int) -> Cue | None:
        """Remove and return the next command if it is due at `now`."""
        due = [queue for queue in self._queues if queue and self.frame(queue[0][1].at, now) <= now]
        if not due:
            return None
        return min(due, key=lambda queue: queue[0][0]).popleft()[1]

    def last_frame(self, now: int) -> int:
        """Return the frame of the last remaining command, as far as the clock can predict it."""
        return max((self.frame(queue[-1][1].at, now) for queue in self._queues if queue),
                   default=now)
