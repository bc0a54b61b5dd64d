"""Tags, tempo and duration of audio files for listings, read in a thread and cached.

A file is read when a listing first shows it; until then its facts are unknown, and no request waits
for them. Results of the library (`crowdstream analyze`) take precedence over the file's own tags.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crowdstream.audiofile.beatgrid import MIN_CERTAIN_CONFIDENCE, GridError, find_grid
from crowdstream.audiofile.duration import duration_seconds
from crowdstream.audiofile.stems.folder import FileAccess
from crowdstream.audiofile.stems.track_files import folder_verdict
from crowdstream.audiofile.tags import read_tags
from crowdstream.library import default_path
from crowdstream.library.database import Library, LibraryError
from crowdstream.library.models import Entry

MAX_KNOWN = 20_000  # files, about 300 bytes each
MAX_QUEUED = 20_000
LOOK_SECONDS = 10.0  # between two looks for the library's file


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Facts about a track for a listing. Tempo in BPM, length in seconds; None: unknown."""

    title: str = ""
    artist: str = ""
    key: str = ""
    bpm: float | None = None
    length: float | None = None
    uncertain: bool = False  # the beat grid may be wrong
    uncertain_downbeat: bool = False


Mark = tuple[str, int, int]
"""The version of a file: path, size in bytes and modification time in ns."""


def mark_of(path: Path) -> Mark | None:
    """The file's mark; None if it cannot be accessed."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return str(path), status.st_size, status.st_mtime_ns


class FileInfoCache:
    """Reads files in a background thread. All methods may be called from any thread."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots
        self._known: OrderedDict[Mark, FileInfo] = OrderedDict()
        self._queue: OrderedDict[Mark, tuple[Path, ...]] = OrderedDict()
        self._folders: OrderedDict[Path, None] = OrderedDict()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._library: Library | None = None
        self._identity: tuple[int, int] | None = None  # of the library's file
        self._look_at = 0.0

    def queue_folders(self, folders: Iterable[Path]) -> None:
        """Queue folders whose audio decides whether they are the stems of one track.

        The verdicts are cached where `find_stems` looks for them
        (`audiofile/stems/folder_cache.py`).
        """
        with self._change:
            for folder in folders:
                self._folders[folder] = None
                self._folders.move_to_end(folder)
            while len(self._folders) > MAX_QUEUED:
                self._folders.popitem(last=False)
            self._begin()

    def look_up(self, tracks: Iterable[tuple[Path, ...]]) -> list[FileInfo | None]:
        """The known facts about tracks, each given by its audio files; unknown ones are queued.

        The most recent request is read first: it is what a person is looking at now.
        """
        marks = [(mark_of(stems[0]), stems) for stems in tracks]
        found: list[FileInfo | None] = []
        with self._change:
            for mark, stems in reversed(marks):
                if mark is None:
                    found.append(FileInfo())
                    continue
                analysed = self._analysed(mark, stems)
                if analysed is not None:
                    found.append(analysed)
                    continue
                about = self._known.get(mark)
                if about is None:
                    self._queue[mark] = stems
                    self._queue.move_to_end(mark)
                else:
                    self._known.move_to_end(mark)
                found.append(about)
            while len(self._queue) > MAX_QUEUED:
                self._queue.popitem(last=False)
            self._begin()
        found.reverse()
        return found

    def look_again(self) -> None:
        """Open the library database at the next request: an analysis has just finished."""
        self._look_at = 0.0

    def wait(self, seconds: float) -> bool:
        """Wait until everything queued is read. Returns False after a timeout."""
        with self._change:
            return self._change.wait_for(lambda: self._thread is None, seconds)

    def _analysed(self, mark: Mark, stems: tuple[Path, ...]) -> FileInfo | None:
        # The library's entry, if it describes this version of the file. Takes about 50 µs.
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._open_library()
        if self._library is None:
            return None
        first = stems[0]
        try:
            for path in (first.parent, first) if len(stems) > 1 else (first, first.parent):
                entry = self._library.find_by_path(os.path.realpath(path))
                if entry is not None:
                    return _of_entry(entry, mark)
        except (LibraryError, OSError, ValueError):
            self._library.close()
            self._library = None
        return None

    def _open_library(self) -> None:
        # Also again if another file has taken its place, as after `analyze --new-library`.
        path = default_path()
        identity: tuple[int, int] | None = None
        with contextlib.suppress(OSError):
            status = os.stat(path)
            identity = status.st_dev, status.st_ino
        if self._library is not None and identity != self._identity:
            self._library.close()
            self._library = None
        if self._library is None:
            with contextlib.suppress(LibraryError):
                self._library, self._identity = Library(path, write=False), identity

    def _begin(self) -> None:
        if (self._queue or self._folders) and self._thread is None:
            self._thread = threading.Thread(target=self._read, name="file-info", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        while True:
            with self._change:
                if not self._queue and not self._folders:
                    self._thread = None
                    self._change.notify_all()
                    return
                folder = self._folders.popitem()[0] if self._folders else None
                if folder is None:
                    mark, stems = self._queue.popitem()
            if folder is not None:
                with contextlib.suppress(Exception):  # as in `_about`
                    folder_verdict(folder, FileAccess(self._roots))
                continue
            about = self._about(stems)
            with self._change:
                self._known[mark] = about
                while len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)

    def _about(self, stems: tuple[Path, ...]) -> FileInfo:
        try:
            tags = read_tags(stems[0], self._roots)
            bpm, sure = tags.bpm, 0.0
            try:
                grid = find_grid(stems, self._roots, tags)
                bpm, sure = (grid.grid.bpm, grid.confidence) if grid else (bpm, 0.0)
            except GridError:
                pass
            length = duration_seconds(stems[0], self._roots)
        except Exception:  # an unforeseen kind of damage must not end the thread
            return FileInfo()
        return FileInfo(
            tags.title, tags.artist, tags.key, round(bpm, 2) if bpm else None,
            round(length, 2) if length else None, bool(bpm) and sure < MIN_CERTAIN_CONFIDENCE,
        )  # fmt: skip


def _of_entry(entry: Entry, mark: Mark) -> FileInfo | None:
    if not any((file.size, file.mtime_ns) == mark[1:] for file in entry.files):
        return None  # the file has changed since its analysis
    return FileInfo(
        entry.title, entry.artist, entry.key or "", round(entry.bpm, 2) if entry.bpm else None,
        round(entry.seconds, 2) if entry.seconds else None, entry.uncertain,
        entry.uncertain_downbeat,
    )  # fmt: skip
