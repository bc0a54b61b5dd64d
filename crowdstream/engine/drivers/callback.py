"""The audio callback: code that must not allocate, wait or raise."""

from __future__ import annotations

import time
from collections.abc import Callable
from ctypes import c_int64
from dataclasses import dataclass
from typing import Any

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import HANDOVER_FRAMES, TAP_MARGIN
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import FLAG_NONE, FLAG_TAKEN, FLAG_UNDERFLOW
from crowdstream.desk.rings import EVENT_HEAD
from crowdstream.engine.precompiled import kernels
from crowdstream.system.process import request_realtime

# Above ordinary real-time daemons, below the kernel's own interrupt threads and JACK's.
PRIORITY = 70
MAX_FRAMES = TAP_MARGIN  # readers of taps rely on it
FRAME_BYTES = 8  # two channels of float32
# Reports of the time at which blocks are heard: how many make an average, and the seconds and
# number of those averaged. The device's clock drifts, so the average lags behind. In two engines
# the lag must be nearly the same, and one of them has played for 20 s only.
MIN_REPORTS, MAX_REPORTS, AVERAGED_SECONDS = 16, 8192, 20.0
MAX_ERROR_NS = 3_000_000  # by which a report counts at most
RESTARTED_NS = 10_000_000  # a stream that differs from the average by this was interrupted


def raise_priority() -> int:
    """Request the engine's real-time priority; see `request_realtime`."""
    return request_realtime(PRIORITY)


