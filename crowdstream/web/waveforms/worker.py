"""The process that makes waveforms, as the web process knows it: started, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from crowdstream.control.processes.file_quarantine import FileQuarantine
from crowdstream.system.child_environment import child_environment
from crowdstream.system.restart_policy import RestartPolicy

log = logging.getLogger(__name__)

HANG_SECONDS = 20.0  # without a word while it is busy: it comes to nothing
LOOK_SECONDS = 1.0
IDLE_SECONDS = 60.0  # that it is kept after the last page has gone
FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0  # before it is started again after it died; doubles
END_SECONDS = 0.7
MAX_LINE = 1 << 20

Hear = Callable[[dict[str, Any]], None]


class Worker:
    """Starts the process when something is wanted, and again when it dies.

    A file that it crashes on or hangs at is bad, which is told as `{"failed": path, ...}`, and
    left out until it changes. For one thread, with a running event loop.
    """

    def __init__(
        self, hear: Hear, environ: dict[str, str] | None = None, hang: float = HANG_SECONDS,
        media: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`hear` gets what the process says, see `process`; and {"failed"} of this class.

        `media`: folders; below a home the process can read nothing else, if there are any.
        """
        self._media = list(media)
        self._hear = hear
        self._environ = environ
        self._hang = hang
        self.blame = FileQuarantine(asyncio.get_running_loop().time)
        self.pid = 0
        self._on = False
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._wanted: list[str] = []
        self._roots: list[str] = []
        self._busy = ""
        self._heard_at = 0.0
        self._hung = False
        self._leave: asyncio.TimerHandle | None = None

    def want(self, paths: list[str], roots: list[str]) -> None:
        """All that is wanted from now on, the most urgent first. Starts the process if need be."""
        self.stay()
        self._wanted = list(dict.fromkeys(paths))
        self._roots = roots
        self._on = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self._tell_wanted()

    def near(self, path: str, block: int) -> None:
        """Go on there."""
        self._send({"near": [path, block]})

    def gentle(self, on: bool) -> None:
        """Have it work only half of the time, or as much as it can."""
        self._send({"gentle": on})

    def leave(self, seconds: float = IDLE_SECONDS) -> None:
        """Nobody looks any more: nothing is wanted, and it ends after a while if that stays so."""
        self.stay()
        self._wanted = []
        self._tell_wanted()
        self._leave = asyncio.get_running_loop().call_later(seconds, self._end)

    def stay(self) -> None:
        """Somebody looks again."""
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None

    async def close(self) -> None:
        """End it, and wait for that."""
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
                    log.error("no process for waveforms: %s", error.strerror or error)
                await asyncio.sleep(restarts.pause(loop.time() - begun))
        finally:
            # Something may have been wanted again while it was being ended.
            self._task = asyncio.create_task(self._run()) if self._on else None

    async def _live(self) -> None:
        """One life of the process."""
        process = await asyncio.create_subprocess_exec(
            # -P: a file of the folder it is started in must not stand in for a module.
            sys.executable, "-P", "-m", "crowdstream.web.waveforms.main", *self._media,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=child_environment(self._environ), start_new_session=True, limit=MAX_LINE,
        )  # fmt: skip
        self._process, self.pid = process, process.pid
        self._busy, self._hung = "", False
        self._heard_at = asyncio.get_running_loop().time()
        watcher = asyncio.create_task(self._watch(process))
        try:
            self._tell_wanted()
            await self._listen(process)
            status = await process.wait()
            log.warning("the process for waveforms ended with status %s", status)
            self._judge(status)
        finally:
            watcher.cancel()
            self._process = None
            await asyncio.shield(_finish(process))
            self.pid = 0

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than any that it writes
                process.kill()
                return
            if not line:
                return
            self._heard_at = asyncio.get_running_loop().time()
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
            self._hear(message)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        # It hangs when it is silent and neither computes nor waits for the processor, or computes
        # without an end. It runs in the idle class: beside other work it may wait for long.
        loop = asyncio.get_running_loop()
        heard_at = alive_at = used = 0.0
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._hang / 4))
            seconds, computes = activity(process.pid)
            if self._heard_at != heard_at:
                heard_at, used = self._heard_at, seconds
            if computes and seconds - used < self._hang:
                alive_at = loop.time()
            if self._busy and loop.time() > max(heard_at, alive_at) + self._hang:
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
            self._hear({"failed": path, "reason": reason})

    # What it is told -------------------------------------------------------------------------

    def _tell_wanted(self) -> None:
        good = [path for path in self._wanted if self.blame.reason(path) is None]
        self._send({"want": good, "roots": self._roots})

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):  # it has just died
                self._process.stdin.write(json.dumps(message).encode() + b"\n")


def activity(pid: int) -> tuple[float, bool]:
    """Processor time of a process in seconds, and whether it uses or waits for the processor."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, process.status() == psutil.STATUS_RUNNING
    except psutil.Error:
        return 0.0, False


async def _finish(process: asyncio.subprocess.Process) -> None:
    """Close its standard input, which it takes as a request to end; by force if it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
