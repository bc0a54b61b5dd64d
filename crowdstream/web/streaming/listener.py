"""One who listens: how far behind they are, and how many bits they get."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence

from crowdstream.web.streaming.chunks import Chunk

SLOW_SECONDS = 0.4  # so much further behind than usual is slow
FULL_SECONDS = 1.5  # so much may be under way; what comes then is left out
LONG_WAY_SECONDS = 0.9  # so far behind a report may usually be
STEP_SECONDS = 3.0  # for which fewer bits get their chance before there are still fewer
PROBE_SECONDS = 0.5  # between two chunks that are sent even so: a report may wait for one
GIVE_UP_SECONDS = 15.0  # of being full with the fewest bits
RECOVER_SECONDS = 20.0  # without being slow, before more bits are tried again
MAX_RECOVER_SECONDS = 300.0  # each try that fails doubles the pause, up to here
RELAPSE_SECONDS = 15.0  # being slow so soon after more bits means that the try has failed


DOUBT_SECONDS = 1.5  # for which one who says when they were held up is not called slow yet
EXCUSED_SECONDS = 3.0  # after a report of having been held up, in which being late is due to that
EXCUSE = 0.5  # part of what they are late with that this has to explain


class Listener:
    """What is sent to one listener, and what they have said they got.

    Nobody waits for a listener. `outbox` is what their own task sends: chunks with the frame behind
    them, and texts. What is in there, in the
    network's buffers and on the way counts as under way until they report it (`have`). How long
    the oldest of it has been is how far behind they are. So it is bounded, whatever is slow:
    their network, a proxy, or their browser. What this process itself sends late does not count.
    What they say they were held up by their own computer is no reason for fewer bits.
    """

    def __init__(self, ladder: Sequence[str]) -> None:
        """`ladder`: formats, from many bits to few."""
        self._ladder = ladder
        self._level = 0
        self.outbox: asyncio.Queue[tuple[bytes, int] | dict[str, object]] = asyncio.Queue()
        self.handed_over = 0  # the frame behind the last one that was given to the network
        self.closing: str | None = None  # why the connection is to be closed
        self.skipped = 0  # chunks that were left out
        self.bytes_sent = 0
        self._under_way: deque[tuple[int, float]] = deque()  # frame behind a chunk, when it left
        self._now = self._sent_at = self._slow_at = self._changed_at = -math.inf
        self._usual = 0.0
        self._known = False  # whether they have reported at all
        self._full_since: float | None = None
        self._tells_held = False  # whether their reports say how long they were held up
        self._doubted_at: float | None = None  # since when they are late, and the cause is open
        self._excused_until = -math.inf
        self._pause = RECOVER_SECONDS
        self._widened_at = self._narrowed_at = -math.inf

    @property
    def format(self) -> str:
        """The name of the format they get now."""
        return self._ladder[self._level]

    def have(self, frame: int, held: float | None = None) -> None:
        """They report that everything up to the frame `frame` has arrived.

        `held`: seconds for which their computer has lately had no time for them; None: unknown.
        """
        # What they can't have yet they have not: the outbox stays as short as they are honest.
        frame = min(frame, self.handed_over)
        behind = 0.0
        oldest = self._behind(self._now)
        while self._under_way and self._under_way[0][0] <= frame:
            behind = self._now - self._under_way.popleft()[1]
        behind = max(behind, self._behind(self._now))
        if held is not None:
            self._judge(oldest - self._usual, held)
        self._usual = min(self._usual if self._known else LONG_WAY_SECONDS, behind)
        self._known = True

    def _judge(self, late: float, held: float) -> None:
        # Whether it is their computer that makes them so many seconds late.
        self._tells_held = True
        if held <= 0.0 or held < EXCUSE * late:
            if self._doubted_at is not None:  # the way it is, then
                self._doubted_at = None
                self._narrow(self._now)
            return
        self._excused_until = self._now + EXCUSED_SECONDS
        self._doubted_at = None
        mistaken = self._narrowed_at > self._now - held - DOUBT_SECONDS
        if self._level and mistaken:
            self._narrowed_at = -math.inf
            self._change(-1, self._now, "that computer was busy, the connection is not slow")

    def offer(
        self, chunk: Chunk, encode: Callable[[str, Chunk], bytes | None], now: float
    ) -> None:
        """Have a chunk sent, or leave it out; never waits.

        `now`: seconds of a clock that stands still while this process itself is held up.
        """
        if self.closing is not None:
            return
        self._now = now
        behind = self._behind(now)
        self._adapt(behind, now)
        if behind > FULL_SECONDS and now - self._sent_at < PROBE_SECONDS:
            self.skipped += 1
            if self._full_since is None:
                self._full_since = now
            elif now - self._full_since > GIVE_UP_SECONDS and self._narrowest:
                self.closing = "too slow: even the fewest bits did not arrive for 15 s"
            return
        if not self._slow(behind):
            self._full_since = None
        data = encode(self.format, chunk)
        if data is not None:
            self._sent_at = now
            self._under_way.append((chunk.end, now))
            self.bytes_sent += len(data)
            self.outbox.put_nowait((data, chunk.end))

    @property
    def _narrowest(self) -> bool:
        return self._level == len(self._ladder) - 1

    def _behind(self, now: float) -> float:
        return now - self._under_way[0][1] if self._under_way else 0.0

    def _slow(self, behind: float) -> bool:
        # Before the first report nothing is known of their way.
        return behind > FULL_SECONDS or (self._known and behind - self._usual > SLOW_SECONDS)

    def _adapt(self, behind: float, now: float) -> None:
        if self._slow(behind):
            if now - self._widened_at < RELAPSE_SECONDS:
                self._pause = min(2 * self._pause, MAX_RECOVER_SECONDS)
                self._widened_at = -math.inf
            self._slow_at = now
            if self._excused(now):
                return
            self._narrow(now)
            return
        self._doubted_at = None
        if self._level and now - max(self._slow_at, self._changed_at) >= self._pause:
            self._widened_at = now
            self._change(-1, now, "more bits again")

    def _narrow(self, now: float) -> None:
        if not self._narrowest and now - self._changed_at >= STEP_SECONDS:
            self._narrowed_at = now
            self._change(1, now, "the connection is slow: fewer bits")

    def _excused(self, now: float) -> bool:
        # Late by their own computer, or it is not known yet: their next report says.
        if now < self._excused_until:
            return True
        if not self._tells_held:
            return False
        if self._doubted_at is None:
            self._doubted_at = now
        return now - self._doubted_at < DOUBT_SECONDS

    def _change(self, by: int, now: float, why: str) -> None:
        self._level += by
        self._changed_at = now
        self.outbox.put_nowait({"format": self.format, "why": why})
