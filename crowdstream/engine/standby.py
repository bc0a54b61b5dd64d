"""Failover: a standby engine monitors the active engine and takes over from it."""

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
from crowdstream.system.starvation import StarvationMonitor

# An engine whose callback has not been called for this long hangs, unless the device itself has
# stopped: in periods, plus seconds.
HANG_PERIODS = 2.5
HANG_SECONDS = 0.017
# Callbacks of this engine's own stream meanwhile, which prove that the device is running.
HANG_CALLS = 3
# Without a device: checks by this engine meanwhile, which prove that the machine is not stalled.
HANG_CHECKS = 10
# An engine that waits for a processor for longer than this is replaced like one that hangs.
STARVED_SECONDS = 3.0
# The same if its thread sleeps outside of a turn: its stream may not be served in time.
UNSERVED_SECONDS = 0.25
STARVED_CHECK_SECONDS = 0.01  # between two such checks, which use the processor as well
# After this long without a callback, the active engine is checked more closely.
ALARM_PERIODS = 1.5
ALARM_SECONDS = 0.001
CLOSE_CHECK_SECONDS = 0.001  # between close checks
CALLED_CHECK_SECONDS = 0.2  # while this engine's own stream is called, and raises the alarm
CHECK_SECONDS = 0.02  # while it is not
SILENT_CHECK_SECONDS = 0.25  # without a device, while nothing plays: each wake-up costs CPU time
# A device that calls no callback for this long is gone: the first applies if it reports so or if
# its thread has ended; the second if it may only be waking up, which takes some sound servers two
# seconds.
ENDED_SECONDS = 0.4
LOST_SECONDS = 2.5
# Of the time between two checks, at most this counts: while this engine itself gets no processor,
# as in a virtual machine that is paused, it can't notice that the device calls.
MAX_CHECK_SECONDS = 0.25
KILL_SECONDS = 0.5  # that the system may take to end a killed process
STOPPED = "tTZXx"  # states of a thread that does not run any more
# PF_EXITING and PF_SIGNALED of the kernel: the thread never returns to its program.
EXITING_FLAGS = 0x4 | 0x400
STATE, FLAGS = 0, 6  # fields of /proc/.../stat after the name
KILL_BIT = 1 << signal.SIGKILL - 1


class Task(NamedTuple):
    """State of a thread, as reported by the system."""

    state: str
    exiting: bool


