"""The waveform process as seen from the web process: start, supervise and stop it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from crowdstream.control.processes.loader_client import FileQuarantine
from crowdstream.system.process import child_environment
from crowdstream.system.restart_policy import RestartPolicy

log = logging.getLogger(__name__)

HANG_SECONDS = 20.0  # without a message while it is busy, before it is killed
LOOK_SECONDS = 1.0
IDLE_SECONDS = 60.0  # for which it is kept after the last page has closed
FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0  # back-off before a restart after a crash; doubles
END_SECONDS = 0.7
MAX_LINE = 1 << 20

OnMessage = Callable[[dict[str, Any]], None]


class Worker:
    """Starts the waveform process on request, and restarts it after a crash.

    A file that makes it crash or hang is reported as `{"failed": path, ...}`, and skipped until the
    file changes. For one thread with a running event loop.
    """

    def __init__(
        self, on_message: OnMessage, environ: dict[str, str] | None = None,
        hang: float = HANG_SECONDS,
        media: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`on_message` receives the messages of the process (see `main`), and {"failed"} from here.

        `media`: the media folders; if any are set, the process can read nothing else below a home.
        """
        self._media = list(media)
        self._on_message = on_message
        self._environ = environ
        self._hang = hang
        self.blame = FileQuarantine(asyncio.get_running_loop().time)
        self.pid = 0
        self._on = False
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._wanted: list[str] = []
        self._roots: list[str] = []
        self._gentle = False
        self._busy = ""
        self._message_at = 0.0
        self._hung = False
        self._leave: asyncio.TimerHandle | None = None

    def want(self, paths: list[str], roots: list[str]) -> None:
        """Replace all requests; the most urgent path comes first. Starts the process if needed."""
        self.stay()
        self._wanted = list(dict.fromkeys(paths))
        self._roots = roots
        self._on = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self._send_wanted()

    def near(self, path: str, block: int) -> None:
        """Continue at this block of a sound."""
        self._send({"near": [path, block]})

    def gentle(self, on: bool) -> None:
        """Work only half of the time, or all the time; also after a restart."""
        self._gentle = on
        self._send({"gentle": on})

    def leave(self, seconds: float = IDLE_SECONDS) -> None:
        """Cancel all requests; end the process unless `stay` is called within `seconds`."""
        self.stay()
        self._wanted = []
        self._send_wanted()
        self._leave = asyncio.get_running_loop().call_later(seconds, self._end)

    def stay(self) -> None:
        """Cancel the end that `leave` has scheduled."""
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None

    async def close(self) -> None:
        """Stop the process and wait for its end."""
        self.stay()
        self._end()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    # The process -----------------------------------------------------------------------------

    def _end(self) -> None:
        self._on = False
        self._wanted = []
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        restarts = RestartPolicy(FIRST_PAUSE, MAX_PAUSE, settled=MAX_PAUSE)
        loop = asyncio.get_running_loop()
        try:
            while True:
                begun = loop.time()
                try:
                    await self._live()
                except OSError as error:
                    log.error("could not start the waveform process: %s", error.strerror or error)
                await asyncio.sleep(restarts.next_delay(loop.time() - begun))
        finally:
            # Something may have been requested while the process was being stopped.
            self._task = asyncio.create_task(self._run()) if self._on else None

    async def _live(self) -> None:
        # One life of the process, from start to exit.
        process = await asyncio.create_subprocess_exec(
            # -P: a file in the current folder must not shadow a module.
            sys.executable, "-P", "-m", "crowdstream.web.waveforms.main", *self._media,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=child_environment(self._environ), start_new_session=True, limit=MAX_LINE,
        )  # fmt: skip
        self._process, self.pid = process, process.pid
        self._busy, self._hung = "", False
        self._message_at = asyncio.get_running_loop().time()
        watcher = asyncio.create_task(self._watch(process))
        try:
            self._send({"gentle": self._gentle})
            self._send_wanted()
            await self._receive(process)
            status = await process.wait()
            log.warning("the waveform process ended with status %s", status)
            self._judge(status)
        finally:
            watcher.cancel()
            self._process = None
            await asyncio.shield(_finish(process))
            self.pid = 0

    async def _receive(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than any line that it writes
                process.kill()
                return
            if not line:
                return
            self._message_at = asyncio.get_running_loop().time()
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if not isinstance(message, dict):
                continue
            if "busy" in message:
                self._busy = str(message["busy"])
            elif "idle" in message:
                self._busy = ""
            self._on_message(message)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        # The process hangs if it is silent and neither computes nor waits for the CPU, or if it
        # computes without end. It runs in the idle class, so it may wait long beside other work.
        loop = asyncio.get_running_loop()
        message_at = alive_at = used = 0.0
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._hang / 4))
            seconds, computes = activity(process.pid)
            if self._message_at != message_at:
                message_at, used = self._message_at, seconds
            if computes and seconds - used < self._hang:
                alive_at = loop.time()
            if self._busy and loop.time() > max(message_at, alive_at) + self._hang:
                self._hung = True
                process.kill()
                return

    def _judge(self, status: int) -> None:
        if not self._busy:
            return
        path, self._busy = self._busy, ""
        reason = self.blame.judge(path, status, self._hung)
        if reason is not None:
            log.warning("no waveform: %s", reason)
            self._on_message({"failed": path, "reason": reason})

    # Messages to the process -----------------------------------------------------------------

    def _send_wanted(self) -> None:
        good = [path for path in self._wanted if self.blame.reason(path) is None]
        self._send({"want": good, "roots": self._roots})

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):  # it has just crashed
                self._process.stdin.write(json.dumps(message).encode() + b"\n")


def activity(pid: int) -> tuple[float, bool]:
    """CPU time of a process in seconds, and whether it runs or waits for the CPU."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, process.status() == psutil.STATUS_RUNNING
    except psutil.Error:
        return 0.0, False


async def _finish(process: asyncio.subprocess.Process) -> None:
    """Close its standard input, which makes it exit; kill it after `END_SECONDS`."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
