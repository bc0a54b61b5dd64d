"""What runs when the sound card wants frames: nothing that allocates, waits or raises."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.sizes import TAP_MARGIN
from crowdstream.engine.ledger import begin_block, end_block
from crowdstream.engine.render import render_at

# Above ordinary real-time daemons, below the kernel's own interrupt threads and JACK's.
PRIORITY = 70
MOST_FRAMES = TAP_MARGIN  # readers of taps count on it


class Callback:
    """Renders blocks of a desk into a buffer of its own and keeps the ledger.

    `fill(frames, flagged)` returns a float32 array of shape `(frames, 2)` that is valid until
    the next call. It never raises: on an error it returns silence and counts it.

    `channels`: 4 puts the cue bus behind the master, in columns 2 and 3 of shape `(frames, 4)`.
    Set it before the first call.
    """

    def __init__(self, desk: Desk, frames: int) -> None:
        self._desk = desk
        self._ledger = desk.ledger
        self._address = desk.address
        self._whole = np.zeros((max(MOST_FRAMES, frames), 2), np.float32)
        self._usual = self._whole[:frames]
        self._frames = frames
        self._out = int(self._whole.ctypes.data)
        self._first = True
        self._wide = np.zeros((0, 4), np.float32)
        self._cue = desk.cue_out

    @property
    def channels(self) -> int:
        """Channels of what `fill` returns: 2, or 4 with the cue bus."""
        return 4 if len(self._wide) else 2

    @channels.setter
    def channels(self, channels: int) -> None:
        self._wide = np.zeros((len(self._whole) if channels == 4 else 0, 4), np.float32)

    def fill(self, frames: int, flagged: bool) -> np.ndarray:
        """The next `frames` frames; `flagged`: the device reports an underflow."""
        begin = time.monotonic_ns()
        if self._first:
            self._first = False
            self._raise_priority()
        out = self._usual if frames == self._frames else self._whole[:frames]
        if len(out) < frames:  # no device asks for so much; were it so, too little would end it
            self._ledger["guarded"] += 1
            return np.zeros((frames, self.channels), np.float32)
        try:
            begin_block(self._address, frames, begin, flagged)
            render_at(self._address, self._out, frames)
            end_block(self._address, frames, time.monotonic_ns() - begin)
        except Exception:  # whatever it is, the stream must go on
            out[:] = 0.0
            self._cue[:frames] = 0.0
            self._ledger["guarded"] += 1
        if not len(self._wide):
            return out
        wide = self._wide[:frames]
        wide[:, :2] = out
        wide[:, 2:] = self._cue[:frames]
        return wide

    def warm_up(self) -> None:
        """Run every kernel once, on a desk of its own, so that the first block is no slower."""
        spare = Desk.create(0)
        try:
            trial: Any = Callback(spare, 64)
            trial._first = False
            trial.fill(64, False)
            del trial
        finally:
            spare.close()

    def _raise_priority(self) -> None:
        # Acts on the calling thread, which is the device's.
        held = -1
        with contextlib.suppress(OSError, AttributeError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            held = 1
        self._ledger["realtime"] = held
