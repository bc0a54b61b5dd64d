"""Finding the tracks below folders: folders of stems, stem files, single files.

What makes a folder of stems is decided in `audiofile/stems/folder.py`. Folders that are links are
looked
into once, whatever leads to them, so that links in a circle come to an end; and so is every file.
A link that leads out of the folders that are searched is not followed: a deck would refuse what is
there, and pages do not show it.
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
from crowdstream.audiofile.stems.folder import SEVERAL, StemFile, Verdict
from crowdstream.audiofile.stems.folder import STEMS as ONE_TRACK
from crowdstream.audiofile.stems.sums import Access
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

    Afterwards `skipped` counts stem files that could not, `foreign` files in formats that no deck
    can load, and `unread` holds the paths that could not be looked at or into, which says nothing
    of what is there. `explained`: each folder with sound in it, what it was taken for, and why.
    `roots`: folders that links may lead into, besides those that are searched.
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

    def find(self, tops: Iterable[str]) -> Iterator[Found]:
        """The tracks that these files and folders are, or hold, in the order of their names."""
        spelled = [(top, spelled_path(top)) for top in tops]
        self._bounds = list(self._roots)
        for _, path in spelled:
            with contextlib.suppress(ValueError):  # a zero byte: no path at all
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
            self._trouble(path, "it is a link to what is not there")
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
                "name that folder, too, here and as a media root"
            )  # fmt: skip
        return True

    def _tracks(self, folder: str, names: list[str]) -> Iterator[Found]:
        sounds = [name for name in names if is_audio(name)]
        verdict = self._verdict(folder) if len(names) <= MAX_ENTRIES else None
        singles = set(sounds)
        lost: set[str] = set()
        if verdict is not None:
            if verdict.kind == ONE_TRACK:
                # A stem that leads out of the media folders has been told: no deck loads the rest.
                if all(stem.path.name in singles for stem in verdict.stems):
                    yield from self._one_track(folder, verdict)
                singles = {one.path.name for one in verdict.left_out if one.track}
            elif verdict.kind == SEVERAL:
                self._trouble(
                    folder, f"{verdict.reason}; put those of each track into a folder of its own"
                )
                singles -= {path.name for path in verdict.scattered}
            lost = {one.path.name for one in verdict.left_out if one.lost}
        for name in names:
            path = os.path.join(folder, name)
            if is_stem_file(name) and not self._unpacks:
                self._skip(path)
            elif name in lost:
                self._trouble(path, f"{foreign_reason(name)}; its track is played without it")
            elif is_foreign(name):
                self.foreign += 1
            elif is_stem_file(name) or name in singles:
                yield from self._file(path)

    def _verdict(self, folder: str) -> Verdict | None:
        try:
            verdict = folder_verdict(Path(folder), Access())
        except (OSError, AudioFileError):
            return None  # each of its files is looked at by itself
        if verdict is not None:
            self.explained.append((folder, explanation(verdict)))
        return verdict

    def _one_track(self, folder: str, verdict: Verdict) -> Iterator[Found]:
        count = len(verdict.stems)
        if count > MAX_STEMS:
            self._trouble(
                folder, f"it holds {count} stems, and a deck has {MAX_STEMS}: "
                "mix some of them together"
            )  # fmt: skip
            return
        yield from self._folder_of_stems(folder, verdict.stems)

    def _folder_of_stems(self, folder: str, stems: Sequence[StemFile]) -> Iterator[Found]:
        marks = []
        for stem in stems:
            mark = self._mark(str(stem.path), stem.name)
            if mark is None:
                return
            marks.append(mark)
        name = os.path.basename(folder) or folder
        yield _found(folder, STEMS, name, marks, os.path.join(folder, FOLDER_SIDECAR))

    def _file(self, path: str) -> Iterator[Found]:
        name = os.path.splitext(os.path.basename(path))[0]
        mark = self._mark(path, name)
        if mark is None:
            return
        kind = STEM_FILE if is_stem_file(path) else SINGLE
        sidecar = str(sidecar_of(Path(mark.path)))
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


def _is_music(name: str) -> bool:
    return is_audio(name) or is_stem_file(name) or is_foreign(name)


def spelled_path(path: str) -> str:
    """A path that a person has given, with '~' replaced and its names as they are on disk."""
    return str(nearest_spelling(Path(os.path.expanduser(path))))


def explanation(verdict: Verdict) -> str:
    """What a folder was taken for, and why, in one line."""
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
