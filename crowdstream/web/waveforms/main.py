"""The process that makes waveforms, at the lowest priority there is.

The web process writes what it wants as JSON lines to standard input; what comes of it goes the
same way on standard output. When standard input closes, the process ends.

    {"want": [path, ...], "roots": [folder, ...]}   all that is wanted, the first one first
    {"near": [path, block]}                         go on there
    {"gentle": true|false}                          work half of the time only

    {"up": folder}                        where the files of peaks are
    {"busy": path}                        this one is worked at: to blame, should nothing follow
    {"wave": path, "file", "rough", "ready", ...}   what there is of it, see `Reports`
    {"failed": path, "reason"}
    {"idle": true}                        all that is wanted is done
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
from crowdstream.system.background_priority import give_way
from crowdstream.system.sandbox import confine, own_folders
from crowdstream.system.text import printable
from crowdstream.web.waveforms.job import FINISHED, Job
from crowdstream.web.waveforms.peak_file import TooLong
from crowdstream.web.waveforms.store import Store, cache_place

REPORT_SECONDS = 0.1  # between two reports on one sound
BUSY_SECONDS = 0.5  # between two signs of life
MAX_WANTED = 64  # sounds: four decks of eight stems, twice

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = 16 << 20


def keep_memory() -> None:
    """Have arrays of some hundred KB not go back to the system each time: only glibc does that."""
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Reports:
    """Tells what there is of each sound, not too often."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, int, float]] = {}
        self._busy: tuple[str, float] = "", 0.0

    def busy(self, path: str) -> None:
        """This sound is being worked at."""
        now = time.monotonic()
        if self._busy[0] != path or now > self._busy[1] + BUSY_SECONDS:
            self._busy = path, now
            _write({"busy": path})

    def wave(self, job: Job) -> None:
        """What there is of a sound: of each level `counts` buckets, `rough` from that level on."""
        if job.header is None:
            return
        at, rough, ready = self._told.get(job.path, (0.0, -2, -1.0))
        now = time.monotonic()
        # The first exact part, like the first look, is told at once.
        first = job.rough != rough or (ready <= 0.0) != (job.ready <= 0.0)
        if not (first or job.phase == FINISHED or now > at + REPORT_SECONDS):
            return
        self._told[job.path] = now, job.rough, job.ready
        shape = job.header.shape
        _write({
            "wave": job.path, "file": str(job.file), "identity": job.header.identity,
            "rate": shape.rate, "frames": shape.frames, "bucket": shape.bucket,
            "counts": shape.counts, "rough": job.rough, "ready": job.ready,
        })  # fmt: skip

    def forget(self, path: str) -> None:
        """The sound is no longer wanted."""
        self._told.pop(path, None)

    def idle(self) -> None:
        """There is nothing to do."""
        self._busy = "", 0.0
        _write({"idle": True})


class WaveformProcess:
    """The sounds that are wanted, each in its turn."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reports = Reports()
        self._jobs: dict[str, Job] = {}
        # Wanted, and finished or failed: what the file was, and why it failed.
        self._over: dict[str, tuple[tuple[int, int] | None, str]] = {}
        self._gentle = False
        self._rest = b""
        self._last = ""
        self._idle = True

    def run(self) -> None:
        """Work until standard input closes."""
        pause: float | None = None
        while True:
            if select.select([0], [], [], pause)[0] and not self._hear():
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

    def _hear(self) -> bool:
        data = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._take(json.loads(line))
        return bool(data)

    def _take(self, message: dict[str, Any]) -> None:
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
                    _write({"failed": path, "reason": over[path][1]})
                continue
            job = self._jobs.get(path)
            if job is None:
                job = Job(path, roots, self._store, partial(self._reports.busy, path))
            jobs[path] = job
        self._jobs = jobs

    def _next(self) -> Job | None:
        """Who has come least far; of several, the one after the last."""
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
            _write({"failed": job.path, "reason": reason})
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
    """Run until standard input closes. `arguments`: the media folders, if there are any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way()
    keep_memory()
    mute_c_libraries()
    folder, temporary = cache_place(os.environ)
    confine([Path(root) for root in arguments], [*own_folders(), folder])
    store = Store(folder, temporary)
    with contextlib.suppress(BrokenPipeError):  # the web process is gone
        _write({"up": str(folder)})
        WaveformProcess(store).run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
