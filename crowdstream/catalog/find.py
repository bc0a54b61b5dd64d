"""Finding the tracks below folders: folders of stems, stem files, single files.

What makes a folder of stems is decided in `library/tracks.py`. Folders that are links are looked
into once, whatever leads to them, so that links in a circle come to an end; and so is every file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crowdstream.library.errors import AudioFileError
from crowdstream.library.grids import FOLDER_SIDECAR, SUFFIX
from crowdstream.library.tracks import (
    AUDIO_EXTENSIONS,
    MOST_ENTRIES,
    STEM_NAMES,
    TrackFiles,
    find_stems,
    stem_name,
)

STEMS, STEM_FILE, SINGLE = "stems", "stem file", "file"
NO_FILE = "it is a pipe or a device, not a file"
STEM_FILE_ENDINGS = (".stem.mp4", ".stem.m4a")

Trouble = Callable[[str, str], None]
"""Is told of a path that is passed over, and why."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A file as it was: its stem's name, path, size in bytes, time of its last change, inode."""

    name: str
    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Found:
    """A track: the real path of its folder or file, what it is, its files, and its sidecar.

    `sidecar` is where one is or would be; `sidecar_mark` is 0 where there is none, else it changes
    when the sidecar does.
    """

    path: str
    kind: str
    name: str
    files: tuple[Mark, ...]
    sidecar: str
    sidecar_mark: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Finder:
    """Looks below folders. `unpacks`: whether stem files (`.stem.mp4`) can be read.

    Afterwards `skipped` counts stem files that could not, and `unread` holds the paths that could
    not be looked at or into, which says nothing of what is there.
    """

    def __init__(self, trouble: Trouble, unpacks: bool = True) -> None:
        self._trouble = trouble
        self._unpacks = unpacks
        self._folders: set[tuple[int, int]] = set()
        self._files: set[tuple[int, int]] = set()
        self.skipped = 0
        self.unread: list[str] = []

    def find(self, tops: Iterable[str]) -> Iterator[Found]:
        """The tracks that these files and folders are, or hold, in the order of their names."""
        for top in tops:
            try:
                real = os.path.realpath(os.path.expanduser(top), strict=True)
                status = os.stat(real)
            except (OSError, ValueError) as error:
                self._fail(top, error)
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(real, status)
            elif _is_stem_file(real) and not self._unpacks:
                self._skip(real)
            else:
                yield from self._file(real)

    def _below(self, top: str, status: os.stat_result) -> Iterator[Found]:
        waiting = [(top, status)]
        while waiting:
            folder, status = waiting.pop()
            identity = status.st_dev, status.st_ino
            if identity in self._folders:
                continue
            self._folders.add(identity)
            try:
                folders, names = self._look_into(folder)
            except OSError as error:
                self._fail(folder, error)
                continue
            yield from self._tracks(folder, names)
            waiting += reversed(folders)

    def _look_into(self, folder: str) -> tuple[list[tuple[str, os.stat_result]], list[str]]:
        # The folders in it, by their real paths, and the names of the files that may be music.
        folders: list[tuple[str, os.stat_result]] = []
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = os.path.join(folder, entry.name)
                try:
                    if entry.is_dir():
                        real = os.path.realpath(path) if entry.is_symlink() else path
                        folders.append((real, os.stat(real)))
                    elif _is_music(entry.name) and self._is_file(entry, path):
                        names.append(entry.name)
                except OSError as error:
                    self._fail(path, error)
        return sorted(folders, key=lambda one: one[0]), sorted(names)

    def _is_file(self, entry: os.DirEntry[str], path: str) -> bool:
        if entry.is_file():
            return True
        if entry.is_symlink() and not os.path.exists(path):
            self.unread.append(os.path.abspath(path))
            self._trouble(path, "it is a link to what is not there")
        else:
            self._trouble(path, NO_FILE)
        return False

    def _tracks(self, folder: str, names: list[str]) -> Iterator[Found]:
        sounds = [name for name in names if not _is_stem_file(name)]
        known = [name for name in sounds if stem_name(Path(name)) in STEM_NAMES]
        track = self._stems(folder, known) if known and len(sounds) <= MOST_ENTRIES else None
        if track is not None:
            yield from self._folder_of_stems(folder, track)
            sounds = []
        elif len(known) > 1:
            scattered = _scattered(known)
            if scattered:
                self._trouble(
                    folder,
                    f"{len(scattered)} files in it are stems of several tracks; "
                    "put those of each track into a folder of its own",
                )
                sounds = [name for name in sounds if name not in scattered]
        for name in names:
            if _is_stem_file(name) and not self._unpacks:
                self._skip(os.path.join(folder, name))
            elif _is_stem_file(name) or name in sounds:
                yield from self._file(os.path.join(folder, name))

    def _stems(self, folder: str, known: list[str]) -> TrackFiles | None:
        stems = [stem_name(Path(name)) for name in known]
        if len(set(stems)) < len(stems):
            return None  # two files of drums: they belong to two tracks
        try:
            return find_stems(Path(folder))
        except AudioFileError:
            return None

    def _folder_of_stems(self, folder: str, track: TrackFiles) -> Iterator[Found]:
        marks = []
        for stem in track.stems:
            mark = self._mark(str(stem.path), stem.name)
            if mark is None:
                return
            marks.append(mark)
        yield _found(folder, STEMS, track.name, marks, os.path.join(folder, FOLDER_SIDECAR))

    def _file(self, path: str) -> Iterator[Found]:
        name = os.path.splitext(os.path.basename(path))[0]
        mark = self._mark(path, name)
        if mark is None:
            return
        kind = STEM_FILE if _is_stem_file(path) else SINGLE
        sidecar = os.path.splitext(mark.path)[0] + SUFFIX
        title = name[: -len(".stem")] if kind == STEM_FILE else name
        yield _found(mark.path, kind, title, [mark], sidecar)

    def _mark(self, path: str, name: str) -> Mark | None:
        # None: it can't be looked at, is no file, or came before under another name.
        try:
            real, status = path, os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                real = os.path.realpath(path)
                status = os.stat(real)
        except (OSError, ValueError) as error:
            self._fail(path, error)
            return None
        if not stat.S_ISREG(status.st_mode):
            self._trouble(path, NO_FILE)
            return None
        identity = status.st_dev, status.st_ino
        if identity in self._files:
            return None
        self._files.add(identity)
        return Mark(name, real, status.st_size, status.st_mtime_ns, status.st_ino)

    def _skip(self, path: str) -> None:
        self.skipped += 1
        self.unread.append(path)

    def _fail(self, path: str, error: Exception) -> None:
        self.unread.append(os.path.abspath(path))
        code = error.errno if isinstance(error, OSError) else None
        if code == errno.ENOENT:
            reason = "there is no such file or folder"
        elif code == errno.ELOOP:
            reason = "its links run in a circle"
        elif code in (errno.EACCES, errno.EPERM):
            reason = "this user may not open it; change its permissions"
        elif code is None:
            reason = "no file can have such a name"
        else:
            reason = f"it can't be read ({os.strerror(code)})"
        self._trouble(path, reason)


def sidecar_mark(path: str) -> int:
    """A number that changes when a sidecar does; 0 where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0
    return hash((status.st_size, status.st_mtime_ns)) | 1


def _found(path: str, kind: str, name: str, marks: list[Mark], sidecar: str) -> Found:
    return Found(path, kind, name, tuple(marks), sidecar, sidecar_mark(sidecar))


def _is_stem_file(name: str) -> bool:
    return name.lower().endswith(STEM_FILE_ENDINGS)


def _is_music(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS or _is_stem_file(name)


def _scattered(known: list[str]) -> set[str]:
    # Files that share what comes before their stem's name: 'song_(Vocals)', 'song_(Drums)'.
    songs = defaultdict(list)
    for name in known:
        stem = os.path.splitext(name)[0].lower()
        ending = stem_name(Path(name))
        songs[stem[: stem.rfind(ending.rstrip("s")[:4])].rstrip(" -_([")].append(name)
    return {name for names in songs.values() if len(names) > 1 for name in names}
