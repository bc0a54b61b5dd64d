"""What is known of audio files for a list of them: tags, tempo, length; read in a thread, and kept.

A file is read when somebody looks at it. Until then nothing is known, and nobody waits. What the
library knows (`crowdstream analyze`) goes before what the files say of themselves.
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

from crowdstream.audiofile.beatgrid import CERTAIN, GridError, find_grid
from crowdstream.audiofile.duration import length_of
from crowdstream.audiofile.stems.sums import Access
from crowdstream.audiofile.stems.track_files import folder_verdict
from crowdstream.audiofile.tags import read_tags
from crowdstream.library.database import Library, LibraryError, default_place
from crowdstream.library.models import Entry

MAX_KNOWN = 20_000  # files; each takes some 300 bytes
MAX_QUEUED = 20_000
LOOK_SECONDS = 10.0  # between two looks whether there is a library now


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a list shows of a track. Tempo in beats a minute, length in seconds; None: unknown."""

    title: str = ""
    artist: str = ""
    key: str = ""
    bpm: float | None = None
    length: float | None = None
    uncertain: bool = False  # its beat grid may be wrong


Mark = tuple[str, int, int]
"""A file as it was: path, size and time of its last change."""


def mark_of(path: Path) -> Mark | None:
    """The file's mark, None where it can't be looked at."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return str(path), status.st_size, status.st_mtime_ns


class FileInfoCache:
    """Reads files in a thread of its own. Any thread may ask."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots
        self._known: OrderedDict[Mark, FileInfo] = OrderedDict()
        self._queue: OrderedDict[Mark, tuple[Path, ...]] = OrderedDict()
        self._folders: OrderedDict[Path, None] = OrderedDict()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._library: Library | None = None
        self._look_at = 0.0

    def listen(self, folders: Iterable[Path]) -> None:
        """Find out by the sound of their files whether folders are the stems of one track.

        What is found out is kept where `find_stems` looks (`audiofile/stems/folder_cache.py`).
        """
        with self._change:
            for folder in folders:
                self._folders[folder] = None
                self._folders.move_to_end(folder)
            while len(self._folders) > MAX_QUEUED:
                self._folders.popitem(last=False)
            self._begin()

    def look_up(self, tracks: Iterable[tuple[Path, ...]]) -> list[FileInfo | None]:
        """What is known of tracks, each given by its audio files; the rest will be read.

        What is asked for last is read first: it is what somebody looks at now.
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
        """Look at once whether there is a library now: something has been analysed."""
        self._look_at = 0.0

    def wait(self, seconds: float) -> bool:
        """Wait until all is read that was asked for; whether it is."""
        with self._change:
            return self._change.wait_for(lambda: self._thread is None, seconds)

    def _analysed(self, mark: Mark, stems: tuple[Path, ...]) -> FileInfo | None:
        # What the library knows, if it is of this very file. Takes some 50 µs.
        if self._library is None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            with contextlib.suppress(LibraryError):
                self._library = Library(default_place(), write=False)
        if self._library is None:
            return None
        first = stems[0]
        try:
            for path in (first.parent, first) if len(stems) > 1 else (first, first.parent):
                entry = self._library.about(os.path.realpath(path))
                if entry is not None:
                    return _of_entry(entry, mark)
        except (LibraryError, OSError, ValueError):
            self._library.close()
            self._library = None
        return None

    def _begin(self) -> None:
        if (self._queue or self._folders) and self._thread is None:
            self._thread = threading.Thread(target=self._read, name="catalogue", daemon=True)
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
                    folder_verdict(folder, Access(self._roots))
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
            length = length_of(stems[0], self._roots)
        except Exception:  # a file that nobody foresaw must not end the thread
            return FileInfo()
        return FileInfo(
            tags.title, tags.artist, tags.key, round(bpm, 2) if bpm else None,
            round(length, 2) if length else None, bool(bpm) and sure < CERTAIN,
        )  # fmt: skip


def _of_entry(entry: Entry, mark: Mark) -> FileInfo | None:
    if not any((file.size, file.mtime_ns) == mark[1:] for file in entry.files):
        return None  # it has changed since
    return FileInfo(
        entry.title, entry.artist, entry.key or "", round(entry.bpm, 2) if entry.bpm else None,
        round(entry.seconds, 2) if entry.seconds else None, entry.uncertain,
    )  # fmt: skip
