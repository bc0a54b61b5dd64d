"""Broadcast: one task per bus reads its tap and passes every chunk to all listeners.

One listener: measures its delay, and adapts the bit rate to it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from crowdstream.control.clock.clock import FrameClock
from crowdstream.desk.block import Desk
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.web.streaming.encoding import Chunk, Encoders

SLOW_SECONDS = 0.4  # delay beyond the usual one that counts as slow
FULL_SECONDS = 1.5  # of audio in flight; further chunks are skipped
LONG_WAY_SECONDS = 0.9  # upper bound for the usual delay of a report
STEP_SECONDS = 3.0  # for which a lower bit rate is tried before the next step down
PROBE_SECONDS = 0.5  # between chunks sent although too much is in flight: reports need a chunk
GIVE_UP_SECONDS = 15.0  # of skipping at the lowest bit rate, before the connection is closed
RECOVER_SECONDS = 20.0  # without being slow, before a higher bit rate is tried
MAX_RECOVER_SECONDS = 300.0  # each failed attempt doubles that time, up to this limit
RELAPSE_SECONDS = 15.0  # an attempt has failed if the listener is slow again within this time


DOUBT_SECONDS = 1.5  # to wait for a report of `held` before the connection counts as slow
EXCUSED_SECONDS = 3.0  # after a report of `held`, for which delays are attributed to it
EXCUSE = 0.5  # part of the delay that `held` must explain


class Listener:
    """The outgoing audio of one listener, and its reports of what has arrived.

    No method waits for the listener. Its own task sends `outbox`: chunks, each with the frame
    number after its end, and texts. Chunks in the outbox, in the network's buffers and on the way
    count as in flight until the listener reports them (`have`). The age of the oldest one is the
    listener's delay. The amount in flight is therefore bounded, whether the network, a proxy or the
    browser is slow. Delays of this process itself do not count. A delay that the listener's own
    computer has caused (`held`) is no reason for a lower bit rate.
    """

    def __init__(self, ladder: Sequence[str]) -> None:
        """`ladder`: names of formats, from high to low bit rate."""
        self._ladder = ladder
        self._level = 0
        self.outbox: asyncio.Queue[tuple[bytes, int] | dict[str, object]] = asyncio.Queue()
        self.handed_over = 0  # the frame after the last one that was passed to the network
        self.closing: str | None = None  # why the connection must be closed
        self.skipped = 0  # number of skipped chunks
        self.bytes_sent = 0
        self._under_way: deque[tuple[int, float]] = deque()  # (frame after a chunk, time sent)
        self._now = self._sent_at = self._slow_at = self._changed_at = -math.inf
        self._usual = 0.0
        self._known = False  # whether the listener has sent any report
        self._full_since: float | None = None
        self._reports_held = False  # whether its reports contain `held`
        self._doubted_at: float | None = None  # since when it is slow for an unknown reason
        self._excused_until = -math.inf
        self._pause = RECOVER_SECONDS
        self._widened_at = self._narrowed_at = -math.inf

    @property
    def format(self) -> str:
        """The name of the current format."""
        return self._ladder[self._level]

    def have(self, frame: int, held: float | None = None) -> None:
        """Handle a report that everything before frame number `frame` has arrived.

        `held`: seconds for which the listener's computer has recently stalled; None: unknown.
        """
        # A listener cannot have received frames that were not sent yet. Without this limit a false
        # report would let the outbox grow.
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
        # Decide whether the listener's computer has caused a delay of `late` seconds.
        self._reports_held = True
        if held <= 0.0 or held < EXCUSE * late:
            if self._doubted_at is not None:  # the connection has caused it
                self._doubted_at = None
                self._narrow(self._now)
            return
        self._excused_until = self._now + EXCUSED_SECONDS
        self._doubted_at = None
        mistaken = self._narrowed_at > self._now - held - DOUBT_SECONDS
        if self._level and mistaken:
            self._narrowed_at = -math.inf
            self._change(-1, self._now, "the computer was busy, the connection is fast enough")

    def offer(
        self, chunk: Chunk, encode: Callable[[str, Chunk], bytes | None], now: float
    ) -> None:
        """Queue a chunk, or skip it if too much is in flight; never waits.

        `now`: seconds of a clock that stops while this process itself is delayed.
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
                self.closing = "connection too slow: the lowest bit rate did not arrive for 15 s"
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
        # Before the first report the usual delay is unknown.
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
            self._change(-1, now, "trying a higher bit rate")

    def _narrow(self, now: float) -> None:
        if not self._narrowest and now - self._changed_at >= STEP_SECONDS:
            self._narrowed_at = now
            self._change(1, now, "slow connection: lower bit rate")

    def _excused(self, now: float) -> bool:
        # Whether the listener's computer has caused the delay, or may have: the next report tells.
        if now < self._excused_until:
            return True
        if not self._reports_held:
            return False
        if self._doubted_at is None:
            self._doubted_at = now
        return now - self._doubted_at < DOUBT_SECONDS

    def _change(self, by: int, now: float, why: str) -> None:
        self._level += by
        self._changed_at = now
        self.outbox.put_nowait({"format": self.format, "why": why})