class StreamTime:
    """When the frames of a stream are heard: the average of what its callbacks report.

    A single report is wrong by a millisecond or two with some sound servers, and by more if the
    callback was interrupted.
    """

    def __init__(self, rate: float) -> None:
        self._ns = 1e9 / rate  # per frame
        self._frames = 0  # before the current block
        self._start = 0  # monotonic ns at which frame 0 was heard, on average
        self._reports = 0
        self._block = 0  # frames of the latest block
        self._most = MAX_REPORTS
        self._outside = 0  # latest reports that contradict the average

    def report(self, heard_ns: int) -> None:
        """The first frame of the current block is heard at this monotonic time."""
        start = heard_ns - int(self._frames * self._ns)
        error = start - self._start
        if abs(error) > RESTARTED_NS and self._reports:
            self._outside += 1
            if self._outside < MIN_REPORTS:
                return
            self._reports = 0
        self._outside = 0
        if not self._reports:
            self._start, error = start, 0
        self._reports = min(self._reports + 1, self._most)
        self._start += max(-MAX_ERROR_NS, min(error, MAX_ERROR_NS)) // self._reports

    def next_block(self, frames: int) -> None:
        """The current block has `frames` frames; the next one begins."""
        self._frames += frames
        if frames != self._block:
            self._block = frames
            most = int(AVERAGED_SECONDS * 1e9 / (frames * self._ns))
            self._most = min(max(most, MIN_REPORTS), MAX_REPORTS)

    def heard_ns(self, begin: int, latency: float) -> int:
        """Monotonic time at which the first frame of the current block is heard.

        Without reports, `latency` seconds after `begin`, when the block was requested.
        """
        if self._reports < MIN_REPORTS:
            return begin + int(latency * 1e9)
        return self._start + int(self._frames * self._ns)


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

    `fill(frames, flagged, heard_ns)` returns a float32 array of shape `(frames, 2)` that is valid
    until the next call. It never raises: on an error it returns silence and counts the error.

    It renders while the engine with the number `number` has the lease. Before that it returns
    silence; `calls` counts these calls, and `called_ns` is the monotonic time of the latest one.
    After handing over it returns the frames that it has rendered in advance, then silence. If the
    handover has a fade, the last of these frames fade out while the other engine, whose stream is
    the same length of time ahead, fades them in: two streams of one device can't be aligned to the
    frame, and a gap or a step would be audible.

    `retired`: this callback never renders again, even if it is called; another callback of this
    engine does. `first_flag`: the flag of the first block that it renders, one of `FLAG_*`.
    `change`: the change of the stream that takes effect with that block. `alarm` is called in each
    call before the engine renders, once `alarm_ns` have passed since the latest block request of
    the other engine. `announce` is called after a block with events for control. Neither may block
    or raise.

    `grid`: the distance of two streams of the device, in frames, is a multiple of this; 0 if that
    is not known. It makes a handover exact that the times of the streams only determine roughly.

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
        # Frames of both output pairs that are rendered already: the last of an engine that hands
        # over, or the first of one that has taken over.
        self._tail = np.zeros((2 * MAX_FRAMES, 4), np.float32)
        self._tail_at = self._tail_end = 0
        self._fade_in = np.linspace(0.0, 1.0, HANDOVER_FRAMES + 2, dtype=np.float32)[1:-1, None]
        self._fade_out = 1.0 - self._fade_in
        self._shared = desk.handover
        self._next_flag = FLAG_NONE
        self._time = StreamTime(desk.sample_rate)
        self._first = True
        self._renders = False
        self.first_flag = FLAG_NONE
        self.change: StreamChange | None = None
        self.grid = 0
        self.retired = False
        self.calls = 0
        self.called_ns = 0
        self.alarm: Callable[[], None] | None = None
        self.alarm_ns = 0
        self.announce: Callable[[], None] | None = None
        self._events = c_int64.from_address(desk.address + EVENT_HEAD)
        self._announced = -1  # events, in total
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

    def fill(self, frames: int, flagged: bool, heard_ns: int = 0) -> np.ndarray:
        """Return the next `frames` frames.

        `flagged`: the device reports an underflow. `heard_ns`: the monotonic time at which the
        first of them is heard, according to the device; 0 if that is unknown.
        """
        begin = time.monotonic_ns()
        if heard_ns:
            self._time.report(heard_ns)
        # The usual block comes first: whatever it touches has left the processor's caches since the
        # block before, so that each call costs several times what it would in a loop.
        if (
            self._renders
            and frames == self._frames
            and self._tail_at == self._tail_end
            and not self._next_flag
            and not self._lease.handover_requested()
        ):
            self._time.next_block(frames)
            self._render(frames, 0, begin, FLAG_UNDERFLOW if flagged else FLAG_NONE)
            return self._widen(self._usual, 0) if len(self._wide) else self._usual
        return self._fill_other(frames, flagged, begin)

    def _fill_other(self, frames: int, flagged: bool, begin: int) -> np.ndarray:
        # A block that is not like the one before it.
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
                self._renders = not self._hand_over(frames, begin)
        elif not self.retired and self._lease.held() and self._may_start(begin, frames):
            self._renders = True
            self._lease.begin()
            self._next_flag = self.first_flag
        self._time.next_block(frames)
        tail = min(frames, self._tail_end - self._tail_at)
        out[:tail] = self._tail[self._tail_at : self._tail_at + tail, :2]
        if len(self._wide):
            self._wide[:tail, 2:] = self._tail[self._tail_at : self._tail_at + tail, 2:]
        self._tail_at += tail
        if self._renders:
            if tail < frames:
                flag, self._next_flag = self._next_flag or flag, FLAG_NONE
                self._render(frames - tail, tail, begin, flag)
        else:
            self.calls += 1
            self.called_ns = begin
            out[tail:] = 0.0
            if self.alarm is not None and begin - int(self._clock["callback_ns"]) > self.alarm_ns:
                self.alarm()
        return self._widen(out, tail) if len(self._wide) else out

    def _widen(self, out: np.ndarray, tail: int) -> np.ndarray:
        # Add the cue bus to a block whose first `tail` frames have it already.
        wide = self._wide[: len(out)]
        wide[:, :2] = out
        wide[tail:, 2:] = self._cue[: len(out) - tail] if self._renders else 0.0
        return wide

    def _hand_over(self, frames: int, begin: int) -> bool:
        # Render all frames that are to be played until the other stream is audible, and those that
        # fade; with a fade, only as many at once as two blocks have, so that no block is late.
        lease, tail = self._lease, self._tail
        fade = HANDOVER_FRAMES if lease.fade else 0
        goal = min(max(0, lease.ahead), MAX_FRAMES - fade) + fade
        missing = goal - (self._tail_end - self._tail_at)
        count = max(0, min(missing, 2 * frames) if fade else missing)
        if count:
            held = self._tail_end - self._tail_at
            if self._tail_end + count > len(tail) or not held:
                tail[:held] = tail[self._tail_at : self._tail_end]
                self._tail_at, self._tail_end = 0, held
            self._render(count, 0, begin, FLAG_NONE)
            end = self._tail_end + count
            tail[self._tail_end : end, :2] = self._whole[:count]
            tail[self._tail_end : end, 2:] = self._cue[:count]
            self._tail_end = end
        if count < missing:
            return False
        last = tail[self._tail_end - fade : self._tail_end]
        self._shared[:fade] = last
        if fade:
            heard = self._time.heard_ns(begin, float(self._clock["latency"]))
            before = self._tail_end - fade - self._tail_at
            lease.fade_ns = heard + int(before * 1e9 / self._desk.sample_rate)
            lease.fade_offset = before
        if not lease.hand_over():
            return False
        if fade:
            last *= self._fade_out
        return True

    @property
    def renders(self) -> bool:
        """Whether it has the lease and has rendered its first block."""
        return self._renders and self._next_flag == FLAG_NONE

    def _may_start(self, begin: int, frames: int) -> bool:
        # A stream with a lower latency would become audible before the other one has ended.
        change, clock = self.change, self._clock
        if change is None:
            return True
        rate, lease = self._desk.sample_rate, self._lease
        if lease.fade:
            heard = self._time.heard_ns(begin, change.latency)
            early = round((lease.fade_ns - heard) * 1e-9 * rate)
            if self.grid:
                offset = lease.fade_offset
                early = offset + round((early - offset) / self.grid) * self.grid
            if early >= frames:
                return False
            self._play_handover(early)
            silence = int((-early - HANDOVER_FRAMES) * 1e9 / rate)
        else:
            heard = begin + int(change.latency * 1e9)
            ahead = lease.ahead or int(self._desk.header["block_frames"])
            left = int((ahead / rate + float(clock["latency"])) * 1e9)
            silence = heard - (change.cut_ns or int(clock["callback_ns"]) + left)
            if not clock["callback_ns"]:
                silence = 0
            elif silence * 2e-9 * rate < -change.frames:
                return False  # the next block will be closer to that time
        self._desk.lease["silence_ns"] = max(0, silence)
        self._desk.header["block_frames"] = change.frames
        clock["latency"] = change.latency
        return True

    def _play_handover(self, early: int) -> None:
        # Fade in the frames that the other engine has rendered and fades out, `early` frames later,
        # or without the first of them if that is negative: so they are heard at the same time.
        before, skipped = max(0, early), min(max(0, -early), HANDOVER_FRAMES)
        self._tail_at, self._tail_end = 0, before + HANDOVER_FRAMES - skipped
        self._tail[:before] = 0.0
        head = self._tail[before : self._tail_end]
        head[:] = self._shared[skipped:]
        head *= self._fade_in[skipped:]

    def _render(self, frames: int, at: int, begin: int, flag: int) -> None:
        # Render `frames` frames to this engine's buffer, from its frame `at` on.
        address = self._address
        begin_block, render_at, end_block, _recover = self._kernels
        try:
            begin_block(address, frames, begin, flag)
            since = time.monotonic_ns() if at else begin
            render_at(address, self._out + FRAME_BYTES * at, frames)
            end_block(address, frames, time.monotonic_ns() - since)
            if self.announce is not None:
                events = self._events.value
                if events != self._announced:
                    self._announced = events
                    self.announce()
        except Exception:  # whatever the error, the stream must continue
            self._whole[at : at + frames] = 0.0
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
            trial._play_handover(0)
            trial._kernels.recover(spare.address)
            del trial
        finally:
            spare.close()
