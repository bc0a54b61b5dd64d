"""One job: a track's files are looked at, read, analysed. It is the same wherever it is done."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crowdstream.analysis.result import Analysis
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
from crowdstream.library.scanner import STEM_FILE, Mark
from crowdstream.library.stem_mp4 import unpack
from crowdstream.system.text import printable

ANALYSER = "crowdstream.analysis.track:analyse_track"
PROBES, PROBE_BYTES = 8, 4096  # places of a file, and bytes there, that tell it from others
# What may be different next time, though the file is the same.
_PASSING = (DecoderMissing, FileChanged, FileMissing, FileUnreadable, PermissionRefused)

Progress = Callable[[float], None]
"""Is told the share of a track that is done, 0 to 1."""
Analyser = Callable[[TrackFiles, Progress], Analysis]


@dataclass(frozen=True)
class Job:
    """A track to analyse. `cache`: the folder that stem files are unpacked into."""

    number: int
    path: str
    kind: str
    name: str
    files: tuple[Mark, ...]
    cache: str

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Job:
        """The inverse."""
        return cls(**{**values, "files": tuple(Mark(**mark) for mark in values["files"])})


def find_analyser(name: str) -> Analyser:
    """The function that `module:function` names."""
    module, _, function = name.partition(":")
    found: Analyser = getattr(importlib.import_module(module), function)
    return found


def _untold(_share: float) -> None:
    pass


def perform(job: Job, analyse: Analyser, progress: Progress = _untold) -> dict[str, Any]:
    """Do a job. The answer can be written as JSON.

    `number`, and of a good track `analysis`, `tags`, `probe`, `play` (what a deck loads); of a bad
    one `error`, with `passing` true where it may be good the next time without having changed.
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
        return {**answer, "error": printable(reason), "passing": isinstance(error, _PASSING)}
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


def probe(files: Sequence[Mark]) -> str:
    """A hash of sizes, and of bytes at some places of each file. Raises `OSError`."""
    made = hashlib.sha256()
    for file in files:
        made.update(b"%d " % file.size)
        with open(file.path, "rb") as opened:
            for number in range(PROBES):
                opened.seek(max(0, (file.size - PROBE_BYTES) * number // (PROBES - 1)))
                made.update(opened.read(PROBE_BYTES))
    return made.hexdigest()[:32]


def _tags(path: Path) -> dict[str, Any]:
    tags = read_tags(path)
    return {**tags.texts(), **({"bpm": tags.bpm} if tags.bpm else {})}


def _check_unchanged(job: Job) -> None:
    for file in job.files:
        path = Path(file.path)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise FileMissing(path, "it was there a moment ago, and is gone") from None
        if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
            raise FileChanged(path, "it was changed while it was looked at")
