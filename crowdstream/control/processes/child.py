"""The processes that control starts: engine, loader and recorder, each behind two pipes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.supervisor.fd_store import FdStore
from crowdstream.system.child_environment import child_environment

log = logging.getLogger(__name__)

END_SECONDS = 0.7  # a child that has not ended by then is killed


class ChildError(RuntimeError):
    """A process of the server did not start or has died."""


class ServerGone(RuntimeError):
    """The control thread has ended: it does nothing any more."""


class AdoptedProcess:
    """A process that somebody else started, as far as `Popen` is needed.

    `pidfd` stands for it, whatever becomes of its number. How it ends can't be known.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._ended = select.poll()
        self._ended.register(pidfd, select.POLLIN)

    def wait(self, seconds: float | None = None) -> None:
        """Wait for its end; raises `subprocess.TimeoutExpired`."""
        if self._pidfd >= 0:
            if not self._ended.poll(None if seconds is None else seconds * 1000):
                raise subprocess.TimeoutExpired(str(self.pid), seconds or 0.0)
            os.close(self._pidfd)
            self._pidfd = -1

    def kill(self) -> None:
        """End it by force."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


class Child:
    """A Python module in a process of its own, spoken to in JSON lines.

    A plain subprocess: it works when the caller's script has no `__main__` guard, and the
    child imports nothing of the caller's. `argument` can be read by every user of the machine:
    secrets are sent. It ends when its standard input closes. With a
    `store` its pipes are kept there under `name`, and it outlives control: `adopt` takes it over.
    Raises `ChildError` when the system refuses the process.
    """

    def __init__(
        self,
        module: str,
        argument: str,
        desk_fd: int,
        store: FdStore | None = None,
        name: str = "",
    ) -> None:
        try:
            process = subprocess.Popen(
                # -P: a file of the caller's folder must not stand in for a module.
                [sys.executable, "-P", "-m", module, argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[desk_fd],
                env=child_environment(),
                # Out of the terminal's reach: it is control that ends its children.
                start_new_session=True,
            )
        except OSError as error:
            raise ChildError(f"no process for {module}: {error.strerror or error}") from error
        assert process.stdin and process.stdout
        # The descriptors are this object's from now on.
        pipes = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()
        self._set_up(process, module, *pipes, store or FdStore(), name)
        if self._store.guarded:
            pidfd = os.pidfd_open(self.pid)
            note = {"pid": self.pid, "module": module}
            self._store.keep(name, [*pipes, pidfd], note)
            os.close(pidfd)

    @classmethod
    def adopt(cls, store: FdStore, name: str) -> Child:
        """The child that an earlier control has left in the store under that name.

        Raises `KeyError` when there is none.
        """
        (stdin, stdout, pidfd), note = store.kept.pop(name)
        child = cls.__new__(cls)
        child._set_up(
            AdoptedProcess(note["pid"], pidfd), note["module"], stdin, stdout, store, name
        )
        # The one before may have died in the middle of a line: this goes before what is sent next.
        child._unsent += b"\n"
        return child

    def _set_up(
        self,
        process: subprocess.Popen[bytes] | AdoptedProcess,
        module: str,
        stdin: int,
        stdout: int,
        store: FdStore,
        name: str,
    ) -> None:
        self._process = process
        self.module = module
        self._store = store
        self._name = name
        self._in = stdin
        self.out = stdout
        os.set_blocking(stdin, False)
        os.set_blocking(stdout, False)
        self._rest = b""
        self._unsent = bytearray()
        self.finished = False

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    @property
    def unsent(self) -> int:
        """Bytes that wait because it does not read."""
        return len(self._unsent)

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs, and where nobody can know it."""
        return None if isinstance(self._process, AdoptedProcess) else self._process.poll()

    @property
    def ended(self) -> bool:
        """Whether the process has come to its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.0)
            return True
        return False

    @property
    def last_words(self) -> str:
        """How it ended, in words."""
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        if status is None:
            return "status unknown"
        return f"signal {-status}" if status < 0 else f"status {status}"

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message; never blocks."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self.push()

    def push(self) -> None:
        """Write as much of what is queued as the pipe takes."""
        while self._unsent and self._in >= 0:
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
        return [message for line in lines if (message := self._message(line)) is not None]

    def _message(self, line: bytes) -> dict[str, Any] | None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict):
            return message
        if line:  # a library of the child printed something
            log.warning("%s: %.200s", self.module, line.decode(errors="replace"))
        return None

    def kill(self) -> None:
        """End it by force, without waiting for that."""
        self._process.kill()

    def ask_to_end(self) -> None:
        """Close its standard input, which it takes as a request to end."""
        if self._in >= 0:
            self._store.drop(self._name)
            os.close(self._in)
            self._in = -1

    def end(self, seconds: float = END_SECONDS) -> None:
        """Have it end, by force if it takes longer; its descriptors are closed."""
        self.ask_to_end()
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self.out >= 0:
            os.close(self.out)
            self.out = -1


def end_all(children: Sequence[Child]) -> None:
    """Have all of them end, at the same time; by force after `END_SECONDS`."""
    deadline = time.monotonic() + END_SECONDS
    for child in children:
        child.ask_to_end()
    for child in children:
        child.end(deadline - time.monotonic())


class Caller:
    """Lets other threads have something done by the control thread.

    Closing it wakes that thread and fails whoever waits for it or comes later.
    """

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._lock = threading.Lock()
        self._calls: list[Callable[[BaseException | None], None]] = []
        self._closed = False

    def call(self, action: Callable[[], Any]) -> Any:
        """Run `action` on the control thread; its result, or its exception."""
        if threading.current_thread() is self._thread:
            return action()
        done = threading.Event()
        box: dict[str, Any] = {}

        def run(refusal: BaseException | None) -> None:
            try:
                if refusal:
                    raise refusal
                box["result"] = action()
            except Exception as error:
                box["error"] = error
            done.set()

        with self._lock:
            if self._closed:
                raise ServerGone("the server has ended: start it again")
            self._calls.append(run)
            self._wake()
        done.wait()
        if "error" in box:
            raise box["error"]
        return box["result"]

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it will wake up anyway
            os.write(self._writer, b"x")

    def run_waiting(self) -> None:
        """On the control thread: run what was asked for."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)
        with self._lock:
            calls, self._calls = self._calls, []
        for run in calls:
            run(None)

    def close(self) -> None:
        """Wake the control thread; fail what waits and whatever comes later."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._wake()
            if self._thread.is_alive() and threading.current_thread() is not self._thread:
                return  # it closes once more when it has ended
            calls, self._calls = self._calls, []
        for run in calls:
            run(ServerGone("the server has ended: start it again"))

    def free(self) -> None:
        """Close the pipe. The control thread has ended."""
        self.close()
        os.close(self.reader)
        os.close(self._writer)
