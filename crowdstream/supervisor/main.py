"""The supervisor: starts control, keeps its descriptors, and restarts it when it dies.

It does as little as possible, imports very little and processes no audio, so that little can go
wrong in it. When it ends, everything ends: control is killed with it, and the other processes
lose the pipes that keep them alive.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from typing import Any

from crowdstream import REPORT
from crowdstream.supervisor.fd_store import close_all, receive
from crowdstream.supervisor.upgrade import Upgrades
from crowdstream.system.process import set_missing_home
from crowdstream.system.restart_policy import RestartPolicy

CONTROL = "crowdstream.control.main"

MAX_DEATHS = 5  # restarts of control within
DEATHS_SECONDS = 60.0  # this time; one more death is a permanent fault
# Timeout of control's heartbeat; nothing in control takes this long. Together with the start of a
# new control process it stays below half of the service's WatchdogSec, which would end everything.
HUNG_SECONDS = 6.0
RESTART_SECONDS = 30.0  # for a new control process to start, on a small and busy machine
TRIAL_START_SECONDS = 15.0  # the same for a new version, whose predecessor waits
MIN_WAIT_SECONDS = 0.05  # between two attempts to kill it
STOP_SECONDS = 20.0  # for control to exit, including the time to finish recordings
LAST_SECONDS = 10.0  # the same for processes that control has left running
KILLED_SECONDS = 2.0  # the same for those that are killed then; the kernel may be unable to end one
UPGRADE_LOOK_SECONDS = 0.05  # between two looks during an upgrade
# s before control is started again if its predecessor has died before it was ready; doubles. The
# cause, such as a lack of memory, may pass. All of them together are less than WatchdogSec.
MIN_RESTART_DELAY, MAX_RESTART_DELAY = 0.5, 4.0

PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    """Runs a Python module, passing it the socket's number and `arguments`."""

    def __init__(self, module: str, arguments: list[str]) -> None:
        self._module = module
        self._arguments = arguments
        self._kept: dict[str, tuple[bytes, list[int]]] = {}
        self._deaths: deque[float] = deque()
        self._count = 0
        self._reason = ""
        self._restarts = RestartPolicy(MIN_RESTART_DELAY, MAX_RESTART_DELAY, at_once=True)
        self._stop_by: float | None = None  # deadline after a request to stop, or control's report
        self._reload = False  # control has yet to be told to read its settings again
        self._was_ready = False
        self._complete = False  # a control process was ready since the latest start from scratch
        self._wake, self._waker = os.pipe()
        for fd in (self._wake, self._waker):
            os.set_blocking(fd, False)
        # State of the current control process:
        self._pid = 0
        self._status: int | None = None
        self._ready = False
        self._leave: int | None = None
        self._last_heartbeat = 0.0
        self._connection: socket.socket | None = None
        self._upgrades = Upgrades(self._send, lambda: self._kill(signal.SIGKILL))

    def run(self) -> int:
        """Supervise until control exits on purpose or keeps dying; returns the exit status."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        self._handle_hangup()
        status = None
        try:
            while status is None:
                self._run_control()
                status = self._exit_status()
        finally:
            self._upgrades.close()
            self._stop_orphans()
        return status

    def _stop(self, _number: int, _frame: Any) -> None:
        if self._stop_by is None:
            self._stop_by = time.monotonic() + STOP_SECONDS
            if self._pid:
                self._kill(signal.SIGTERM)

    def _handle_hangup(self) -> None:
        # SIGHUP is a request to reload, except from a terminal, which sends it when it is closed:
        # then the server stops, or with nohup plays on.
        if not has_terminal():
            signal.signal(signal.SIGHUP, self._request_reload)
        elif signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._stop)

    def _request_reload(self, _number: int, _frame: Any) -> None:
        self._reload = True

    def _forward_reload(self) -> None:
        # A control process that is still starting has no handler of the signal yet.
        if self._reload and self._ready:
            self._reload = False
            self._kill(signal.SIGHUP)

    def _kill(self, number: int) -> None:
        # Only while it is not reaped: afterwards the number may be another process's.
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    # One control process -------------------------------------------------------------------

    def _run_control(self) -> None:
        # Start a control process and supervise it until it has ended.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            self._ready, self._leave, self._status = False, None, None
            try:
                self._pid = self._spawn(theirs.fileno())
            except OSError as error:
                self._pid, self._status = 0, 1
                self._upgrades.fail(f"it can't be started: {error.strerror}")
                if self._upgrades.rollout is None:
                    if not self._was_ready:
                        raise
                    # Processes or memory may be short for a moment, and the mix plays on.
                    print(
                        f"crowdstream: control can't be started: {error.strerror}; trying again",
                        file=sys.stderr, flush=True,
                    )
                return
            theirs.close()
            if self._stop_by is not None:
                self._kill(signal.SIGTERM)
            self._hand_over(ours)
            ours.setblocking(False)
            self._connection = ours
            self._last_heartbeat = time.monotonic()
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            poll.register(ours, select.POLLIN)
            watched: set[int] = set()
            while self._status is None:
                watched = self._watch_clients(poll, watched)
                left = max(MIN_WAIT_SECONDS, self._hangs_at() - time.monotonic())
                if self._upgrades.rollout:
                    left = min(left, UPGRADE_LOOK_SECONDS)
                ready = self._wait(poll, left)
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                if ours.fileno() in ready and not self._receive(ours):
                    poll.unregister(ours)
                self._upgrades.receive()
                self._reap()
                self._forward_reload()
                self._kill_if_hung()
                if self._status is None:
                    self._upgrades.tick(self._kept)
            self._receive(ours)  # its last messages
        self._connection = None

    def _rest(self, seconds: float) -> None:
        # Wait, unless a request to stop arrives.
        deadline = time.monotonic() + seconds
        while self._stop_by is None and (left := deadline - time.monotonic()) > 0:
            select.select([self._wake], [], [], left)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)

    def _wait(self, poll: select.poll, seconds: float) -> set[int]:
        # Wait up to `seconds`; return the descriptors that are readable.
        begin = time.monotonic()
        ready = {fd for fd, _events in poll.poll(None if math.isinf(seconds) else 1000 * seconds)}
        # After a pause of the machine, control had no time for a heartbeat either.
        self._last_heartbeat += max(0.0, time.monotonic() - begin - seconds)
        return ready

    def _watch_clients(self, poll: select.poll, watched: set[int]) -> set[int]:
        # Wait for the clients that request upgrades, too; returns their descriptors.
        there = set(self._upgrades.filenos())
        for fd in watched - there:
            with contextlib.suppress(KeyError):
                poll.unregister(fd)
        for fd in there - watched:
            poll.register(fd, select.POLLIN)
        return there

    def _send(self, message: dict[str, Any]) -> None:
        # To control. One that hangs is killed for other reasons.
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(json.dumps(message).encode())

    def _spawn(self, fd: int) -> int:
        environment = self._upgrades.current.environment(dict(os.environ))
        environment["OPENBLAS_NUM_THREADS"] = "1"  # or numpy starts threads that nothing needs
        os.set_inheritable(fd, True)
        command = self._upgrades.current.command(self._module, str(fd), *self._arguments)
        # A session of its own keeps the terminal's signals away from control; the supervisor passes
        # them on.
        return os.posix_spawn(
            command[0],
            command,
            environment,
            setsid=True,
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
        )

    def _hand_over(self, ours: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has died already
            for name, (note, fds) in self._kept.items():
                message = b'{"keep": %s, "note": %s}' % (json.dumps(name).encode(), note)
                socket.send_fds(ours, [message], fds)
            last = {"deaths": self._count, "reason": self._reason, "upgrade": self._upgrades.note()}
            ours.send(json.dumps(last).encode())

    def _receive(self, ours: socket.socket) -> bool:
        # Process control's messages; False at the end of the connection.
        with contextlib.suppress(BlockingIOError):
            while True:
                received = receive(ours)
                if received is None:
                    return False
                self._last_heartbeat = time.monotonic()
                self._carry_out(*received)
        return True

    def _carry_out(self, message: dict[str, Any], fds: list[int]) -> None:
        if "keep" in message:
            self._drop(message["keep"])
            self._kept[message["keep"]] = json.dumps(message["note"]).encode(), fds
        elif "drop" in message:
            name = message["drop"]
            if message.get("failed") and name in self._kept:
                self._upgrades.child_died(name, self._kept[name][0])
            self._drop(name)
        elif "ready" in message:
            self._ready = self._was_ready = self._complete = True
            self._restarts.reset()
            self._upgrades.control_ready(message, self._kept)
        elif "upgrade" in message:
            self._upgrades.control_reports(message["upgrade"])
        elif "waits_for_device" in message:
            self._upgrades.waits_for_device = bool(message["waits_for_device"])
        elif "leave" in message:
            self._leave = int(message["leave"])
            if self._stop_by is None:
                self._stop_by = time.monotonic() + STOP_SECONDS

    def _drop(self, name: str) -> None:
        _note, fds = self._kept.pop(name, (b"", []))
        close_all(fds)

    def _reap(self) -> None:
        # Reap control and its orphans, whose parent the supervisor becomes.
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    self._status = os.waitstatus_to_exitcode(status)

    def _kill_if_hung(self) -> None:
        # Kill a control process that hangs.
        if time.monotonic() > self._hangs_at():
            self._upgrades.fail("its control process does not respond")
            self._kill(signal.SIGKILL)

    def _hangs_at(self) -> float:
        # When control counts as hanging (monotonic seconds), without another heartbeat.
        if self._stop_by is not None:
            return self._stop_by
        if self._ready:
            return self._last_heartbeat + HUNG_SECONDS
        on_trial = self._upgrades.starts_on_trial and not self._upgrades.fresh
        limit = TRIAL_START_SECONDS if on_trial else RESTART_SECONDS
        return self._last_heartbeat + limit if self._was_ready else math.inf

    # Between two control processes -----------------------------------------------------------

    def _exit_status(self) -> int | None:
        # The exit status of the server, or None to restart control.
        status = self._status or 0
        if self._leave is not None:
            return self._leave
        if self._stop_by is not None:
            return 0
        if status >= 0 and not self._was_ready:
            return status  # it has finished, or has reported why it can't start
        reason = f"signal {-status}" if status < 0 else f"status {status}"
        if self._upgrades.control_ended(reason):
            if self._upgrades.fresh:
                self._stop_orphans(keep=("osc",))
                self._complete = False
            return None
        self._reason = reason
        self._count += 1
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - DEATHS_SECONDS:
            self._deaths.popleft()
        if len(self._deaths) > MAX_DEATHS:
            print(
                f"crowdstream: control has died {len(self._deaths)} times within "
                f"{DEATHS_SECONDS:g} s ({self._reason}): the server shuts down; {REPORT}",
                file=sys.stderr, flush=True,
            )
            return 1
        if not self._complete:
            self._stop_orphans(keep=("osc",))  # an incomplete start can't be resumed
        if not self._ready:
            self._rest(self._restarts.next_delay())
        return None

    def _stop_orphans(self, keep: tuple[str, ...] = ()) -> None:
        # Drop stored descriptors; processes that depend on those pipes exit.
        pids = {json.loads(note).get("pid", 0) for note, _fds in self._kept.values()} - {0}
        for name in [name for name in self._kept if name not in keep]:
            self._drop(name)
        with contextlib.suppress(ChildProcessError):
            pids -= self._await_children(LAST_SECONDS)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._await_children(KILLED_SECONDS)

    def _await_children(self, seconds: float) -> set[int]:
        # Wait for the end of all child processes; return the IDs of those that have ended in time.
        # Raises `ChildProcessError` when there are none left.
        ended: set[int] = set()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, _status = os.waitpid(-1, os.WNOHANG)
            ended.add(pid)
            if pid == 0:
                select.select([self._wake], [], [], 0.05)
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
        return ended


def has_terminal() -> bool:
    """Whether this process has a controlling terminal; a service has none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def supervise(arguments: list[str], prog: str) -> int:
    """Run the server with these arguments under supervision; returns the exit status."""
    set_missing_home()
    return Supervisor(CONTROL, [prog, *arguments]).run()
