"""Listings and searches of the media folders, without opening any file.

Paths sent to pages begin with the number of a media folder: `0/Sets/Night Drive`. Nothing outside
the media folders is accessed, even where links lead out of them. For worker threads; the functions
share no state.
"""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.stems.folder import STEMS, FileAccess
from crowdstream.audiofile.stems.track_files import TrackFiles, folder_verdict, is_audio, track_of
from crowdstream.system.safe_open import open_inside, real_path, root_of
from crowdstream.system.text import normalize_accents
from crowdstream.web.search_query import Term

MAX_LISTED = 100_000  # entries of a folder
MAX_FOUND = 1000  # results of a search
MAX_WALKED = 500_000  # entries examined by a search
SEARCH_SECONDS = 5.0
DEPTH = 24  # nested folders
REST_ENTRIES, REST_SECONDS = 500, 0.0005  # pause after so many entries, for other threads
_DIGITS = re.compile(r"(\d+)")


class MediaNotFound(Exception):
    """A path names nothing inside the media folders; the text gives the reason."""


class SearchAbandoned(Exception):
    """Nobody waits for the result of a search any more."""


@dataclass(frozen=True)
class Listing:
    """Names of a folder's subfolders and audio files, in natural order (2 before 10)."""

    folders: tuple[str, ...]
    files: tuple[str, ...]
    truncated: bool = False
    outside: int = 0  # links that lead out of the media folders: no deck would load their targets

    def __len__(self) -> int:
        return len(self.folders) + len(self.files)


@dataclass(frozen=True)
class Found:
    """One result: its path for pages, its real path, and whether it is a folder."""

    path: str
    real: Path
    folder: bool


def sort_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key of a name: text without regard to case, numbers by value."""
    parts = _DIGITS.split(name.casefold())
    return [
        (0, int(part[:18]), "") if number % 2 else (1, 0, part)
        for number, part in enumerate(parts)
        if part
    ]


def resolve(path: str, roots: Sequence[Path]) -> tuple[Path, Path]:
    """The media folder that contains a page's path, and the real path. Raises `MediaNotFound`."""
    number, _, below = path.partition("/")
    if not number.isascii() or not number.isdigit() or int(number[:6]) >= len(roots):
        raise MediaNotFound("there is no such media folder")
    if "\0" in below or len(path) > 4096:
        raise MediaNotFound("no folder can have such a name")
    try:
        root = real_path(roots[int(number[:6])])
        real = real_path(root / below) if below else root
    except OSError:
        raise MediaNotFound("there is no such folder") from None
    if root_of(real, roots) is None:
        raise MediaNotFound("it lies outside the media folders")
    return root, real


def list_folder(real: Path, roots: Sequence[Path]) -> Listing:
    """The audio files and subfolders of a folder. Raises `MediaNotFound`."""
    folders: list[str] = []
    files: list[str] = []
    truncated = False
    outside = 0
    for count, entry in enumerate(_entries(real, roots)):
        if count >= MAX_LISTED:
            truncated = True
            break
        folder, audio = _is_folder(entry), _is_audio(entry)
        if (folder or audio) and entry.is_symlink() and not _is_inside(real / entry.name, roots):
            outside += 1
        elif folder:
            folders.append(entry.name)
        elif audio:
            files.append(entry.name)
    return Listing(
        tuple(sorted(folders, key=sort_key)), tuple(sorted(files, key=sort_key)), truncated, outside
    )