class StandbyMonitor:
    """Detects that the engine with the lease has died or hangs, in another engine's main thread.

    An engine that gets no processor does not hang: see `StarvationMonitor`.

    `running`: whether this engine's own stream is being called, which distinguishes a stopped
    device from a stopped engine. `active`: returns whether the device still serves that stream.
    `device`: whether there is one; the built-in clock never stops by itself.
    """

    def __init__(
        self,
        desk: Desk,
        lease: Lease,
        callback: Callback,
        running: bool,
        active: Callable[[], bool] = lambda: True,
        device: bool = True,
    ) -> None:
        self._active = active
        self._device = device
        self._desk = desk
        self._clock = desk.clock
        self._lease = lease
        self._callback = callback
        self._running = running
        self._pid = lease.pid
        self._process: int | None = None
        with contextlib.suppress(OSError):
            self._process = os.pidfd_open(self._pid)
        self._alarm_event = os.eventfd(0, os.EFD_NONBLOCK)
        self._period = int(desk.header["block_frames"]) / desk.sample_rate
        self._hang_seconds = HANG_PERIODS * self._period + HANG_SECONDS
        self._starvation = StarvationMonitor(self._pid)
        self._observes = False  # since an alarm
        self._starved_until = 0.0  # monotonic time until which it is considered as starved
        self._last_callback_ns = 0
        self._calls_at_last_block = 0  # own callbacks at the other engine's latest block
        self._last_calls = 0
        self._close_checks = 0  # since the other engine's latest block
        self._checked_at = time.monotonic()
        # Seconds of checks since the other engine's latest block, and since its own latest call.
        self._checked_since_block = self._checked_since_call = 0.0

    def alive(self) -> bool:
        """Return whether the other engine's process runs."""
        return self._process is not None and not select.select([self._process], [], [], 0)[0]

    def wait(self) -> str:
        """Wait for a reason to act; return it.

        "died", "hung": the other engine has now ended. "device": so has it, and the device
        requests no blocks any more. "ended": standard input was closed, or the server shuts down.
        "message": control sends a message, on which this engine takes over from one that plays.
        """
        alarm = ALARM_PERIODS * self._period + ALARM_SECONDS
        if not self._device:
            # Nobody hears the gap, so this engine may sleep longer.
            alarm = max(alarm, self._hang_seconds - HANG_CHECKS * CLOSE_CHECK_SECONDS)
        self._callback.alarm_ns = int(alarm * 1e9)
        self._callback.alarm = partial(os.eventfd_write, self._alarm_event, 1)
        watched = [0, self._alarm_event] + ([] if self._process is None else [self._process])
        pause = CHECK_SECONDS
        try:
            while True:
                ready = select.select(watched, [], [], pause)[0]
                if self._alarm_event in ready:
                    os.eventfd_read(self._alarm_event)
                if 0 in ready:
                    received = os.read(0, 4096)
                    if not received:
                        return "ended"
                    if received.strip():  # a restarted control process writes a newline
                        return "message"
                if self._lease.closing:
                    select.select([0], [], [])
                    return "ended"
                if not self.alive():
                    return "died"
                self._close_checks += 1
                called = self._callback.calls != self._last_calls
                stale = self._seconds_since_callback()
                pause = self._pause(stale, alarm, called)
                trouble = ""
                if stale > alarm:
                    if not self._observes:
                        self._observes = True
                        self._starvation.begin()
                    trouble = self._diagnose(stale)
                if trouble == "hung" and self._is_starved(stale):
                    trouble = ""
                if trouble:
                    self.kill_other()
                    return trouble
        finally:
            self._callback.alarm = None

    def _pause(self, stale: float, alarm: float, called: bool) -> float:
        # Seconds until the next check. `called`: this engine's own stream has been called since the
        # latest one, so it goes on and raises the alarm in time.
        if alarm < stale and (stale <= ENDED_SECONDS or not self._device):
            return CLOSE_CHECK_SECONDS
        if self._running:
            return CALLED_CHECK_SECONDS if called else CHECK_SECONDS
        if not self._device and stale <= alarm and self._is_silent():
            return SILENT_CHECK_SECONDS
        longest = CHECK_SECONDS if self._device else alarm
        return max(CLOSE_CHECK_SECONDS, min(longest, alarm - stale))

    def _is_silent(self) -> bool:
        # Whether no voice plays and no input is heard: a hang that begins now interrupts nothing.
        return not (self._desk.voices["state"].any() or self._desk.inputs["locked"].any())

    def _seconds_since_callback(self) -> float:
        now = time.monotonic()
        passed, self._checked_at = min(now - self._checked_at, MAX_CHECK_SECONDS), now
        self._checked_since_block += passed
        self._checked_since_call += passed
        beat = int(self._clock["callback_ns"])
        calls = self._callback.calls
        if calls != self._last_calls:
            self._last_calls = calls
            self._checked_since_call = 0.0
        if beat != self._last_callback_ns:
            self._checked_since_block = 0.0
            self._last_callback_ns = beat
            self._observes = False
            self._close_checks = 0
            self._calls_at_last_block = calls
        return now - beat * 1e-9 if beat else 0.0

    def _diagnose(self, stale: float) -> str:
        thread = self._task(self._lease.thread)
        if self._is_dying(thread):
            return "died"
        if stale < self._hang_seconds:
            return ""
        if not self._device:
            # Of a machine that has stalled, this engine notices the time too late as well.
            return "hung" if self._close_checks >= HANG_CHECKS else ""
        if self._running:
            # Check whether the same device still calls this engine.
            if self._callback.calls - self._calls_at_last_block >= HANG_CALLS:
                return "hung"
            silent = min(self._checked_since_block, self._checked_since_call)
            ended = silent > ENDED_SECONDS and (thread is None or not self._active())
            return "device" if ended or silent > LOST_SECONDS else ""
        if thread is None or thread.state in STOPPED or self._is_mid_turn():
            return "hung"
        return "device" if self._checked_since_block > LOST_SECONDS else ""

    def _is_starved(self, stale: float) -> bool:
        # Whether it gets no processor, or its sound server serves other streams first: it will
        # continue by itself, and killing it helps nobody. After the processor time of several
        # blocks without a block, it hangs.
        now = time.monotonic()
        if now < self._starved_until:
            return True
        unserved = (
            stale < UNSERVED_SECONDS
            and not self._is_mid_turn()
            and self._starvation.sleeps(self._lease.thread)
        )
        if unserved or (
            stale < STARVED_SECONDS and self._starvation.is_starved(self._hang_seconds)
        ):
            self._starved_until = now + STARVED_CHECK_SECONDS
            return True
        return False

    def _is_mid_turn(self) -> bool:
        # Without a dead thread or a silent device, only an unfinished turn proves a hang.
        return int(self._desk.undo_log["state"]) == WORK_RENDERS

    def _is_dying(self, thread: Task | None) -> bool:
        # A killed process takes a while to end, but its threads never return to their program. A
        # thread that ended by itself belongs to a device that has failed.
        if not self._lease.thread or (thread is not None and not thread.exiting):
            return False
        leader = self._task(self._pid)
        return leader is None or leader.exiting or self._is_killed()

    def _is_killed(self) -> bool:
        try:
            with open(f"/proc/{self._pid}/status", encoding="utf-8", errors="replace") as file:
                pending = next(line for line in file if line.startswith("SigPnd:"))
            return bool(int(pending.split()[1], 16) & KILL_BIT)
        except (OSError, StopIteration, IndexError, ValueError):
            return True

    def _task(self, thread: int) -> Task | None:
        # None if the other engine has no such thread.
        try:
            with open(f"/proc/{self._pid}/task/{thread}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            state = fields[STATE].decode()
            return Task(state, state in "ZXx" or bool(int(fields[FLAGS]) & EXITING_FLAGS))
        except (OSError, IndexError, ValueError):
            return None

    def kill_other(self) -> None:
        """Kill the other engine and wait for its end: a device must never have two engines."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        deadline = time.monotonic() + KILL_SECONDS
        while self.alive() and time.monotonic() < deadline:
            thread = self._task(self._lease.thread)
            if self._lease.thread and (thread is None or thread.exiting):
                return
            time.sleep(CLOSE_CHECK_SECONDS / 4)

    def take_over(self) -> None:
        """Take over where the other engine stopped, to the frame. Call after it has ended."""
        kernels().recover(self._desk.address)
        self._lease.take()
