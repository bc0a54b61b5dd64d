"""Find the tracks below folders: folders of stems, stem files and single files.

`audiofile/stems/folder.py` decides which folders hold the stems of one track. The scanner visits
each file and folder once, however many links lead to it, so circular links terminate. It does not
follow a link that leads out of the searched folders: a deck would refuse to load the target, and
the web page does not show it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crowdstream.audiofile.beatgrid import FOLDER_SIDECAR, sidecar_of
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.stems.folder import SEVERAL, FileAccess, StemFile, Verdict
from crowdstream.audiofile.stems.folder import STEMS as ONE_TRACK
from crowdstream.audiofile.stems.track_files import (
    MAX_ENTRIES,
    MAX_STEMS,
    folder_verdict,
    foreign_reason,
    is_audio,
    is_foreign,
    is_stem_file,
)
from crowdstream.system.safe_open import nearest_spelling
from crowdstream.system.text import printable

STEMS, STEM_FILE, SINGLE = "stems", "stem file", "file"
NO_FILE = "it is a pipe or a device, not a file"

Trouble = Callable[[str, str], None]
"""Callback for a path that is skipped: the path, and the reason."""


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a file when it was scanned, to detect changes later.

    name: of the stem.
    size: in bytes.
    mtime_ns: time of the last modification, in nanoseconds since the epoch.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class FoundTrack:
    """A track on the disk.

    path: real path of its folder or file.
    kind: `STEMS`, `STEM_FILE` or `SINGLE`.
    sidecar: path of the sidecar, which need not exist.
    sidecar_mark: changes when the sidecar changes; 0 if there is no sidecar.
    """

    path: str
    kind: str
    name: str
    files: tuple[FileState, ...]
    sidecar: str
    sidecar_mark: int

    @property
    def size(self) -> int:
        """Total size of the files in bytes."""
        return sum(file.size for file in self.files)


class Scanner:
    """Scan folders for tracks.

    trouble: called for each path that is skipped.
    unpacks: whether stem files (`.stem.mp4`) can be read.
    roots: folders that links may lead into, in addition to the searched ones.

    After `find` has finished:

    skipped: number of stem files skipped because `unpacks` is false.
    foreign: number of files in formats that no deck can load.
    unread: paths that could not be examined; tracks at or below them may still exist.
    explained: for each folder with audio files, how it was interpreted, and why.
    """

    def __init__(
        self, trouble: Trouble, unpacks: bool = True, roots: Sequence[str] = ()
    ) -> None:
        self._trouble = trouble
        self._unpacks = unpacks
        self._roots = [os.path.realpath(os.path.expanduser(root)) for root in roots]
        self._bounds: list[str] = []
        self.foreign = 0
        self.explained: list[tuple[str, str]] = []
        self._folders: set[tuple[int, int]] = set()
        self._files: set[tuple[int, int]] = set()
        self.skipped = 0
        self.unread: list[str] = []

    def find(self, tops: Iterable[str]) -> Iterator[FoundTrack]:
        """Yield the tracks at or below these files and folders, sorted by name in each folder."""
        spelled = [(top, spelled_path(top)) for top in tops]
        self._bounds = list(self._roots)
        for _, path in spelled:
            with contextlib.suppress(ValueError):  # a zero byte: not a path at all
                self._bounds.append(os.path.realpath(path))
        for top, path in spelled:
            try:
                real = os.path.realpath(path, strict=True)
                status = os.stat(real)
            except (OSError, ValueError) as error:
                self._fail(top, error)
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(real, status)
            elif is_stem_file(real) and not self._unpacks:
                self._skip(real)
            else:
                yield from self._file(real)

    def _below(self, top: str, status: os.stat_result) -> Iterator[FoundTrack]:
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
        # The subfolders (real path and status), and the names of files that may hold music.
        folders: list[tuple[str, os.stat_result]] = []
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = os.path.join(folder, entry.name)
                try:
                    if entry.is_symlink() and self._leads_out(path):
                        continue
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
            self._trouble(path, "it is a broken link")
        else:
            self._trouble(path, NO_FILE)
        return False

    def _leads_out(self, path: str) -> bool:
        real = os.path.realpath(path)
        if not os.path.exists(real) or any(
            real == bound or real.startswith(bound.rstrip("/") + "/") for bound in self._bounds
        ):
            return False
        if os.path.isdir(real) or _is_music(path):
            self.unread.append(os.path.abspath(path))
            self._trouble(
                path, f"it lies outside the media folders: it is a link to {printable(real)}; "
                "name that folder here and as a media root, too"
            )  # fmt: skip
        return True

    def _tracks(self, folder: str, names: list[str]) -> Iterator[FoundTrack]:
        sounds = [name for name in names if is_audio(name)]
        verdict = self._verdict(folder) if len(names) <= MAX_ENTRIES else None
        singles = set(sounds)
        lost: set[str] = set()
        if verdict is not None:
            if verdict.kind == ONE_TRACK:
                # If a stem leads out of the media folders, which was reported above, no deck
                # loads the rest of the track.
                if all(stem.path.name in singles for stem in verdict.stems):
                    yield from self._one_track(folder, verdict)
                singles = {one.path.name for one in verdict.left_out if one.track}
            elif verdict.kind == SEVERAL:
                self._trouble(
                    folder, f"{verdict.reason}; put the stems of each track into their own folder"
                )
                singles -= {path.name for path in verdict.stem_paths}
            lost = {one.path.name for one in verdict.left_out if one.lost}
        for name in names:
            path = os.path.join(folder, name)
            if is_stem_file(name) and not self._unpacks:
                self._skip(path)
            elif name in lost:
                self._trouble(path, f"{foreign_reason(name)}; its track plays without it")
            elif is_foreign(name):
                self.foreign += 1
            elif is_stem_file(name) or name in singles:
                yield from self._file(path)

    def _verdict(self, folder: str) -> Verdict | None:
        try:
            verdict = folder_verdict(Path(folder), FileAccess())
        except (OSError, AudioFileError):
            return None  # each file in the folder is examined separately
        if verdict is not None:
            self.explained.append((folder, explanation(verdict)))
        return verdict

    def _one_track(self, folder: str, verdict: Verdict) -> Iterator[FoundTrack]:
        count = len(verdict.stems)
        if count > MAX_STEMS:
            self._trouble(
                folder, f"it holds {count} stems, and a deck has {MAX_STEMS}: "
                "mix some of them down"
            )  # fmt: skip
            return
        yield from self._folder_of_stems(folder, verdict.stems)

    def _folder_of_stems(self, folder: str, stems: Sequence[StemFile]) -> Iterator[FoundTrack]:
        marks = []
        for stem in stems:
            mark = self._mark(str(stem.path), stem.name)
            if mark is None:
                return
            marks.append(mark)
        name = os.path.basename(folder) or folder
        yield _found(folder, STEMS, name, marks, os.path.join(folder, FOLDER_SIDECAR))

    def _file(self, path: str) -> Iterator[FoundTrack]:
        name = os.path.splitext(os.path.basename(path))[0]
        mark = self._mark(path, name)
        if mark is None:
            return
        kind = STEM_FILE if is_stem_file(path) else SINGLE
        sidecar = str(sidecar_of(Path(mark.path)))
        title = name[: -len(".stem")] if kind == STEM_FILE else name
        yield _found(mark.path, kind, title, [mark], sidecar)

    def _mark(self, path: str, name: str) -> FileState | None:
        # None if the file cannot be examined, is not a regular file, or was found before under
        # another name.
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
        return FileState(name, real, status.st_size, status.st_mtime_ns, status.st_ino)

    def _skip(self, path: str) -> None:
        self.skipped += 1
        self.unread.append(path)

    def _fail(self, path: str, error: Exception) -> None:
        self.unread.append(os.path.abspath(path))
        code = error.errno if isinstance(error, OSError) else None
        if code == errno.ENOENT:
            reason = "there is no such file or folder"
        elif code == errno.ELOOP:
            reason = "it is a circular link"
        elif code in (errno.EACCES, errno.EPERM):
            reason = "this user may not open it; change its permissions"
        elif code is None:
            reason = "it is not a valid file name"
        else:
            reason = f"it can't be read ({os.strerror(code)})"
        self._trouble(path, reason)


def sidecar_mark(path: str) -> int:
    """Return a number that changes when a sidecar changes; 0 if there is no sidecar."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0
    return hash((status.st_size, status.st_mtime_ns)) | 1


def _found(path: str, kind: str, name: str, marks: list[FileState], sidecar: str) -> FoundTrack:
    return FoundTrack(path, kind, name, tuple(marks), sidecar, sidecar_mark(sidecar))


def _is_music(name: str) -> bool:
    return is_audio(name) or is_stem_file(name) or is_foreign(name)


def spelled_path(path: str) -> str:
    """Expand '~' in a path that a user gave, and match its Unicode spelling to the disk's."""
    return str(nearest_spelling(Path(os.path.expanduser(path))))


def explanation(verdict: Verdict) -> str:
    """Describe in one line how a folder was interpreted, and why."""
    names = ", ".join(stem.name for stem in verdict.stems)
    if verdict.kind == ONE_TRACK:
        count = len(verdict.stems)
        what = f"one track of {count} stem{'' if count == 1 else 's'} ({names})"
        if count > MAX_STEMS:
            what = f"{count} stems ({names}), of which a deck has {MAX_STEMS}"
    elif verdict.kind == SEVERAL:
        what = "stems of several tracks"
    else:
        what = "tracks of their own"
    left_out = "".join(f"; without {one.path.name}: {one.reason}" for one in verdict.left_out)
    return printable(f"{what}: {verdict.reason}{left_out}")
