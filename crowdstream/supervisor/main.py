"""The supervisor: starts control, keeps its descriptors, and restarts it when it dies.

It does as little as possible, imports very little and processes no audio, so that little can go
wrong in it. When it ends, everything ends: control is killed with it, and the other processes
lose the pipes that keep them alive.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from crowdstream import REPORT
from crowdstream.supervisor.fd_store import close_all, receive

PROJECT = Path(__file__).resolve().parent.parent.parent
CONTROL = "crowdstream.control.main"

MAX_DEATHS = 5  # restarts of control within
DEATHS_SECONDS = 60.0  # this time; one more death is a permanent fault
# Timeout of control's heartbeat; nothing in control takes this long. Together with the start of a
# new control process it stays below half of the service's WatchdogSec, which would end everything.
HUNG_SECONDS = 6.0
RESTART_SECONDS = 30.0  # for a new control process to start, on a small and busy machine
STOP_SECONDS = 20.0  # for control to exit, including the time to finish recordings
LAST_SECONDS = 10.0  # the same for processes that control has left running
LOOK_SECONDS = 0.5

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
        self._stop_by: float | None = None  # deadline after a request to stop
        self._was_ready = False
        self._wake, self._waker = os.pipe()
        for fd in (self._wake, self._waker):
            os.set_blocking(fd, False)
        # State of the current control process:
        self._pid = 0
        self._status: int | None = None
        self._ready = False
        self._leave: int | None = None
        self._last_heartbeat = 0.0

    def run(self) -> int:
        """Supervise until control exits on purpose or keeps dying; returns the exit status."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        status = None
        try:
            while status is None:
                self._run_control()
                status = self._exit_status()
        finally:
            self._stop_orphans()
        return status

    def _stop(self, _number: int, _frame: Any) -> None:
        if self._stop_by is None:
            self._stop_by = time.monotonic() + STOP_SECONDS
            if self._pid:
                self._kill(signal.SIGTERM)

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
            self._pid = self._spawn(theirs.fileno())
            theirs.close()
            if self._stop_by is not None:
                self._kill(signal.SIGTERM)
            self._hand_over(ours)
            ours.setblocking(False)
            self._last_heartbeat = time.monotonic()
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            poll.register(ours, select.POLLIN)
            while self._status is None:
                ready = {fd for fd, _events in poll.poll(LOOK_SECONDS * 1000)}
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                if ours.fileno() in ready and not self._receive(ours):
                    poll.unregister(ours)
                self._reap()
                self._kill_if_hung()
            self._receive(ours)  # its last messages

    def _spawn(self, fd: int) -> int:
        environment = dict(os.environ)
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = str(PROJECT) + (os.pathsep + path if path else "")
        environment["OPENBLAS_NUM_THREADS"] = "1"  # or numpy starts threads that nothing needs
        os.set_inheritable(fd, True)
        # -P: a file in the caller's folder must not shadow a module. A session of its own keeps
        # the terminal's signals away from control; the supervisor passes them on.
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", self._module, str(fd), *self._arguments],
            environment,
            setsid=True,
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGCHLD],
        )

    def _hand_over(self, ours: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has died already
            for name, (note, fds) in self._kept.items():
                message = b'{"keep": %s, "note": %s}' % (json.dumps(name).encode(), note)
                socket.send_fds(ours, [message], fds)
            ours.send(json.dumps({"deaths": self._count, "reason": self._reason}).encode())

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
            self._drop(message["drop"])
        elif "ready" in message:
            self._ready = self._was_ready = True
        elif "leave" in message:
            self._leave = int(message["leave"])

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
        now = time.monotonic()
        if self._stop_by is not None:
            hung = now > self._stop_by
        elif self._ready:
            hung = now > self._last_heartbeat + HUNG_SECONDS
        else:
            hung = self._was_ready and now > self._last_heartbeat + RESTART_SECONDS
        if hung and self._leave is None:
            self._kill(signal.SIGKILL)

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
        self._reason = f"signal {-status}" if status < 0 else f"status {status}"
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
        if not self._was_ready:
            self._stop_orphans(keep=("osc",))  # an incomplete start can't be resumed
        return None

    def _stop_orphans(self, keep: tuple[str, ...] = ()) -> None:
        # Drop stored descriptors; processes that depend on those pipes exit.
        pids = [json.loads(note).get("pid", 0) for note, _fds in self._kept.values()]
        for name in [name for name in self._kept if name not in keep]:
            self._drop(name)
        deadline = time.monotonic() + LAST_SECONDS
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    select.select([self._wake], [], [], 0.05)
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
            for pid in filter(None, pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            while True:
                os.waitpid(-1, 0)


def supervise(arguments: list[str], prog: str) -> int:
    """Run the server with these arguments under supervision; returns the exit status."""
    return Supervisor(CONTROL, [prog, *arguments]).run()
