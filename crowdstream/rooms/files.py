"""Files of the same music in several rooms: by their path below each room's folder, or by content.

A file's content is recognised by its size and a digest of its beginning and end; a folder of stems
by those of its files.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crowdstream.system.safe_open import open_to_read

PART_BYTES = 65536  # at the beginning and at the end of a file
MAX_INDEXED = 200_000  # files and folders of a room that are searched by content
MAX_FOLDER_FILES = 64  # of stems
SEARCH_SECONDS = 30.0  # between two searches for a file that is missing
# The search of a large folder takes longer than a room may be silent, so it goes on in a thread; a
# file is not missing before its end. For this long it is waited for: a small folder is searched.
WAIT_SECONDS = 0.2


class RoomFiles:
    """The music of one room. `folder`: below which paths are relative; None: paths are absolute."""

    def __init__(
        self, folder: str | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = Path(folder).expanduser().absolute() if folder else None
        self._sizes: dict[int, list[Path]] | None = None
        self._sizes_until = 0.0  # when they are out of date
        self._search: threading.Thread | None = None
        self._being_found: dict[int, list[Path]] = {}
        self._found: dict[str, str] = {}
        self._described: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._absent: dict[str, float] = {}  # when to search for it again
        self._monotonic = monotonic
        self.missing = 0
        """Files of the leader that this room does not have."""

    def describe(self, path: str) -> dict[str, Any]:
        """Return a file of this room as other rooms can find it."""
        whole = Path(path).expanduser().absolute()
        shown = str(whole)
        if self._folder is not None:
            try:
                shown = str(whole.relative_to(self._folder))
            except ValueError:
                shown = whole.name
        try:
            status = whole.stat()
            stamp = (status.st_size, status.st_mtime_ns)
        except OSError:
            stamp = (0, 0)
        known = self._described.get(path)
        if known is None or known[0] != stamp:
            size, digest = fingerprint(whole)
            known = stamp, {"path": shown, "size": size, "print": digest}
            self._described[path] = known
        return known[1]

    def find(self, described: dict[str, Any]) -> str:
        """Return the absolute path of the leader's file in this room.

        A file that is missing is counted, and the path returned is the one at which it should be.
        """
        shown, size = str(described["path"]), int(described["size"])
        digest = str(described["print"])
        known = self._found.get(digest)
        if known is not None and os.path.exists(known):
            return known
        path = self._place(shown)
        now = self._monotonic()
        if not digest or now < self._absent.get(digest, 0.0):
            return str(path)
        match: Path | None = path
        if fingerprint(path) != (size, digest):
            candidates = self._of_size(size, now)
            if candidates is None:
                return str(path)
            match = next(
                (one for one in candidates if fingerprint(one) == (size, digest)), None
            )
        if match is None:
            self.missing += digest not in self._absent
            self._absent[digest] = now + SEARCH_SECONDS
            return str(path)
        self._found[digest] = str(match)
        return str(match)

    def outgoing(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message of control with each file as other rooms can find it."""
        changed: dict[str, Any] = replace_paths(
            message, lambda path: {"file": self.describe(path)}
        )
        return changed

    def incoming(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return another room's message with the path of each file in this room."""
        changed: dict[str, Any] = replace_paths(message, self.find)
        return changed

    def _place(self, shown: str) -> Path:
        if self._folder is None:
            return Path(shown)
        # A path from the network never leaves the folder.
        parts = [part for part in Path(shown).parts if part not in ("/", "..", ".")]
        return self._folder.joinpath(*parts)

    def _of_size(self, size: int, now: float) -> list[Path] | None:
        # Files and folders of a size; None while they are searched for.
        if self._sizes is not None and now >= self._sizes_until:
            self._sizes = None
        if self._sizes is None:
            if self._search is None:
                self._being_found = {}
                self._search = threading.Thread(
                    target=self._index, args=(self._being_found,), name="search", daemon=True
                )
                self._search.start()
                self._search.join(WAIT_SECONDS)
            if self._search.is_alive():
                return None
            self._sizes, self._search = self._being_found, None
            self._sizes_until = now + SEARCH_SECONDS
        return self._sizes.get(size, [])

    def _index(self, found: dict[int, list[Path]]) -> None:
        if self._folder is None:
            return
        count = 0
        for folder, folders, names in os.walk(self._folder):
            for name in [*names, *folders]:
                path = Path(folder, name)
                found.setdefault(_size_of(path), []).append(path)
                count += 1
            if count > MAX_INDEXED:
                break


def _size_of(path: Path) -> int:
    # Size of a file, or of a folder's files; 0 if it can't be read.
    try:
        if not path.is_dir():
            return path.stat().st_size
        names = sorted(one for one in path.iterdir() if one.is_file())[:MAX_FOLDER_FILES]
        return sum(one.stat().st_size for one in names)
    except OSError:
        return 0


def fingerprint(path: Path) -> tuple[int, str]:
    """Return size and digest of a file, or of a folder's files; (0, "") if it can't be read."""
    try:
        if path.is_dir():
            names = sorted(one for one in path.iterdir() if one.is_file())[:MAX_FOLDER_FILES]
            prints = [(one.name, *fingerprint(one)) for one in names]
            digest = hashlib.sha256(repr(prints).encode()).hexdigest()[:32]
            return sum(size for _, size, _ in prints), digest
        with open_to_read(path, ()) as file:  # a named pipe must not be waited for
            size = os.fstat(file.fileno()).st_size
            digest_of = hashlib.sha256(file.read(PART_BYTES))
            if size > 2 * PART_BYTES:
                file.seek(size - PART_BYTES)
                digest_of.update(file.read(PART_BYTES))
            return size, digest_of.hexdigest()[:32]
    except OSError:
        return 0, ""


def replace_paths(value: Any, change: Any) -> Any:
    """Return a copy of a JSON value in which `change` has replaced each {"file": ...}."""
    if isinstance(value, dict):
        if value.keys() == {"file"}:
            return change(value["file"])
        return {key: replace_paths(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [replace_paths(one, change) for one in value]
    return value
