"""A standby's watch over the engine that plays, and how it takes its place."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from crowdstream.desk.block import Desk
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import WORK_RENDERS
from crowdstream.engine.drivers.callback import Callback
from crowdstream.engine.precompiled import kernels

# An engine that has not been asked for a block for so long hangs, if it is not the device that
# has stopped asking: periods, and seconds beside them.
HANG_PERIODS = 2.5
HANG_SECONDS = 0.017
HANG_CALLS = 3  # blocks that this engine's own stream was asked for meanwhile
# After so long it is looked at more closely.
ALARM_PERIODS = 1.5
ALARM_SECONDS = 0.001
CLOSE_LOOK = 0.001  # seconds between two such looks
PAUSE = 0.02  # between two looks where the alarm comes from this engine's own stream
# After so long a device that asks nobody is gone: one that says so or whose thread has ended, and
# one that may only be waking up, which takes some sound servers two seconds.
ENDED_SECONDS = 0.4
LOST_SECONDS = 2.5
END_SECONDS = 0.5  # that the system may take to end a process that is killed
STOPPED = "tTZXx"  # states of a thread that does nothing any more
ENDS = 0x4 | 0x400  # PF_EXITING and PF_SIGNALED of the kernel: it never gets back to its program
STATE, FLAGS = 0, 6  # fields of /proc/.../stat behind the name
KILL_BIT = 1 << signal.SIGKILL - 1


class Task(NamedTuple):
    """A thread as the system sees it."""

    state: str
    ends: bool


class StandbyMonitor:
    """Waits for the end of the engine that has the lease. For the main thread of another one.

    `running`: this engine's own stream is called, so that a device that has stopped can be told
    from an engine that has; `active` says whether its device still has it.
    """

    def __init__(
        self,
        desk: Desk,
        lease: Lease,
        callback: Callback,
        running: bool,
        active: Callable[[], bool] = lambda: True,
    ) -> None:
        self._active = active
        self._desk = desk
        self._clock = desk.clock
        self._lease = lease
        self._callback = callback
        self._running = running
        self._pid = lease.pid
        self._process: int | None = None
        with contextlib.suppress(OSError):
            self._process = os.pidfd_open(self._pid)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self._period = int(desk.header["block_frames"]) / desk.sample_rate
        self._beat = 0
        self._calls = 0  # at the latest block of the other one
        self._latest = 0
        self._called = time.monotonic()

    def alive(self) -> bool:
        """Whether the process of that engine runs."""
        return self._process is not None and not select.select([self._process], [], [], 0)[0]

    def wait(self) -> str:
        """Wait for something to do; returns what happened.

        "died", "hung": the other engine has ended now; "device": so has it, and the device asks
        for nothing any more. "ended": standard input has closed, or the server ends.
        """
        alarm = ALARM_PERIODS * self._period + ALARM_SECONDS
        self._callback.alarm_ns = int(alarm * 1e9)
        self._callback.alarm = partial(os.eventfd_write, self._bell, 1)
        watched = [0, self._bell] + ([] if self._process is None else [self._process])
        usual = PAUSE if self._running else max(0.002, min(PAUSE, self._period / 2))
        pause = usual
        try:
            while True:
                ready = select.select(watched, [], [], pause)[0]
                if self._bell in ready:
                    os.eventfd_read(self._bell)
                if 0 in ready and not os.read(0, 4096):
                    return "ended"
                if self._lease.closing:
                    select.select([0], [], [])
                    return "ended"
                if not self.alive():
                    return "died"
                stale = self._stale()
                pause = usual if stale < alarm or stale > ENDED_SECONDS else CLOSE_LOOK
                trouble = self._trouble(stale) if stale > alarm else ""
                if trouble:
                    self.end_other()
                    return trouble
        finally:
            self._callback.alarm = None

    def _stale(self) -> float:
        # Seconds since the other engine was asked for a block.
        now = time.monotonic()
        beat = int(self._clock["callback_ns"])
        calls = self._callback.calls
        if calls != self._latest:
            self._latest = calls
            self._called = now
        if beat != self._beat:
            self._beat = beat
            self._calls = calls
        return now - beat * 1e-9 if beat else 0.0

    def _trouble(self, stale: float) -> str:
        thread = self._task(self._lease.thread)
        if self._dying(thread):
            return "died"
        if stale < HANG_PERIODS * self._period + HANG_SECONDS:
            return ""
        if self._running:
            # The same device asks this engine for sound, or it does not.
            if self._callback.calls - self._calls >= HANG_CALLS:
                return "hung"
            silent = min(stale, time.monotonic() - self._called)
            ended = silent > ENDED_SECONDS and (thread is None or not self._active())
            return "device" if ended or silent > LOST_SECONDS else ""
        if thread is None or thread.state in STOPPED or self._renders():
            return "hung"
        return "device" if stale > LOST_SECONDS else ""

    def _renders(self) -> bool:
        # It began with a turn and does not come to its end.
        return int(self._desk.undo_log["state"]) == WORK_RENDERS

    def _dying(self, thread: Task | None) -> bool:
        # A process that is killed takes a while to end; but its threads never get back to their
        # program. A thread that has gone by itself is a device's that has failed.
        if not self._lease.thread or (thread is not None and not thread.ends):
            return False
        leader = self._task(self._pid)
        return leader is None or leader.ends or self._killed()

    def _killed(self) -> bool:
        try:
            with open(f"/proc/{self._pid}/status", encoding="utf-8", errors="replace") as file:
                pending = next(line for line in file if line.startswith("SigPnd:"))
            return bool(int(pending.split()[1], 16) & KILL_BIT)
        except (OSError, StopIteration, IndexError, ValueError):
            return True

    def _task(self, thread: int) -> Task | None:
        # None: there is no such thread of the other engine.
        try:
            with open(f"/proc/{self._pid}/task/{thread}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            state = fields[STATE].decode()
            return Task(state, state in "ZXx" or bool(int(fields[FLAGS]) & ENDS))
        except (OSError, IndexError, ValueError):
            return None

    def end_other(self) -> None:
        """See to it that the other engine has ended: there are never two on one device."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        while self.alive() and time.monotonic() < deadline:
            thread = self._task(self._lease.thread)
            if self._lease.thread and (thread is None or thread.ends):
                return
            time.sleep(CLOSE_LOOK / 4)

    def take(self) -> None:
        """Go on where the other engine stopped, to the frame. It has ended."""
        kernels().recover(self._desk.address)
        self._lease.take()
