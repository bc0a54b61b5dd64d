"""Analyse tracks from the library panel: one job at a time, in a low-priority process.

    POST /library/analyse {"path": "0/Sets/Night Drive"}    a file, a folder of stems or a folder
    POST /library/analyse {"stop": 1}                       stop the current job, clear the queue

The response is the state that pages receive as `analysis`: `running`, the `path` of the current
job, the number of jobs that `wait`, and for the current job `tracks`, `done`, `share` (0 to 1),
`name`, `bad` and `reason`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crowdstream.audiofile.stems.track_files import is_audio
from crowdstream.system.process import child_environment, lower_priority_of
from crowdstream.system.safe_open import real_path
from crowdstream.web.api.command_api import error_response, json_response
from crowdstream.web.media_browser import MediaNotFound, resolve

log = logging.getLogger(__name__)

MAX_WAITING = 200  # paths
MAX_LINE = 1 << 16  # bytes
STOP_SECONDS = 5.0  # for a run to save what it has analysed so far
COMMAND = (sys.executable, "-P", "-m", "crowdstream", "analyze", "--progress", "--background",
           "--jobs", "1")  # fmt: skip
IDLE: dict[str, Any] = {"running": 0, "path": "", "wait": 0}


class AnalysisJobs:
    """Runs `crowdstream analyze` for the paths that pages request. For one event loop.

    `show(state)` is called with the new state after each change. `finished()` is called after each
    run, when the library may hold new results.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        show: Callable[[dict[str, Any]], None],
        finished: Callable[[], None],
        command: Sequence[str] = COMMAND,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._roots = roots
        self._show = show
        self._finished = finished
        self._command = command
        self._environ = environ
        self._waiting: deque[tuple[str, Path]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.state: dict[str, Any] = dict(IDLE)

    async def handle_request(self, request: Request) -> Response:
        """Handle `POST /library/analyse`."""
        try:
            message = json.loads(await request.body() or b"null")
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict) and message.get("stop") in (1, True):
            await self.stop()
            return json_response(self.state)
        path = message.get("path") if isinstance(message, dict) else None
        if not isinstance(path, str):
            usage = 'send {"path": "..."} with a path from /library'
            return error_response(400, usage)
        try:
            self.add(path)
        except MediaNotFound as error:
            return error_response(404, str(error))
        except OverflowError as error:
            return error_response(503, str(error))
        return json_response(self.state, 202)

    def add(self, path: str) -> None:
        """Queue the analysis of a library path.

        Raises `MediaNotFound`, and `OverflowError` if `MAX_WAITING` paths are queued already.
        """
        _root, real = resolve(path, self._roots)
        if not real.is_dir() and not (real.is_file() and is_audio(real.name)):
            raise MediaNotFound("there is no such track")
        if (path, real) not in self._waiting and self.state["path"] != path:
            if len(self._waiting) >= MAX_WAITING:
                raise OverflowError(f"{MAX_WAITING} jobs are queued already: try again later")
            self._waiting.append((path, real))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self._update(wait=len(self._waiting))

    async def stop(self) -> None:
        """Stop the current job and clear the queue; finished results stay in the library."""
        self._waiting.clear()
        task, process = self._task, self._process
        if task is None:
            return
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        else:
            task.cancel()
        await asyncio.wait([task], timeout=STOP_SECONDS)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])

    def _update(self, **changed: Any) -> None:
        self.state = {**self.state, **changed}
        self._show(self.state)

    async def _run(self) -> None:
        try:
            while self._waiting:
                path, real = self._waiting.popleft()
                self.state = {**IDLE, "running": 1, "path": path, "wait": len(self._waiting)}
                self._show(self.state)
                await self._analyse(real)
                self._finished()
        finally:
            self._task = None
            kept = ("tracks", "done", "bad", "reason")
            last: dict[str, Any] = {name: self.state[name] for name in kept if name in self.state}
            self.state = {**IDLE, **last, "last": self.state["path"]}
            self._show(self.state)

    async def _analyse(self, real: Path) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, "--", str(real_path(real)),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, env=child_environment(self._environ),
                start_new_session=True, limit=MAX_LINE,
            )  # fmt: skip
        except OSError as error:
            log.error("could not start the analysis: %s", error.strerror or error)
            self._update(bad=1, reason=f"the analysis could not be started: {error.strerror}")
            return
        self._process = process
        try:
            # The workers lower their own priority and use most of the CPU; this covers the parent.
            lower_priority_of(process.pid)
            _, errors = await asyncio.gather(self._read_progress(process), _last_line(process))
            status = await process.wait()
            if status > 1 or (status and errors and not self.state.get("bad")):
                self._update(bad=max(1, self.state.get("bad", 0)), reason=errors)
        finally:
            self._process = None
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())

    async def _read_progress(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than any line that `crowdstream analyze` writes
                continue
            if not line:
                return
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    self._update(**{name: message[name] for name in SHOWN if name in message})


SHOWN = ("found", "tracks", "done", "share", "name", "bad", "reason")


async def _last_line(process: asyncio.subprocess.Process) -> str:
    # The last error line. The pipe is read to its end: a full pipe would block the process.
    assert process.stderr
    last = ""
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:
            continue
        if not line:
            return last[:200]
        last = line.decode(errors="replace").strip().removeprefix("crowdstream: ") or last
