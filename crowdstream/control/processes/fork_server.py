"""A fork server: a process that has imported what control's children need, and forks them.

Each child would otherwise import the same modules for itself. Forked ones start in milliseconds
and share the memory of those modules. The fork server has one thread and changes nothing after
its imports. It reports the exit status of each child, and survives control, like the children.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from crowdstream.supervisor.fd_store import FdStore, close_all, receive
from crowdstream.system.process import PROJECT, child_environment, set_command_line
from crowdstream.system.restart_policy import RestartPolicy

log = logging.getLogger(__name__)

FORK_SERVER_MODULE = "crowdstream.control.processes.fork_server"
ENGINE_MODULE, LOADER_MODULE = "crowdstream.engine.main", "crowdstream.loader.main"
CAPTURE_MODULE = "crowdstream.capture.main"
JACK_MODULE = "crowdstream.jack.main"
BROADCAST_MODULE = "crowdstream.broadcast.main"
LINK_MODULE = "crowdstream.link.main"
LIGHTS_MODULE, MIDI_MODULE = "crowdstream.lights.main", "crowdstream.midi.main"
ROOMS_MODULE = "crowdstream.rooms.main"
RECORDER_MODULE, WEB_MODULE = "crowdstream.recorder.main", "crowdstream.web.main"
# Modules to import before the first fork. Those imported later would change memory that is shared
# with the children. The page's are many and used by one process only, which imports them itself.
MODULES = (ENGINE_MODULE, LOADER_MODULE, RECORDER_MODULE, CAPTURE_MODULE)

NAME = "fork-server"  # of its descriptors in the store
READY_SECONDS = 60.0  # for which a start waits for it: imports from a slow SD card
ANSWER_SECONDS = 1.0  # a fork server that takes longer to fork a process hangs
STATUS_SECONDS = 0.5  # from the end of a process until its status is here
END_SECONDS = 0.5  # for the fork server to exit
MIN_RESTART_DELAY, MAX_RESTART_DELAY = 0.5, 30.0  # s between two starts; doubles
SETTLED_SECONDS = 30.0  # the death of one older than this counts as the first in a row
MAX_STATUSES = 64  # of ended processes, kept until somebody asks
TITLE_BYTES = 1024  # reserved for the command lines of the children


class NoAnswer(OSError):
    """The fork server has not answered a request, and is ended: try again.

    It may have started the process all the same, which then has the pipes of the request.
    """


class ChildProcess:
    """A process that control has started, or has taken over from its predecessor.

    `pidfd` identifies the process even if its number is reused; this object owns it. `fork_server`
    reports its exit status; None if no one does.
    """

    def __init__(self, pid: int, pidfd: int, fork_server: ForkServer | None) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._fork_server = fork_server
        self._status: int | None = None
        self._ended = select.poll()
        self._ended.register(pidfd, select.POLLIN)

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait up to `seconds` for the process to exit; raises `TimeoutError`.

        Returns its exit status, negative for a signal, or None if that is unknown.
        """
        if self.pidfd >= 0:
            if not self._ended.poll(None if seconds is None else seconds * 1000):
                raise TimeoutError(f"process {self.pid} has not ended")
            os.close(self.pidfd)
            self.pidfd = -1
            if self._fork_server is not None:
                self._status = self._fork_server.status(self.pid)
        return self._status

    def kill(self) -> None:
        """Kill the process."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class ForkServer:
    """Control's side. `store` keeps the connection and the children's pipes for a successor.

    While there is no fork server that answers, processes are started directly.
    """

    def __init__(self, store: FdStore | None = None) -> None:
        self.store = store or FdStore()
        self._modules: Sequence[str] = ()
        self._connection: socket.socket | None = None
        self._pid = self._pidfd = -1
        self._process: subprocess.Popen[bytes] | None = None  # if this control has started it
        self._ready = False
        self._requests = 0
        self._restarts = RestartPolicy(
            MIN_RESTART_DELAY, MAX_RESTART_DELAY, settled=SETTLED_SECONDS
        )
        self._begun = self._restart_at = time.monotonic()
        self._statuses: dict[int, int] = {}
        self._direct: dict[int, subprocess.Popen[bytes]] = {}
        kept = self.store.kept.pop(NAME, None)
        if kept and kept.note["root"] != str(PROJECT):
            # Another version's: its children need it no longer, and this one's can't come from it.
            # Killed, as one that is still importing would only notice later that it is alone.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(kept.fds[-1], signal.SIGKILL)
            close_all(kept.fds)
            self.store.drop(NAME)
        elif kept:
            connection, self._pidfd = kept.fds
            self._connection = socket.socket(fileno=connection)
            self._pid, self._modules = kept.note["pid"], kept.note["modules"]
            self._ready = True

    def begin(self, modules: Sequence[str]) -> None:
        """Start the fork server, which imports `modules` first. Does not wait."""
        if self._connection is not None:
            return
        self._modules, self._ready = modules, False
        self._begun = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            # -P: a file in the caller's folder must not shadow a module.
            sys.executable, "-P", "-m", FORK_SERVER_MODULE, str(theirs.fileno()), " " * TITLE_BYTES,
        ]  # fmt: skip
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()], start_new_session=True,
                    env=child_environment(),
                )  # fmt: skip
            except OSError:  # no other process can be started either, which is then reported
                ours.close()
                return
        self._connection, self._pid = ours, self._process.pid
        self._pidfd = os.pidfd_open(self._pid)
        ours.send(json.dumps({"import": list(modules)}).encode())
        note = {"pid": self._pid, "modules": list(modules), "root": str(PROJECT)}
        self.store.keep(NAME, [ours.fileno(), self._pidfd], note)

    def tick(self) -> None:
        """Start another fork server if this one has died. Call this regularly."""
        self._drain()
        if self._modules and self._connection is None and time.monotonic() >= self._restart_at:
            self.begin(self._modules)

    @property
    def ready(self) -> bool:
        """Whether it can fork."""
        return self._ready

    @property
    def pids(self) -> dict[str, int]:
        """Its process ID as `fork_server`, if there is one."""
        return {"fork_server": self._pid} if self._connection is not None else {}

    def await_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait up to `seconds` until it can fork, or has died."""
        deadline = time.monotonic() + seconds
        while not self._ready and self._connection is not None and time.monotonic() < deadline:
            self._receive(deadline - time.monotonic())

    def start(self, module: str, argument: str, fds: Sequence[int]) -> ChildProcess:
        """Start `main([argument])` of a module in a process of its own; does not wait for it.

        `fds`: its standard input and output, then descriptors that keep their numbers. Raises
        `OSError`, and `NoAnswer` at most once in a row.
        """
        self._drain()
        if not self._ready:
            return self._start_directly(module, argument, fds)
        answer = self._request(module, argument, fds)
        if answer is None:
            raise NoAnswer("the fork server does not answer")
        if "error" in answer:
            raise OSError(answer["errno"], answer["error"])
        return ChildProcess(answer["forked"], answer["pidfd"], self)

    def _request(self, module: str, argument: str, fds: Sequence[int]) -> dict[str, Any] | None:
        # The fork server's answer. One that is dead or hangs gives none, and is ended.
        self._requests += 1
        number = f"{os.getpid()}.{self._requests}"
        request = {"id": number, "module": module, "argument": argument, "fds": fds[2:]}
        data = [json.dumps(request).encode()]
        with contextlib.suppress(OSError):
            assert self._connection is not None
            socket.send_fds(self._connection, data, list(fds), socket.MSG_DONTWAIT)
            deadline = time.monotonic() + ANSWER_SECONDS
            while self._ready and time.monotonic() < deadline:
                message = self._receive(deadline - time.monotonic(), number)
                if message and message.get("id") == number:
                    return message
        if self._ready:
            self._lost("does not answer")
        return None

    def _start_directly(self, module: str, argument: str, fds: Sequence[int]) -> ChildProcess:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, argument],
            stdin=fds[0], stdout=fds[1], pass_fds=fds[2:],
            # A session of its own, out of reach of the terminal's signals: control ends it.
            env=child_environment(), start_new_session=True,
        )  # fmt: skip
        self._direct[process.pid] = process
        return ChildProcess(process.pid, os.pidfd_open(process.pid), self)

    def status(self, pid: int) -> int | None:
        """Return the exit status of a process that has ended; None if it is unknown."""
        direct = self._direct.pop(pid, None)
        if direct is not None:
            return direct.wait()
        deadline = time.monotonic() + STATUS_SECONDS
        while pid not in self._statuses and self._receive(deadline - time.monotonic()):
            pass
        return self._statuses.pop(pid, None)

    def close(self, seconds: float = END_SECONDS) -> None:
        """End the fork server, by force after `seconds`. Its children live on."""
        self._modules = ()
        if self._connection is not None:
            self._end(seconds)

    def _lost(self, how: str) -> None:
        delay = self._restarts.next_delay(time.monotonic() - self._begun)
        self._restart_at = time.monotonic() + delay
        log.error("the fork server %s: restarting it in %g s; its children run on", how, delay)
        self._end(0.0)

    def _drain(self) -> None:
        while self._receive(0.0):
            pass

    def _end(self, seconds: float) -> None:
        self.store.drop(NAME)
        assert self._connection is not None
        self._connection.close()
        self._connection, self._ready = None, False
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        if not ended.poll(seconds * 1000):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _receive(self, seconds: float, request: str = "") -> dict[str, Any] | None:
        # The next message within this time; None without one, and when the fork server has died.
        # An answer is accepted if it is one to `request`.
        if self._connection is None:
            return None
        poll = select.poll()  # select.select is limited to descriptors below 1024
        poll.register(self._connection, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return None
        received = receive(self._connection)
        if received is None:
            self._lost("has died")
            return None
        message, fds = received
        if fds and message["id"] == request:
            message["pidfd"] = fds[0]
        else:  # an answer to a control process that has died
            close_all(fds)
        if "ready" in message:
            self._ready = True
        elif "exited" in message:
            self._statuses[message["exited"]] = message["status"]
            while len(self._statuses) > MAX_STATUSES:
                del self._statuses[next(iter(self._statuses))]
        return message


# The process -----------------------------------------------------------------------------------


class _Forks:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pids: dict[int, int] = {}  # of the children, by pidfd
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def run(self) -> None:
        """Fork until control and the supervisor have ended."""
        self._send({"ready": True})
        while True:
            for fd, _events in self._poll.poll():
                if fd != self._connection.fileno():
                    self._report_exit(fd)
                elif not self._handle():
                    return

    def _handle(self) -> bool:
        received = receive(self._connection)
        if received is None:
            return False
        request, fds = received
        try:
            pid = os.fork()
        except OSError as error:
            answer = {"errno": error.errno, "error": error.strerror}
            self._send({"id": request["id"], **answer})
        else:
            if pid == 0:
                _run(request, fds)
            pidfd = os.pidfd_open(pid)
            self._pids[pidfd] = pid
            self._poll.register(pidfd, select.POLLIN)
            self._send({"id": request["id"], "forked": pid}, [pidfd])
        close_all(fds)
        return True

    def _report_exit(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        pid = self._pids.pop(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._send({"exited": pid, "status": status})

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        # If control does not read, or is dead, an exit status is lost: nothing waits for control.
        with contextlib.suppress(OSError):
            data = [json.dumps(message).encode()]
            socket.send_fds(self._connection, data, list(fds), socket.MSG_DONTWAIT)


def _run(request: dict[str, Any], fds: Sequence[int]) -> NoReturn:
    # In the child.
    status = 1
    try:
        # A session of its own, out of reach of the terminal's signals: control ends it.
        os.setsid()
        _place(fds, [0, 1, *request["fds"]])
        module, argument = request["module"], request["argument"]
        set_command_line([sys.executable, "-P", "-m", module, argument])
        status = importlib.import_module(module).main([argument])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


def _place(fds: Sequence[int], targets: Sequence[int]) -> None:
    # Give the descriptors these numbers, and close all others except standard error.
    above = max(*fds, *targets, 2) + 1
    copies = range(above, above + len(fds))
    for fd, copy in zip(fds, copies, strict=True):
        os.dup2(fd, copy)
    for copy, target in zip(copies, targets, strict=True):
        os.dup2(copy, target)
    begin = 3
    for target in sorted(targets)[2:]:
        os.closerange(begin, target)
        begin = target + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


def _import(modules: Sequence[str]) -> None:
    gc.disable()
    for name in modules:
        # A module that can't be imported fails again in the child, which reports it.
        with contextlib.suppress(Exception):
            prepare = getattr(importlib.import_module(name), "prepare", None)
            if prepare is not None:
                prepare()
    # Collecting garbage would write to these objects, and thus copy their memory in the children.
    gc.enable()
    gc.collect()
    gc.freeze()


def main(arguments: list[str]) -> int:
    """Fork until the connection closes. `arguments`: its number, then space for command lines."""
    set_command_line([sys.executable, "-P", "-m", FORK_SERVER_MODULE])
    with socket.socket(fileno=int(arguments[0])) as connection:
        connection.set_inheritable(False)
        first = receive(connection)
        if first is not None:
            _import(first[0]["import"])
            _Forks(connection).run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)
