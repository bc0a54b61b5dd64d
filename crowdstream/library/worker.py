"""The analysis worker process: jobs as JSON lines on standard input, answers on standard output.

The first line of output, `{"up": true}`, reports that the worker is ready. While it analyses a
long track, it also writes lines with the progress, `{"share": 0.25}`.

The worker runs with the lowest CPU and I/O priority, and exits when its parent process ends.

One job: check, read and analyse the files of a track, in a local or a remote worker.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crowdstream.analysis.result import Analysis
from crowdstream.audiofile.codec_messages import mute_c_libraries
from crowdstream.audiofile.errors import (
    AudioFileError,
    DecoderMissing,
    FileChanged,
    FileMissing,
    FileUnreadable,
    PermissionRefused,
)
from crowdstream.audiofile.stems.track_files import StemFile, TrackFiles
from crowdstream.audiofile.tags import read_tags
from crowdstream.library.scanner import STEM_FILE, FileState
from crowdstream.library.stem_mp4 import unpack
from crowdstream.system.process import lower_priority
from crowdstream.system.text import printable

ANALYSER = "crowdstream.analysis.track:analyse_track"
PROBES, PROBE_BYTES = 8, 4096  # samples per file that distinguish it from others, and their size
# Transient errors: the next run may succeed though the file is the same.
_TRANSIENT = (DecoderMissing, FileChanged, FileMissing, FileUnreadable, PermissionRefused)

Progress = Callable[[float], None]
"""Callback with the share of a track that is done, 0 to 1."""
Analyser = Callable[[TrackFiles, Progress], Analysis]


@dataclass(frozen=True)
class Job:
    """A track to analyse. `cache` is the folder into which stem files are unpacked."""

    number: int
    path: str
    kind: str
    name: str
    files: tuple[FileState, ...]
    cache: str

    @property
    def size(self) -> int:
        """Total size of the files in bytes."""
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Convert to values that JSON can represent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Job:
        """Convert back from `to_dict`."""
        return cls(**{**values, "files": tuple(FileState(**mark) for mark in values["files"])})


def find_analyser(name: str) -> Analyser:
    """Import the analysis function named `module:function`."""
    module, _, function = name.partition(":")
    found: Analyser = getattr(importlib.import_module(module), function)
    return found


def _ignore_progress(_share: float) -> None:
    pass


def run_job(job: Job, analyse: Analyser, progress: Progress = _ignore_progress) -> dict[str, Any]:
    """Do a job, and return the answer as values that JSON can represent.

    An answer has the `number` of the job. For a good track it also has `analysis`, `tags`,
    `probe` and `play`, the path that a deck loads. For a bad track it has `error`, the reason, and
    `passing`, which is true for a transient error: the next run tries the track again.
    """
    answer: dict[str, Any] = {"number": job.number}
    try:
        _check_unchanged(job)
        if job.kind == STEM_FILE:
            play, stems, tags = unpack(Path(job.path), Path(job.cache))
        else:
            play, stems = job.path, [StemFile(one.name, Path(one.path)) for one in job.files]
            tags = _tags(stems[0].path)
        found = analyse(TrackFiles(job.name, tuple(stems)), progress)
        answer["probe"] = probe(job.files)
        _check_unchanged(job)
    except AudioFileError as error:
        reason = error.reason
        if os.fspath(error.path) != job.path:
            reason = f"{error.path.name}: {reason}"
        return {**answer, "error": printable(reason), "passing": isinstance(error, _TRANSIENT)}
    except OSError as error:
        reason = f"it can't be read ({error.strerror or error})"
        return {**answer, "error": printable(reason), "passing": True}
    except MemoryError:
        reason = "there is not enough memory to analyse it"
        return {**answer, "error": reason, "passing": True}
    except Exception as error:
        reason = f"the analysis failed ({type(error).__name__}: {printable(str(error))[:200]})"
        return {**answer, "error": reason, "passing": False}
    return {**answer, "analysis": found.to_dict(), "tags": tags, "play": play}


def probe(files: Sequence[FileState]) -> str:
    """Hash the sizes of files and `PROBES` samples of each. Raises `OSError`."""
    made = hashlib.sha256()
    for file in files:
        made.update(b"%d " % file.size)
        with open(file.path, "rb") as opened:
            for number in range(PROBES):
                opened.seek(max(0, (file.size - PROBE_BYTES) * number // (PROBES - 1)))
                made.update(opened.read(PROBE_BYTES))
    return made.hexdigest()[:32]


def _tags(path: Path) -> dict[str, Any]:
    return read_tags(path).values()


def _check_unchanged(job: Job) -> None:
    for file in job.files:
        path = Path(file.path)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise FileMissing(path, "it was deleted during the analysis") from None
        if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
            raise FileChanged(path, "it changed during the analysis")


PROGRESS_SECONDS = 0.5  # minimum time between two progress lines


def _read_jobs(jobs: queue.SimpleQueue[dict[str, Any]]) -> None:
    # In a thread of its own, to notice the end of the parent even in mid-track.
    for line in sys.stdin.buffer:
        jobs.put(json.loads(line))
    os._exit(0)


def main(arguments: list[str]) -> int:
    """Run the worker.

    `arguments`: the analysis function, as `module:function`, and `background` to work only while no
    other process needs the processor.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "background" in arguments[1:]:
        lower_priority()
    mute_c_libraries()
    # Answers use a duplicate of standard output; whatever libraries print goes to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    analyse = find_analyser(arguments[0])
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    sent_at = 0.0

    def send(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    def progress(share: float) -> None:
        nonlocal sent_at
        if time.monotonic() >= sent_at + PROGRESS_SECONDS:
            sent_at = time.monotonic()
            send({"share": round(share, 4)})

    send({"up": True})
    while True:
        job = Job.from_dict(jobs.get())
        sent_at = time.monotonic()
        send(run_job(job, analyse, progress))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
