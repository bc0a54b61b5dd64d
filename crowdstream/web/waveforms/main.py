"""The process that computes waveforms, at the lowest priority.

The web process sends requests as JSON lines to standard input and receives JSON lines from standard
output. The process ends when standard input closes.

    {"want": [path, ...], "roots": [folder, ...]}   all requested sounds, the most urgent first
    {"near": [path, block]}                         continue at this block
    {"gentle": true|false}                          work only half of the time

    {"up": folder}                        the process has started; folder of the peak files
    {"busy": path}                        the sound in progress: to blame if the process crashes
    {"wave": path, "file", "rough", "ready", ...}   progress of a sound, see `Reports`
    {"failed": path, "reason"}            a sound has failed
    {"idle": true}                        all requests are done
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from crowdstream.audiofile.codec_messages import mute_c_libraries
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.system.process import lower_priority, send_to_parent
from crowdstream.system.sandbox import confine, own_folders
from crowdstream.system.text import printable
from crowdstream.web.waveforms.job import FINISHED, Job
from crowdstream.web.waveforms.peak_file import TooLong
from crowdstream.web.waveforms.store import Store, cache_place

REPORT_SECONDS = 0.1  # between two reports on the same sound
BUSY_SECONDS = 0.5  # between two heartbeats
MAX_WANTED = 64  # sounds: twice the eight stems of four decks

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = 16 << 20


def keep_memory() -> None:
    """Stop glibc from returning freed arrays of some hundred KB to the system each time."""
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


class Reports:
    """Reports the progress of each sound at a limited rate."""

    def __init__(self) -> None:
        self._reported: dict[str, tuple[float, int, float]] = {}
        self._busy: tuple[str, float] = "", 0.0

    def busy(self, path: str) -> None:
        """Send the heartbeat of work on a sound."""
        now = time.monotonic()
        if self._busy[0] != path or now > self._busy[1] + BUSY_SECONDS:
            self._busy = path, now
            send_to_parent({"busy": path})

    def wave(self, job: Job) -> None:
        """Report a sound: `counts` buckets per level, roughly known from level `rough` upwards."""
        if job.header is None:
            return
        at, rough, ready = self._reported.get(job.path, (0.0, -2, -1.0))
        now = time.monotonic()
        # A new preview and the first exact part are reported immediately.
        first = job.rough != rough or (ready <= 0.0) != (job.ready <= 0.0)
        if not (first or job.phase == FINISHED or now > at + REPORT_SECONDS):
            return
        self._reported[job.path] = now, job.rough, job.ready
        shape = job.header.shape
        send_to_parent({
            "wave": job.path, "file": str(job.file), "identity": job.header.identity,
            "rate": shape.rate, "frames": shape.frames, "bucket": shape.bucket,
            "counts": shape.counts, "rough": job.rough, "ready": job.ready,
        })  # fmt: skip

    def forget(self, path: str) -> None:
        """Forget a sound that is no longer requested."""
        self._reported.pop(path, None)

    def idle(self) -> None:
        """Report that there is nothing to do."""
        self._busy = "", 0.0
        send_to_parent({"idle": True})


class WaveformProcess:
    """The requested sounds, which take turns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reports = Reports()
        self._jobs: dict[str, Job] = {}
        # Requested sounds that are finished or failed: identity of the file, reason of a failure.
        self._over: dict[str, tuple[tuple[int, int] | None, str]] = {}
        self._gentle = False
        self._rest = b""
        self._last = ""
        self._idle = True

    def run(self) -> None:
        """Work until standard input closes."""
        pause: float | None = None
        while True:
            if select.select([0], [], [], pause)[0] and not self._read_requests():
                break
            job = self._next()
            pause = 0.0 if job else None
            if job:
                self._idle = False
                begin = time.monotonic()
                self._turn(job)
                if self._gentle:
                    pause = time.monotonic() - begin
            elif not self._idle:
                self._idle = True
                self._reports.idle()
        for job in self._jobs.values():
            job.close()

    def _read_requests(self) -> bool:
        data = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._handle(json.loads(line))
        return bool(data)

    def _handle(self, message: dict[str, Any]) -> None:
        if "want" in message:
            self._want(message["want"][:MAX_WANTED], [Path(one) for one in message["roots"]])
        if "near" in message:
            path, block = message["near"]
            if path in self._jobs:
                self._jobs[path].near(int(block))
        if "gentle" in message:
            self._gentle = bool(message["gentle"])

    def _want(self, paths: list[str], roots: list[Path]) -> None:
        for path in [path for path in self._jobs if path not in paths]:
            self._jobs.pop(path).close()
            self._reports.forget(path)
        jobs = {}
        over, self._over = self._over, {}
        for path in paths:
            if path in over and over[path][0] == _identity(path):
                self._over[path] = over[path]
                if over[path][1]:
                    send_to_parent({"failed": path, "reason": over[path][1]})
                continue
            job = self._jobs.get(path)
            if job is None:
                job = Job(path, roots, self._store, partial(self._reports.busy, path))
            jobs[path] = job
        self._jobs = jobs

    def _next(self) -> Job | None:
        # The least advanced job; of several, the next one in the order of turns.
        if not self._jobs:
            return None
        paths = list(self._jobs)
        turn = paths.index(self._last) + 1 if self._last in self._jobs else 0
        around = paths[turn:] + paths[:turn]
        return min((self._jobs[path] for path in around), key=lambda job: job.phase)

    def _turn(self, job: Job) -> None:
        self._last = job.path
        self._reports.busy(job.path)
        try:
            job.turn()
        except (AudioFileError, TooLong, OSError) as error:
            reason = printable(str(error))
            send_to_parent({"failed": job.path, "reason": reason})
            self._end(job, reason)
            return
        self._reports.wave(job)
        if job.phase == FINISHED:
            self._end(job)

    def _end(self, job: Job, reason: str = "") -> None:
        del self._jobs[job.path]
        job.close()
        self._reports.forget(job.path)
        identity = job.header.identity if job.header else _identity(job.path)
        self._over[job.path] = identity, reason


def _identity(path: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    return None


def main(arguments: list[str]) -> int:
    """Run until standard input closes. `arguments`: the media folders, if any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lower_priority()
    keep_memory()
    mute_c_libraries()
    folder, temporary = cache_place(os.environ)
    confine([Path(root) for root in arguments], [*own_folders(), folder])
    store = Store(folder, temporary)
    with contextlib.suppress(BrokenPipeError):  # the web process has died
        send_to_parent({"up": str(folder)})
        WaveformProcess(store).run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
