"""Child processes of control (engine, loader, recorder, web), each connected by two pipes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from crowdstream.control.processes.fork_server import ChildProcess, ForkServer, NoAnswer
from crowdstream.supervisor.fd_store import FdStore, close_all
from crowdstream.system.process import PROJECT

log = logging.getLogger(__name__)

END_SECONDS = 0.7  # a child that has not exited by then is killed
# For the end of a killed child. One that the kernel can't end, as its device or disk does not
# respond, must not delay control, which would count as hanging.
KILLED_SECONDS = 2.0


class ChildError(RuntimeError):
    """A child process could not be started or has died."""


class ServerGone(RuntimeError):
    """The control thread has ended and runs no more calls."""


def _start(
    fork_server: ForkServer, module: str, argument: str, desk_fd: int
) -> tuple[ChildProcess, int, int]:
    # Start a process; return it with this side of its standard input and output.
    input_, ours_in = os.pipe()
    ours_out, output = os.pipe()
    try:
        process = fork_server.start(module, argument, [input_, output, desk_fd])
    except OSError:
        close_all([ours_in, ours_out])
        raise
    finally:
        close_all([input_, output])
    return process, ours_in, ours_out


class Child:
    """A Python module in a process of its own, controlled by JSON lines over pipes.

    A fork rather than `multiprocessing`: it works without a `__main__` guard in the caller's
    script, and the child has none of the caller's modules. Every user of the machine can read
    `argument`, so secrets are sent over the pipe. The child exits when its standard input closes.
    Its pipes are kept in the fork server's store under `name`, and the child outlives control;
    `adopt` takes it over. Raises `ChildError` when the system can't start the process.
    """

    def __init__(
        self, fork_server: ForkServer, module: str, argument: str, desk_fd: int, name: str
    ) -> None:
        try:
            try:
                process, ours_in, ours_out = _start(fork_server, module, argument, desk_fd)
            except NoAnswer:
                # With other pipes: a process that it has started nevertheless exits, as the end of
                # its input is closed. Two on the same pipes would both do the work of one.
                process, ours_in, ours_out = _start(fork_server, module, argument, desk_fd)
        except OSError as error:
            raise ChildError(f"can't start {module}: {error.strerror or error}") from error
        self._set_up(process, module, ours_in, ours_out, fork_server.store, name)
        note = {"pid": self.pid, "module": module, "root": self.root}
        self._store.keep(name, [ours_in, ours_out, process.pidfd], note)

    @classmethod
    def adopt(cls, fork_server: ForkServer, name: str) -> Child:
        """Take over the child that an earlier control process left in the store under `name`.

        Raises `KeyError` when there is none.
        """
        store = fork_server.store
        (stdin, stdout, pidfd), note = store.kept.pop(name)
        # The fork server of another version has ended: nobody reports how its children end.
        own = note["root"] == str(PROJECT)
        process = ChildProcess(note["pid"], pidfd, fork_server if own else None)
        child = cls.__new__(cls)
        child._set_up(process, note["module"], stdin, stdout, store, name)
        child.root = note["root"]
        # The predecessor may have died in the middle of a line: end that line first.
        child._unsent += b"\n"
        return child

    def _set_up(
        self,
        process: ChildProcess,
        module: str,
        stdin: int,
        stdout: int,
        store: FdStore,
        name: str,
    ) -> None:
        self._process = process
        self.root = str(PROJECT)
        """Folder of the package that the process runs, which may be another version's."""
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
        """Process ID."""
        return self._process.pid

    @property
    def is_foreign(self) -> bool:
        """Whether the process runs another installation than this one."""
        return self.root != str(PROJECT)

    @property
    def unsent(self) -> int:
        """Bytes queued because the child does not read its input."""
        return len(self._unsent)

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while the process runs, or if it is unknown."""
        with contextlib.suppress(TimeoutError):
            return self._process.wait(0.0)
        return None

    @property
    def exited(self) -> bool:
        """Whether the process has exited."""
        with contextlib.suppress(TimeoutError):
            self._process.wait(0.0)
            return True
        return False

    @property
    def exit_description(self) -> str:
        """How the process ended, for a log line."""
        try:
            status = self._process.wait(END_SECONDS)
        except TimeoutError:
            return "it closed its output"
        if status is None:
            return "status unknown"
        return f"signal {-status}" if status < 0 else f"status {status}"

    def send(self, message: dict[str, Any]) -> None:
        """Queue one message. Never blocks."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self.push()

    def push(self) -> None:
        """Write as much of the queue as the pipe accepts."""
        while self._unsent and self._in >= 0:
            try:
                done = os.write(self._in, self._unsent[:65536])
            except (BlockingIOError, BrokenPipeError):
                return
            del self._unsent[:done]

    def read(self) -> list[dict[str, Any]]:
        """Return the messages received; sets `finished` at the end of the child's output."""
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
        if line:  # printed by a library in the child
            log.warning("%s: %.200s", self.module, line.decode(errors="replace"))
        return None

    def kill(self) -> None:
        """Kill the process without waiting for its exit."""
        self._process.kill()

    def request_exit(self, failed: bool = False) -> None:
        """Close the child's standard input, which the child takes as a request to exit.

        `failed`: the child has not worked, whatever its exit status. The supervisor of an upgrade
        is informed of that, as of one that has died.
        """
        if self._in >= 0:
            self._store.drop(self._name, failed=failed or self._has_died())
            os.close(self._in)
            self._in = -1

    def _has_died(self) -> bool:
        # The output of a process that dies is closed some time before the process has ended.
        with contextlib.suppress(TimeoutError):
            return self._process.wait(END_SECONDS if self.finished else 0.0) != 0
        return False

    def stop(self, seconds: float = END_SECONDS, failed: bool = False) -> None:
        """Stop the child, by force after `seconds`, and close its descriptors.

        `failed`: see `request_exit`.
        """
        self.request_exit(failed)
        try:
            self._process.wait(max(0.0, seconds))
        except TimeoutError:
            self._process.kill()
            with contextlib.suppress(TimeoutError):
                self._process.wait(KILLED_SECONDS)
        if self.out >= 0:
            os.close(self.out)
            self.out = -1


def stop_all(children: Sequence[Child]) -> None:
    """Stop all children concurrently, by force after `END_SECONDS`."""
    deadline = time.monotonic() + END_SECONDS
    for child in children:
        child.request_exit()
    for child in children:
        child.stop(deadline - time.monotonic())


class ControlThreadCaller:
    """Runs functions on the control thread on behalf of other threads.

    Closing it wakes that thread; pending and later calls fail with `ServerGone`.
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
        """Run `action` on the control thread and return its result or raise its exception."""
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
        with contextlib.suppress(BlockingIOError):  # full: a wake-up is pending anyway
            os.write(self._writer, b"x")

    def run_waiting(self) -> None:
        """Run the pending calls. On the control thread."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)
        with self._lock:
            calls, self._calls = self._calls, []
        for run in calls:
            run(None)

    def close(self) -> None:
        """Wake the control thread; fail pending and later calls."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._wake()
            if self._thread.is_alive() and threading.current_thread() is not self._thread:
                return  # the control thread calls `close` once more when it ends
            calls, self._calls = self._calls, []
        for run in calls:
            run(ServerGone("the server has ended: start it again"))

    def free(self) -> None:
        """Close the pipe, once the control thread has ended."""
        self.close()
        os.close(self.reader)
        os.close(self._writer)