READ_SECONDS = 0.01  # between two reads of the tap
CHUNKS_A_SECOND = 50  # 20 ms: one Opus packet
MAX_PAUSE = 0.05  # seconds between two reads; listeners are not blamed for longer pauses


class Broadcast:
    """The listeners of one tap. The engine writes the tap's ring only while there are listeners."""

    def __init__(self, desk: Desk, tap: int) -> None:
        self._desk = desk
        self._tap = tap
        self._clock = FrameClock(desk)
        self._encoders = Encoders()
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._rate = 0
        self._rest = np.empty((0, 2), np.float32)
        self._end = -1  # the frame after the last one of `_rest`
        self._looked_at = time.monotonic()
        self._worked = 0.0  # the listeners' clock in seconds, see `Listener.offer`

    def __len__(self) -> int:
        return len(self._listeners)

    def join(self, listener: Listener) -> None:
        """Add a listener, which receives the next chunk first."""
        self._listeners.append(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def leave(self, listener: Listener) -> None:
        """Remove a listener."""
        self._listeners.remove(listener)

    async def _run(self) -> None:
        reader = TapReader(self._desk, self._tap, LISTENERS)
        self._clock.reset_estimate()
        self._rest = self._rest[:0]  # from an earlier run
        try:
            while self._listeners:
                self.work(reader)
                await asyncio.sleep(READ_SECONDS)
        finally:
            reader.close()

    def work(self, reader: TapReader) -> None:
        """Read new frames from the tap, and pass complete chunks to the listeners."""
        now = time.monotonic()
        self._worked += min(now - self._looked_at, MAX_PAUSE)
        self._looked_at = now
        self._clock.read()
        rate = round(self._desk.sample_rate)
        _lost, frames = reader.read()
        if not len(frames):
            return
        begin = reader.position - len(frames)
        if begin != self._end or rate != self._rate:
            # Frames were missed, or the sample rate has changed. The rest goes out as it is; the
            # frame number of the next chunk shows how much is missing.
            if len(self._rest):
                self._hand_out(self._rest)
            self._rest = frames
            if rate != self._rate:
                self._clock.reset_estimate()
                self._clock.read()
            self._rate = rate
        else:
            self._rest = np.concatenate([self._rest, frames])
        self._end = reader.position
        size = self._rate // CHUNKS_A_SECOND
        while len(self._rest) >= size:
            self._hand_out(self._rest[:size])
            self._rest = self._rest[size:]

    def _hand_out(self, samples: np.ndarray) -> None:
        frame = self._end - len(self._rest)
        now = time.monotonic()
        at = now + (frame - self._clock.frame_rendered(now)) / self._rate
        chunk = Chunk(samples, frame, self._rate, at)
        for listener in self._listeners:
            listener.offer(chunk, self._encoders.encode, self._worked)
