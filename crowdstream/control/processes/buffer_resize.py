"""Change the buffer size during playback by handing over to an engine with another block size.

On a device that mixes several streams, the new engine runs beside the old one before it takes
over, and the change is almost inaudible. On a device that accepts a single stream, the old engine
must close it first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crowdstream.commands.errors import Refused
from crowdstream.control.processes.child import ChildError
from crowdstream.desk.block import Desk
from crowdstream.desk.stream_info import StreamInfo

if TYPE_CHECKING:
    from crowdstream.control.processes.engine_pool import Engine, EnginePool

log = logging.getLogger(__name__)

MAX_SECONDS = 30.0  # a change that takes longer is abandoned
REOPEN_MS = 100.0  # expected silence where the device accepts one stream at a time

Done = Callable[[int, float], None]


class BufferResize:
    """Runs one change of the buffer size at a time. For the control thread.

    `announce(frames, ms)` is called before each change with the new size in frames and the
    expected silence in milliseconds.
    """

    def __init__(
        self, engines: EnginePool, desk: Desk, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._engines = engines
        self._desk = desk
        self._monotonic = monotonic
        self.announce: Callable[[int, float], None] = lambda *_: None
        self._engine: Engine | None = None
        self._frames = 0
        self._deadline = 0.0
        self.reopens = False  # the playing engine has to close the device for the new one
        self._done: Done = lambda *_: None
        self._fail: Callable[[str], None] = lambda _: None

    def begin(self, frames: int, done: Done, fail: Callable[[str], None]) -> None:
        """Change to blocks of `frames` frames.

        On success calls `done(frames, ms)` with the resulting size in frames and the silence in
        milliseconds. Calls `fail(reason)` when the size stays unchanged. Raises `Refused` when
        the change can't be started.
        """
        if self._engine is not None:
            raise Refused(f"the buffer size is being changed to {self._frames}: wait for /done")
        if self._engines.searching or self._engines.info is None:
            raise Refused("the sound device is gone: change the buffer size when it is back")
        if frames == self._engines.frames:
            done(frames, 0.0)
            return
        try:
            self._engine = self._engines.launch("resize", frames)
        except ChildError as error:
            raise Refused(str(error)) from error
        self.reopens = False
        self._frames, self._done, self._fail = frames, done, fail
        self._deadline = self._monotonic() + MAX_SECONDS

    def on_engine_ready(self, engine: Engine, info: dict[str, Any] | None) -> None:
        """Let the new engine take over: it is ready.

        `info` describes its stream beside the old one; None if the device refuses a second stream.
        """
        if engine is not self._engine:
            self._engines.discard(engine)
            return
        expected = REOPEN_MS
        if info is not None:
            # The old engine plays until the new one is audible: estimate the gap between them.
            shorter = min(self._frames, self._engines.frames)
            expected = 1e3 * shorter / self._desk.sample_rate
        self.announce(self._frames, expected)
        self._engines.remove_standby()
        self.reopens = info is None
        engine.child.send({"go": 1})

    def on_takeover(self, engine: Engine, info: StreamInfo) -> None:
        """Report the result if the engine that now plays is the one with the new size."""
        if engine is not self._engine:
            return
        self._engine, self.reopens = None, False
        if self._engines.searching:
            self._fail("the sound device is gone: the built-in clock plays on until it is back")
        elif info.buffer_size == self._frames:
            self._done(info.buffer_size, int(self._desk.lease["silence_ns"]) / 1e6)
        else:
            stays = info.buffer_size
            self._fail(f"{info.device} does not take blocks of {self._frames} frames: {stays} stay")

    def on_device_lost(self) -> None:
        """Abandon a change in progress: the device is gone."""
        self._end("the sound device is gone: change the buffer size when it is back")

    def tick(self) -> None:
        """Abandon the change if its engine has died or exceeded `MAX_SECONDS`."""
        engine = self._engine
        if engine is None:
            return
        if not self._engines.has(engine):
            self._end("the engine with the new buffer size has died: see the log")
        elif self._monotonic() > self._deadline:
            self._end(f"no engine was ready within {MAX_SECONDS:g} s")

    def _end(self, reason: str) -> None:
        engine, self._engine, self.reopens = self._engine, None, False
        if engine is not None:
            log.warning("the buffer size is unchanged: %s", reason)
            self._engines.discard(engine)
            self._fail(reason)
