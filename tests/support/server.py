"""A running server for tests: the program itself in a child, and a client that talks to it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message import OscMessage

from crowdstream.control.osc import build
from crowdstream.control.recall import REST_SECONDS
from tests.support.environment import PROJECT

START_SECONDS = 120.0  # the kernels may have to be compiled first
WAIT_SECONDS = 120.0  # for anything else: no more than a bound, the machine may have much to do


class Client:
    """Sends OSC to a server on loopback and receives its replies."""

    def __init__(self, port: int) -> None:
        self._syncs = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))

    def send(self, address: str, *arguments: Any) -> None:
        """Send one message."""
        self.send_raw(build(address, arguments))

    def send_raw(self, packet: bytes) -> None:
        """Send any bytes as one packet."""
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.send(packet)

    def bundle(self, unix_seconds: float, *messages: tuple[Any, ...]) -> None:
        """Send messages, each `(address, argument, ...)`, as one time-tagged bundle."""
        builder = OscBundleBuilder(unix_seconds)  # type: ignore[arg-type]
        for address, *arguments in messages:
            builder.add_content(OscMessage(build(address, tuple(arguments))))
        self._socket.send(builder.build().dgram)

    def receive(self, seconds: float = WAIT_SECONDS) -> tuple[str, list[Any]]:
        """The next reply or notification: address and arguments; raises `TimeoutError`."""
        self._socket.settimeout(seconds)
        while True:
            try:
                message = OscMessage(self._socket.recv(65536))
            except ConnectionRefusedError:
                continue
            return message.address, list(message.params)

    def receive_until(self, address: str, seconds: float = WAIT_SECONDS) -> list[Any]:
        """Receive up to the next message of that address; its arguments."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            received, values = self.receive(max(0.001, deadline - time.monotonic()))
            if received == address:
                return values
        raise TimeoutError(f"no {address} came")

    def request(
        self, address: str, *arguments: Any, answer: str, seconds: float = WAIT_SECONDS
    ) -> list[Any]:
        """Send a message and wait for the answer of that address; its arguments."""
        self.send(address, *arguments)
        return self.receive_until(answer, seconds)

    def synchronize(self) -> list[tuple[str, list[Any]]]:
        """Wait until all that was sent has been handled; what was received up to then."""
        self._syncs += 1
        self.send("/sync", self._syncs)
        received = []
        while True:
            address, values = self.receive()
            if (address, values[-1:]) == ("/synced", [self._syncs]):
                return received
            received.append((address, values))

    def status(self) -> dict[str, Any]:
        """The named values of the server's status."""
        values = self.request("/status", answer="/status.reply")[9:]
        return dict(zip(values[::2], values[1::2], strict=True))

    def await_noted(self) -> None:
        """Wait until control has noted all that was sent, so that it outlives control."""
        self.synchronize()
        time.sleep(REST_SECONDS)  # what has been handled is noted in the first turn after that
        self.synchronize()

    def await_frames(self, frames: int) -> None:
        """Wait until so many further frames have been rendered."""
        end = self.status()["frame"] + frames
        until(lambda: self.status()["frame"] >= end)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Running:
    """A server process: `client`, `port`, `process`; `log()` is what it has logged so far."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self._log_begin = 0
        self.port = self._await_port()
        self.client = Client(self.port)

    def renew(self) -> None:
        """Begin another test: a new client, no tracks, and `log()` without what is there now."""
        self.client.close()
        self.client = Client(self.port)
        self.client.request("/mixer_cleanup", answer="/done")
        self._log_begin = len(self._whole_log())

    def children(self) -> list[psutil.Process]:
        """All processes of the server but the guardian, which is the one that was started."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def children_named(self, name: str, word: str = "") -> list[psutil.Process]:
        """Those of them that run `crowdstream.<name>.process`, the oldest first.

        `word`: only those that have it in their command line.
        """
        found = []
        for one in self.children():
            with contextlib.suppress(psutil.Error):  # it has just ended
                line = one.cmdline()
                if f"crowdstream.{name}.process" in line and word in " ".join(line):
                    found.append((float(one.create_time()), one.pid, one))
        return [one for _time, _pid, one in sorted(found)]

    def child_named(self, name: str) -> psutil.Process:
        """The first of `children_named`."""
        return self.children_named(name)[0]

    def page(self) -> str:
        """The address of the page, once it is served: `http://127.0.0.1:43210`."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            served = re.search(r"page on (\S+)", self._whole_log())
            if served:
                return served.group(1)
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)
        raise TimeoutError(self.log())

    def log(self) -> str:
        """Standard output and error together, since `renew`."""
        return self._whole_log()[self._log_begin :]

    def _whole_log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _await_port(self) -> int:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ready = re.search(r"ready: .* OSC on \S+:(\d+)", self._whole_log())
            if ready:
                return int(ready.group(1))
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)
        raise TimeoutError(self.log())


@contextlib.contextmanager
def server(
    folder: Path, *options: str, env: dict[str, str] | None = None
) -> Iterator[Running]:
    """Run `audio_server.py` on a free port, with its log in `folder`; ended in all cases.

    It serves pages only where an option says so (`--http`, then on a free port, too).
    """
    log = folder / "server.log"
    program = [sys.executable, str(PROJECT / "audio_server.py")]
    command = [*program, "--port", "0", "--http-port", "0", "--no-http", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
    running = None
    try:
        running = Running(process, log)
        yield running
    finally:
        if running is not None:
            running.client.close()
        process.terminate()
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:  # a server that does not end is a fault
            process.kill()
            process.wait()
            raise


class SharedServer:
    """One server for the tests of a module: a new one only where a test has ended the last.

    Levels, effects and the clock stay as a test leaves them.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._stack = contextlib.ExitStack()
        self._running: Running | None = None

    def get(self) -> Running:
        """The server, with a new client and without tracks."""
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
    """Whether a process has ended, its parent having taken notice or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(condition: Any, seconds: float = WAIT_SECONDS) -> None:
    """Wait until `condition()` holds; fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
