"""Broadcast: one task per bus reads its tap and passes every chunk to all listeners."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from crowdstream.control.clock.clock import FrameClock
from crowdstream.desk.block import Desk
from crowdstream.desk.taps import LISTENERS, TapReader
from crowdstream.web.streaming.chunks import Chunk
from crowdstream.web.streaming.formats import Encoders
from crowdstream.web.streaming.listener import Listener

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
