"""The processes that control starts: engine and loader, each behind two pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent.parent
END_SECONDS = 0.7  # a child that has not ended by then is killed


class ChildError(RuntimeError):
    """A process of the server did not start or has died."""


class Child:
    """A Python module in a process of its own, spoken to in JSON lines.

    A plain subprocess: it works when the caller's script has no `__main__` guard, and the
    child imports nothing of the caller's. It ends when its standard input closes.
    """

    def __init__(self, module: str, argument: str, desk_fd: int) -> None:
        environment = dict(os.environ)
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = str(PROJECT) + (os.pathsep + path if path else "")
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[desk_fd],
            env=environment,
            # Out of the terminal's reach: it is control that ends its children.
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout
        self._in = self._process.stdin.fileno()
        self.out = self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self.out, False)
        self._rest = b""
        self._unsent = bytearray()
        self.finished = False

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message; never blocks."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self.push()

    def push(self) -> None:
        """Write as much of what is queued as the pipe takes."""
        while self._unsent:
            try:
                done = os.write(self._in, self._unsent[:65536])
            except (BlockingIOError, BrokenPipeError):
                return
            del self._unsent[:done]

    def read(self) -> list[dict[str, Any]]:
        """Messages that have come in; sets `finished` when there will be no more."""
        chunks = [self._rest]
        while True:
            try:
                data = os.read(self.out, 65536)
            except BlockingIOError:
                break
            if not data:
                self.finished = True
                break
            chunks.append(data)
        *lines, self._rest = b"".join(chunks).split(b"\n")
        return [json.loads(line) for line in lines if line]

    def ask_to_end(self) -> None:
        """Close its standard input, which it takes as a request to end."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()

    def end(self) -> None:
        """Have it end, by force if it takes too long; its descriptors are closed."""
        self.ask_to_end()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


class Caller:
    """Lets other threads have something done by the control thread."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []

    def call(self, action: Callable[[], Any], timeout: float = 10.0) -> Any:
        """Run `action` on the control thread; its result, or its exception."""
        done = threading.Event()
        box: dict[str, Any] = {}

        def run() -> None:
            try:
                box["result"] = action()
            except Exception as error:  # noqa: BLE001  (handed to the caller)
                box["error"] = error
            done.set()

        with self._lock:
            self._calls.append(run)
        os.write(self._writer, b"x")
        if not done.wait(timeout):
            raise TimeoutError("the server does not answer")
        if "error" in box:
            raise box["error"]
        return box.get("result")

    def run_waiting(self) -> None:
        """On the control thread: run what was asked for."""
        os.read(self.reader, 4096)
        with self._lock:
            calls, self._calls = self._calls, []
        for action in calls:
            action()

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.reader)
        os.close(self._writer)
