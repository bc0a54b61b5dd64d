"""A server under test: the command line in a process of its own, spoken to by OSC."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.common import BenchmarkError
from crowdstream.control.osc import Malformed, build, parse
from crowdstream.desk.block import Desk

PROJECT = Path(__file__).resolve().parent.parent
READY_SECONDS = 180.0  # a first start compiles the kernels
ANSWER_SECONDS = 10.0
_CHILDREN = {
    "crowdstream.control.process": "control",
    "crowdstream.engine.process": "engine",
    "crowdstream.library.process": "loader",
    "crowdstream.web.process": "web",
}


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port that nobody uses now; `kind`: of UDP, or `SOCK_STREAM` for TCP."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LiveServer:
    """Runs `audio_server.py` as long as its `with` block; `flags` as on the command line.

    It serves pages only where a flag says so (`--http`), then on a free port; see `page`.
    `env`: variables that lead it to a sound card. `log`: a file for what it says, else it is
    kept while it runs. Raises `BenchmarkError` when it does not start or does not answer.
    """

    def __init__(
        self, *flags: str, env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        self.port = free_port()
        self.http_port = free_port(socket.SOCK_STREAM)
        self._log_path = log
        self._flags = flags
        self._env = {**os.environ, **(env or {})}
        self._resources = contextlib.ExitStack()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._answers: list[tuple[str, list[Any]]] = []
        self.started = 0.0
        self.processes: dict[str, psutil.Process] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            self.spawn(resources)
            self.wait_ready()
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def spawn(self, resources: contextlib.ExitStack) -> None:
        """Start the process without waiting for it; `resources` ends it."""
        resources.callback(self._socket.close)
        self._log = (  # the stack closes it
            self._log_path.open("w+") if self._log_path else tempfile.TemporaryFile("w+")  # noqa: SIM115
        )
        resources.callback(self._log.close)
        command = [
            sys.executable, str(PROJECT / "audio_server.py"), "--port", str(self.port),
            "--stats-interval", "0", "--log-level", "warning",
            "--http-port", str(self.http_port), "--no-http", *self._flags,
        ]  # fmt: skip
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            command, env=self._env, stdin=subprocess.DEVNULL, stderr=self._log,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        resources.callback(self._end)

    def wait_ready(self, every: float = 0.05) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            # What comes before the port is bound is lost; what comes after is kept.
            self.say("/version")
            if self.hear("/version.reply", every) is not None:
                self.find_processes()
                return
            self.check_alive()
        raise BenchmarkError(f"the server was not ready within {READY_SECONDS:g} s")

    def check_alive(self) -> None:
        """Raise `BenchmarkError`, with what it has said, when it has ended."""
        if self._process.poll() is not None:
            self._log.seek(0)
            raise BenchmarkError(f"the server has ended: {self._log.read().strip()}")

    @property
    def pid(self) -> int:
        """Number of the process that was started."""
        return self._process.pid

    def reap(self) -> None:
        """Take note if the process that was started has ended."""
        self._process.poll()

    def find_processes(self) -> None:
        """Look anew which processes the server has: `processes`, by what they do."""
        self.processes = {}
        for child in psutil.Process(self._process.pid).children(recursive=True):
            for word in child.cmdline():
                if word in _CHILDREN:
                    name = _CHILDREN[word]
                    # The engine that was started first is the one that plays.
                    self.processes["standby" if name in self.processes else name] = child

    def page(self) -> str:
        """The address of its page, once it is served: `127.0.0.1:43210`."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.http_port), 1.0).close()
                self.find_processes()
                return f"127.0.0.1:{self.http_port}"
            self.check_alive()
            time.sleep(0.05)
        raise BenchmarkError(f"no page within {READY_SECONDS:g} s: was it started with --http?")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # Talking -----------------------------------------------------------------------------

    def say(self, address: str, *arguments: Any) -> None:
        """Send one message."""
        self.send(build(address, arguments))

    def send(self, packet: bytes) -> None:
        """Send one packet as it is."""
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.sendto(packet, ("127.0.0.1", self.port))

    def hear(self, address: str, seconds: float = ANSWER_SECONDS) -> list[Any] | None:
        """Arguments of the next answer with this address; None if none comes in time.

        Raises `BenchmarkError` on a `/fail`.
        """
        deadline = time.monotonic() + seconds
        while True:
            for at, (said, arguments) in enumerate(self._answers):
                if said in (address, "/fail"):
                    del self._answers[at]
                    if said == "/fail":
                        raise BenchmarkError(f"the server refused: {arguments}")
                    return arguments
            if not self._receive(deadline - time.monotonic()):
                return None

    def _receive(self, seconds: float) -> bool:
        if not select.select([self._socket], [], [], max(0.0, seconds))[0]:
            return False
        with contextlib.suppress(ConnectionRefusedError, Malformed):
            packet = self._socket.recv(65536)
            self._answers += [(item.address, list(item.params)) for _, item in parse(packet)]
        return True

    def ask(self, address: str, answer: str, *arguments: Any) -> list[Any]:
        """Send a message and wait for its answer."""
        self.say(address, *arguments)
        heard = self.hear(answer)
        if heard is None:
            self.check_alive()
            raise BenchmarkError(f"no answer to {address} within {ANSWER_SECONDS:g} s")
        return heard

    def status(self) -> dict[str, Any]:
        """The named values of `/status.reply`."""
        values = self.ask("/status", "/status.reply")[9:]
        return dict(zip(values[::2], values[1::2], strict=True))

    def status_anyway(self) -> dict[str, Any]:
        """As `status`, whatever has failed meanwhile: for those who make it fail."""
        self.say("/status")
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            self._receive(deadline - time.monotonic())
            replies = [values for said, values in self._answers if said == "/status.reply"]
            self._answers.clear()
            if replies:
                values = replies[-1][9:]
                return dict(zip(values[::2], values[1::2], strict=True))
        self.check_alive()
        raise BenchmarkError(f"no answer to /status within {ANSWER_SECONDS:g} s")

    def until(self, done: Callable[[dict[str, Any]], bool], seconds: float, what: str) -> None:
        """Wait until a status satisfies `done`."""
        deadline = time.monotonic() + seconds
        while not done(self.status()):
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{what}: not within {seconds:g} s")
            time.sleep(0.1)

    # Looking -----------------------------------------------------------------------------

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time that each process has used since it started."""
        used = {}
        for name, process in self.processes.items():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just been replaced
                times = process.cpu_times()
                used[name] = times.user + times.system
        return used

    def open_desk(self) -> Desk | None:
        """Attach to the server's shared block; None while it has not made it yet.

        The caller closes it.
        """
        folder = Path(f"/proc/{self._process.pid}/fd")
        with contextlib.suppress(OSError):
            for entry in folder.iterdir():
                with contextlib.suppress(OSError):
                    if "crowdstream-desk" in os.readlink(entry):
                        return Desk(os.open(entry, os.O_RDWR))
        return None

    @contextlib.contextmanager
    def desk(self) -> Any:
        """The server's shared block, for a `with` block."""
        desk = self.open_desk()
        if desk is None:
            raise BenchmarkError("the server's shared memory is not to be seen from here: run "
                                 "the benchmark as the same user, on Linux")
        try:
            yield desk
        finally:
            desk.close()
