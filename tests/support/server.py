"""A server for tests and benchmarks: the program in a child process, and its client."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import psutil

from crowdstream.desk.block import Desk
from tests.support.environment import PROJECT
from tests.support.osc_client import WAIT_SECONDS, OscClient, ServerError, until

__all__ = [
    "PROJECT", "START_SECONDS", "WAIT_SECONDS", "OscClient", "Running", "ServerError",
    "SharedServer", "ended", "free_port", "launched", "open_desk", "server", "until",
]  # fmt: skip

START_SECONDS = 120.0  # the kernels may have to be compiled first
ROLES = {
    "control.main": "control", "control.processes.fork_server": "fork_server",
    "engine.main": "engine", "loader.main": "loader", "web.main": "web",
}  # fmt: skip
"""The server's children by module: the name under which they are measured."""


class Running:
    """A server process that is ready: `client`, `port`, `process`; `log()` returns its log so far.

    Raises `ServerError` if the process ends before it is ready, and `TimeoutError`.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self._log_begin = 0
        self.port = self._await_port()
        self.client = OscClient(self.port)

    def renew(self) -> None:
        """Prepare for another test: a new client, no tracks, and `log()` without earlier lines."""
        self.client.close()
        self.client = OscClient(self.port)
        self.client.request("/mixer_cleanup", answer="/done")
        self._log_begin = len(self._whole_log())

    def children(self) -> list[psutil.Process]:
        """All processes of the server except the supervisor, which is the one that was started."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def children_named(self, name: str, word: str = "") -> list[psutil.Process]:
        """Those of them that run `crowdstream.<name>.main`, or that module, the oldest first.

        `word`: only those that have it in their command line.
        """
        found = []
        for one in self.children():
            with contextlib.suppress(psutil.Error):  # it has just ended
                line = one.cmdline()
                modules = {f"crowdstream.{name}.main", f"crowdstream.{name}"}
                if modules & set(line) and word in " ".join(line):
                    found.append((float(one.create_time()), one.pid, one))
        return [one for _time, _pid, one in sorted(found)]

    def child_named(self, name: str) -> psutil.Process:
        """Return the first of `children_named`."""
        return self.children_named(name)[0]

    @property
    def pid(self) -> int:
        """The ID of the process that was started: the supervisor."""
        return self.process.pid

    def check_alive(self) -> None:
        """Raise `ServerError` with the log if the started process has ended."""
        if self.process.poll() is not None:
            raise ServerError(f"the server has ended: {self.log().strip()}")

    def processes(self) -> dict[str, psutil.Process]:
        """Return the supervisor and its children by role; see `ROLES`. Another engine: "standby".

        The older of two engines is "engine": the one that renders, unless it hangs.
        """
        found = {"supervisor": psutil.Process(self.pid)}
        for module, role in ROLES.items():
            named = self.children_named(module)
            found.update(zip((role, "standby"), named, strict=False))
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time (s) that each process has used since its start, by role."""
        used = {}
        for role, process in self.processes().items():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just been restarted
                times = process.cpu_times()
                used[role] = float(times.user + times.system)
        return used

    def desk(self) -> contextlib.AbstractContextManager[Desk]:
        """Open the server's shared memory for a `with` block."""
        return open_desk(self.pid)

    def page(self) -> str:
        """Return the address of the page once it is served: `http://127.0.0.1:43210`."""
        return self._await_in_log(r"page on (\S+)")

    @property
    def http_port(self) -> int:
        """The port of the page, once it is served."""
        return int(self.page().rpartition(":")[2].strip("/"))

    def log(self) -> str:
        """Return standard output and error together, since `renew`."""
        return self._whole_log()[self._log_begin :]

    def _whole_log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _await_port(self) -> int:
        return int(self._await_in_log(r"ready: .* OSC on \S+:(\d+)"))

    def _await_in_log(self, pattern: str) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if found := re.search(pattern, self._whole_log()):
                return found.group(1)
            self.check_alive()
            time.sleep(0.02)
        raise TimeoutError(f"not in the log within {START_SECONDS:g} s: {pattern}\n{self.log()}")


@contextlib.contextmanager
def open_desk(pid: int) -> Iterator[Desk]:
    """Open the shared memory of a server that the process `pid` has open, for a `with` block.

    A starting server passes it to the supervisor after its first reply, so this function waits for
    it. Raises `ServerError` if the process ends first.
    """
    deadline = time.monotonic() + START_SECONDS
    while (desk := _desk_among(Path(f"/proc/{pid}/fd"))) is None:
        if not psutil.pid_exists(pid) or ended(psutil.Process(pid)):
            raise ServerError(f"process {pid} has ended and had no shared memory open")
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} has no desk open that this user may see")
        time.sleep(0.01)
    with contextlib.closing(desk):
        yield desk


def _desk_among(descriptors: Path) -> Desk | None:
    with contextlib.suppress(OSError):  # the process has ended
        for entry in descriptors.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if "crowdstream-desk" in os.readlink(entry):
                    return Desk(os.open(entry, os.O_RDWR))
    return None


@contextlib.contextmanager
def launched(
    folder: Path, options: Sequence[str], env: dict[str, str] | None = None,
    own_session: bool = False,
    program: Sequence[str] = (sys.executable, str(PROJECT / "audio_server.py")),
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start `audio_server.py`, or `program`, without waiting for it; it is ended in all cases.

    Yields the process and its log, a file in `folder`. `own_session`: Ctrl-C in this program's
    terminal does not reach the server.
    """
    log = folder / "server.log"
    command = [*program, "--port", "0", "--http-port", "0", "--no-http", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})}, start_new_session=own_session,
        )  # fmt: skip
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:  # a server that does not end is a fault
            process.kill()
            process.wait()
            raise


@contextlib.contextmanager
def server(
    folder: Path, *options: str, env: dict[str, str] | None = None, own_session: bool = False
) -> Iterator[Running]:
    """Run `audio_server.py` on a free port, with its log in `folder`; it is ended in all cases.

    It serves pages only if an option enables them (`--http`, then also on a free port). `env`,
    `own_session`: see `launched`.
    """
    with launched(folder, options, env, own_session) as (process, log):
        running = Running(process, log)
        try:
            yield running
        finally:
            running.client.close()


def free_port() -> int:
    """Return a UDP port of this machine that no program listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class SharedServer:
    """One server for all tests of a module, restarted only if a test has ended it.

    Levels, effects and the clock keep the state that a test leaves.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._stack = contextlib.ExitStack()
        self._running: Running | None = None

    def get(self) -> Running:
        """Return the server, with a new client and without tracks."""
        if self._running is not None and self._running.process.poll() is not None:
            self.close()
        if self._running is None:
            self._running = self._stack.enter_context(server(self._folder, *self._options))
        else:
            self._running.renew()
        return self._running

    def close(self) -> None:
        """End the server; `get` starts another one."""
        self._running = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, even if its parent has not yet collected its status."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