def search(
    terms: Sequence[Term],
    roots: Sequence[Path],
    fits: Callable[[Found, Sequence[Term]], bool] = lambda _found, _terms: False,
    abandoned: Callable[[], bool] = lambda: False,
) -> tuple[list[Found], bool]:
    """Entries that match all terms, and whether the search is complete.

    Folders come first, then files, each by name. Words are searched for in the whole path, and at
    least one must occur in the name itself. Terms that the path does not decide are passed to
    `fits(found, terms)`, which checks the tempo and key of a track. Raises `SearchAbandoned` once
    `abandoned()` is true.
    """
    folders: list[Found] = []
    files: list[Found] = []
    tracks: set[str] = set()  # matching folders of stems: their files are not listed again
    until, whole = time.monotonic() + SEARCH_SECONDS, True
    for walked, found in enumerate(_walk(roots), 1):
        if abandoned():
            raise SearchAbandoned
        if len(folders) + len(files) >= MAX_FOUND or walked > MAX_WALKED:
            whole = False
            break
        if walked % REST_ENTRIES == 0 and time.monotonic() > until:
            whole = False
            break
        text = normalize_accents(found.path).casefold()
        above, _, name = text.rpartition("/")
        rest = [term for term in terms if not term.in_text(text)]
        if rest:
            if any(term.plain for term in rest) or above in tracks or not fits(found, rest):
                continue
            if found.folder:
                tracks.add(text)
        elif not any(term.in_text(name) for term in terms):
            continue
        (folders if found.folder else files).append(found)

    def by_name(found: Found) -> list[tuple[int, int, str]]:
        return sort_key(found.path.rpartition("/")[2])

    return [*sorted(folders, key=by_name), *sorted(files, key=by_name)], whole


def stems_of(
    folder: Path, roots: Sequence[Path], access: FileAccess | None = None
) -> tuple[TrackFiles | None, bool]:
    """The track in a folder of stems (None for an ordinary folder), and whether that is certain.

    Without `access` the audio is not examined, so the result may be a guess from file names.
    """
    try:
        if root_of(real_path(folder), roots) is None:
            return None, True
        verdict = folder_verdict(folder, access)
        if verdict is None or verdict.kind != STEMS:
            return None, verdict is None or verdict.is_final
        if not all(_is_inside(stem.path, roots) for stem in verdict.stems):
            return None, True
        return track_of(folder, folder.name, verdict), verdict.is_final
    except (AudioFileError, OSError):
        return None, True


def _walk(roots: Sequence[Path]) -> Iterator[Found]:
    # Links to folders are not followed: they could form a cycle.
    for number, root in enumerate(roots):
        real_root = real_path(root)
        waiting = [(str(number), real_root, 0)]
        while waiting:
            path, real, depth = waiting.pop()
            try:
                entries = list(_named(real, [real_root]))
            except MediaNotFound:
                continue
            for entry, folder in entries:
                found = Found(f"{path}/{entry}", real / entry, folder)
                yield found
                if folder and depth < DEPTH:
                    waiting.append((found.path, found.real, depth + 1))


def _named(real: Path, roots: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    for count, entry in enumerate(_entries(real, roots)):
        if count >= MAX_LISTED:
            return
        if entry.is_dir(follow_symlinks=False):
            yield entry.name, True
        elif _is_audio(entry) and (
            not entry.is_symlink() or _is_inside(real / entry.name, roots)
        ):
            yield entry.name, False


def _entries(real: Path, roots: Sequence[Path]) -> Iterator[os.DirEntry[str]]:
    # Visible entries whose name is valid text.
    try:
        fd = open_inside(real, roots, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
    except OSError as error:
        raise MediaNotFound(os.strerror(error.errno or 0)) from None
    try:
        with os.scandir(fd) as entries:
            for count, entry in enumerate(entries):
                if count % REST_ENTRIES == REST_ENTRIES - 1:
                    time.sleep(REST_SECONDS)
                name = entry.name
                if not name.startswith(".") and _is_text(name):
                    yield entry
    except OSError as error:
        raise MediaNotFound(os.strerror(error.errno or 0)) from None
    finally:
        os.close(fd)


def _is_text(name: str) -> bool:
    # Any space, joiner or other Unicode character is allowed, except control characters and bytes
    # that are not UTF-8, which JSON and OSC cannot carry.
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_audio(entry: os.DirEntry[str]) -> bool:
    try:
        return is_audio(entry.name) and entry.is_file()
    except OSError:
        return False


def _is_inside(path: Path, roots: Sequence[Path]) -> bool:
    try:
        return root_of(real_path(path), roots) is not None
    except OSError:
        return False
