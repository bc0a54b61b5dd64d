"""The cache of finished peaks: a private folder of limited size."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from crowdstream.settings.files import home_folder
from crowdstream.system.private_dirs import create_private_folder, temporary_folders
from crowdstream.web.waveforms.peak_file import (
    HEADER_BYTES,
    DamagedWave,
    Header,
    Shape,
    key,
    name_digest,
)

MAX_BYTES = 512 << 20  # of all finished peaks: a thousand stems of five minutes
SPARE_BYTES = 256 << 20  # that stay free on the disk
_OURS = re.compile(r"[0-9a-f]{32}\.wave")


def cache_place(environ: Mapping[str, str]) -> tuple[Path, bool]:
    """The cache folder, created if needed, and whether it is temporary: its owner removes it."""
    base = environ.get("XDG_CACHE_HOME") or str(home_folder(environ) / ".cache")
    for root, name in (
        (Path(base), "crowdstream"),
        *((one, f"crowdstream-{os.geteuid()}") for one in temporary_folders()),
    ):
        with contextlib.suppress(OSError):
            return create_private_folder(root, name, "waves"), False
    return Path(tempfile.mkdtemp(prefix="crowdstream-waves-")), True


class Unfinished:
    """A peak file in progress. It is locked: a file without a lock belongs to a dead process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.fd, made = tempfile.mkstemp(".part", f"{name}.", folder)
        self.path = Path(made)
        self._goal = folder / f"{name}.wave"
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def keep(self) -> None:
        """Move the finished file to its final name."""
        os.rename(self.path, self._goal)
        self.path = self._goal
        self._close()

    def drop(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        os.close(self.fd)
        self.fd = -1


class Store:
    """Finished peaks, and space for more."""

    def __init__(self, folder: Path, temporary: bool = False, most: int = MAX_BYTES) -> None:
        self.folder = folder
        self._temporary = temporary
        self._most = most
        self._remove_leavings()

    def find(self, path: str, identity: tuple[int, int]) -> tuple[Path, Header] | None:
        """The finished peaks of a sound, or None; damaged ones are deleted."""
        file = self.folder / f"{key(path, identity)}.wave"
        try:
            header = checked(file)
            if (header.name, header.identity) != (name_digest(path), identity):
                raise DamagedWave("it belongs to another sound")
        except FileNotFoundError:
            return None
        except (DamagedWave, OSError):
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(file)  # `make_room` deletes the least recently used files first
        return file, header

    def begin(self, path: str, identity: tuple[int, int], shape: Shape) -> Unfinished:
        """Create a file for the peaks of a sound. Raises `OSError`."""
        self.make_room(shape.size)
        return Unfinished(self.folder, key(path, identity))

    def make_room(self, size: int) -> None:
        """Delete the least recently used files until `size` bytes fit. Raises `OSError`."""
        entries = []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(OSError):  # another server may have deleted it
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    entries.append((status.st_mtime, status.st_size, entry.path))
        entries.sort(reverse=True)
        total = sum(size for _time, size, _path in entries)
        while entries and (total + size > self._most or self._free() < size + SPARE_BYTES):
            _time, gone, oldest = entries.pop()
            with contextlib.suppress(OSError):
                os.unlink(oldest)
            total -= gone
        if self._free() < size + SPARE_BYTES:
            raise OSError(f"the disk of {self.folder} is too full for waveforms")

    def close(self) -> None:
        """Delete a temporary folder."""
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _free(self) -> int:
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def _remove_leavings(self) -> None:
        for part in self.folder.glob("*.part"):
            with contextlib.suppress(OSError):
                fd = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
                finally:
                    os.close(fd)


def checked(file: Path) -> Header:
    """The header of a finished peak file. Raises `DamagedWave` and `OSError`."""
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        header = Header.unpacked(os.pread(fd, HEADER_BYTES, 0))
        if not header.finished or header.shape.rate <= 0 or header.shape.bucket <= 0:
            raise DamagedWave("it is not finished")
        if os.fstat(fd).st_size != header.shape.size:
            raise DamagedWave("its size is wrong")
        check, at = 0, HEADER_BYTES
        while data := os.pread(fd, 1 << 20, at):
            check = zlib.crc32(data, check)
            at += len(data)
        if check != header.check:
            raise DamagedWave("its checksum is wrong")
        return header
    finally:
        os.close(fd)
