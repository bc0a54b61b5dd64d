"""Broadcast: one task reads a bus and hands every chunk of it to all who listen."""

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

READ_SECONDS = 0.01  # between two looks at the tap
CHUNKS_A_SECOND = 50  # 20 ms: a packet of Opus
MAX_PAUSE = 0.05  # between two looks; when it was longer, that is no listener's fault


class Broadcast:
    """The listeners of one tap. While there are none, the engine does not write its ring."""

    def __init__(self, desk: Desk, tap: int) -> None:
        self._desk = desk
        self._tap = tap
        self._clock = FrameClock(desk)
        self._encoders = Encoders()
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._rate = 0
        self._rest = np.empty((0, 2), np.float32)
        self._end = -1  # the frame behind `_rest`
        self._looked_at = time.monotonic()
        self._worked = 0.0  # seconds that have passed for listeners

    def __len__(self) -> int:
        return len(self._listeners)

    def join(self, listener: Listener) -> None:
        """Let somebody listen, from the next chunk on."""
        self._listeners.append(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def leave(self, listener: Listener) -> None:
        """They listen no more."""
        self._listeners.remove(listener)

    async def _run(self) -> None:
        reader = TapReader(self._desk, self._tap, LISTENERS)
        self._clock.begin_anew()
        self._rest = self._rest[:0]  # of those who listened before
        try:
            while self._listeners:
                self.work(reader)
                await asyncio.sleep(READ_SECONDS)
        finally:
            reader.close()

    def work(self, reader: TapReader) -> None:
        """Read what has come, and hand on what is complete."""
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
            # Some frames were missed, or the engine plays at another rate: what there was goes
            # out as it is, and the next chunk's number tells how much is missing.
            if len(self._rest):
                self._hand_out(self._rest)
            self._rest = frames
            if rate != self._rate:
                self._clock.begin_anew()
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
