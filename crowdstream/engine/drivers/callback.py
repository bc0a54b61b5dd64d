"""The audio callback: code that must not allocate, wait or raise."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAP_MARGIN
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import FLAG_NONE, FLAG_TAKEN, FLAG_UNDERFLOW
from crowdstream.engine.precompiled import kernels

# Above ordinary real-time daemons, below the kernel's own interrupt threads and JACK's.
PRIORITY = 70
MAX_FRAMES = TAP_MARGIN  # readers of taps rely on it


def raise_priority() -> int:
    """Request real-time priority for the calling thread. Returns 1, or -1 if it was refused."""
    with contextlib.suppress(OSError, AttributeError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        return 1
    return -1


@dataclass
class StreamChange:
    """A change of the stream that takes effect with the first block of this engine.

    `frames`: the new block size. `latency`: seconds from callback to sound. `cut_ns`: monotonic
    time at which the sound of the previous engine was cut off; 0 if it plays to its end.
    """

    frames: int
    latency: float
    cut_ns: int = 0


class Callback:
    """Renders blocks of a desk into its own buffer and updates the ledger.

    `fill(frames, flagged)` returns a float32 array of shape `(frames, 2)` that is valid until the
    next call. It never raises: on an error it returns silence and counts the error.

    It renders while the engine with the number `number` has the lease. Before that it returns
    silence; `calls` counts these calls, and `called_ns` is the monotonic time of the latest one.
    After handing over it returns the frames that it has rendered in advance, then silence.

    `retired`: this callback never renders again, even if it is called; another callback of this
    engine does. `first_flag`: the flag of the first block that it renders, one of `FLAG_*`.
    `change`: the change of the stream that takes effect with that block. `alarm` is called in each
    call before the engine renders, once `alarm_ns` have passed since the latest block request of
    the other engine.

    `channels`: 4 adds the cue bus after the master, in columns 2 and 3 of shape `(frames, 4)`. Set
    it before the first call.
    """

    def __init__(self, desk: Desk, frames: int, number: int = 1) -> None:
        self._desk = desk
        self._lease = Lease(desk, number)
        self._kernels = kernels()
        self._ledger = desk.ledger
        self._address = desk.address
        self._whole = np.zeros((max(MAX_FRAMES, frames), 2), np.float32)
        self._usual = self._whole[:frames]
        self._frames = frames
        self._out = int(self._whole.ctypes.data)
        self._tail = np.zeros((MAX_FRAMES, 4), np.float32)  # frames to be played after a handover
        self._tail_at = self._tail_end = 0
        self._first = True
        self._renders = False
        self.first_flag = FLAG_NONE
        self.change: StreamChange | None = None
        self.retired = False
        self.calls = 0
        self.called_ns = 0
        self.alarm: Callable[[], None] | None = None
        self.alarm_ns = 0
        self._clock = desk.clock
        self._wide = np.zeros((0, 4), np.float32)
        self._cue = desk.cue_out

    @property
    def channels(self) -> int:
        """Number of channels that `fill` returns: 2, or 4 with the cue bus."""
        return 4 if len(self._wide) else 2

    @channels.setter
    def channels(self, channels: int) -> None:
        self._wide = np.zeros((len(self._whole) if channels == 4 else 0, 4), np.float32)

    def fill(self, frames: int, flagged: bool) -> np.ndarray:
        """Return the next `frames` frames. `flagged`: the device reports an underflow."""
        begin = time.monotonic_ns()
        if self._first:
            self._first = False
            self._ledger["realtime"] = raise_priority()
        out = self._usual if frames == self._frames else self._whole[:frames]
        if len(out) < frames:  # no device requests so many; fewer frames would end its stream
            self._ledger["guarded"] += 1
            return np.zeros((frames, self.channels), np.float32)
        flag = FLAG_UNDERFLOW if flagged else FLAG_NONE
        if self._renders:
            if self._lease.handover_requested():
                self._renders = not self._hand_over(begin)
        elif not self.retired and self._lease.held() and self._may_start(begin):
            self._renders = True
            self._lease.begin()
            flag = self.first_flag
        tail = 0
        if self._renders and self._tail_at == self._tail_end:
            self._render(out, frames, begin, flag)
        else:
            self.calls += 1
            self.called_ns = begin
            tail = min(frames, self._tail_end - self._tail_at)
            out[:tail] = self._tail[self._tail_at : self._tail_at + tail, :2]
            out[tail:] = 0.0
            if self.alarm is not None and begin - int(self._clock["callback_ns"]) > self.alarm_ns:
                self.alarm()
        if not len(self._wide):
            self._tail_at += tail
            return out
        wide = self._wide[:frames]
        wide[:, :2] = out
        wide[:, 2:] = self._cue[:frames] if self._renders else 0.0
        wide[:tail, 2:] = self._tail[self._tail_at : self._tail_at + tail, 2:]
        self._tail_at += tail
        return wide

    def _hand_over(self, begin: int) -> bool:
        # Instead of this block, render all frames that are to be played until the other stream is
        # audible.
        ahead = min(max(0, self._lease.ahead), len(self._whole))
        if ahead:
            self._render(self._whole[:ahead], ahead, begin, FLAG_NONE)
            self._tail[:ahead, :2] = self._whole[:ahead]
            self._tail[:ahead, 2:] = self._cue[:ahead]
            self._tail_at, self._tail_end = 0, ahead
        return self._lease.hand_over()

    @property
    def renders(self) -> bool:
        """Whether it has the lease and has rendered its first block."""
        return self._renders

    def _may_start(self, begin: int) -> bool:
        # A stream with a lower latency would become audible before the other one has ended.
        change, clock = self.change, self._clock
        if change is None:
            return True
        rate = self._desk.sample_rate
        heard = begin + int(change.latency * 1e9)
        frames = self._lease.ahead or int(self._desk.header["block_frames"])
        left = int((frames / rate + float(clock["latency"])) * 1e9)
        silence = heard - (change.cut_ns or int(clock["callback_ns"]) + left)
        if clock["callback_ns"] and silence * 2e-9 * rate < -change.frames:
            return False  # the next block will be closer to that time
        self._desk.lease["silence_ns"] = max(0, silence) if clock["callback_ns"] else 0
        self._desk.header["block_frames"] = change.frames
        clock["latency"] = change.latency
        return True

    def _render(self, out: np.ndarray, frames: int, begin: int, flag: int) -> None:
        try:
            self._kernels.begin_block(self._address, frames, begin, flag)
            self._kernels.render_at(self._address, self._out, frames)
            self._kernels.end_block(self._address, frames, time.monotonic_ns() - begin)
        except Exception:  # whatever the error, the stream must continue
            out[:] = 0.0
            self._cue[:frames] = 0.0
            self._ledger["guarded"] += 1

    def warm_up(self) -> None:
        """Run every kernel once on a temporary desk, so that the first block is not slower."""
        spare = Desk.create(0)
        try:
            trial: Any = Callback(spare, 64)
            trial._first = False
            trial._lease.take()
            trial.change = StreamChange(64, 0.0)
            for flag in (FLAG_TAKEN, FLAG_UNDERFLOW, FLAG_NONE):
                trial.first_flag = flag
                trial.fill(64, bool(flag))
            trial._lease.hand_over()
            trial.fill(64, False)
            trial._kernels.recover(spare.address)
            del trial
        finally:
            spare.close()
