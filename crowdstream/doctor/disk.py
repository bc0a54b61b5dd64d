"""How fast are the disks that music comes from and goes to, and how much room is left?"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crowdstream.doctor.check import FAIL, OK, WARN, Check
from crowdstream.settings import Settings

TRIAL_BYTES = 32 << 20  # of a card: more than its own cache
TRIAL_SECONDS = 2.0  # for writing, and once more for reading
PIECE = 1 << 20
SEARCHED = 2000  # files that are looked at for one to read, where none can be written

# 16 stems of 16 bits at 44.1 kHz are 2.8 MB/s; at rate 4, or while as much is loading, 11 MB/s.
MIN_READ = 3e6
GOOD_READ = 12e6
# Master and four decks in 24 bits, 1.3 MB/s, with pauses of the card.
GOOD_WRITE = 4e6
HOUR = 44100 * 2 * 3 * 3600  # bytes of an hour in 24 bits
MIN_FREE = 256 << 20


@dataclass(frozen=True)
class Speed:
    """Bytes a second; `write` 0: not tried. `cached`: what was read lay in memory, not on disk."""

    read: float
    write: float
    cached: bool


def folders(settings: Settings) -> dict[str, list[Path]]:
    """The folders that the server will use: "music", "recordings"."""
    tracks = [path for path in (settings.a, settings.b, settings.c, settings.d) if path]
    music = list(settings.media_root) or [path.parent for path in tracks] or [Path()]
    return {"music": sorted(set(music)), "recordings": [settings.record_folder or Path()]}


def measure(folder: Path) -> Speed:
    """Write a file and read it back past the system's cache, for `TRIAL_SECONDS` each.

    Where nothing may be written, a file that is there is read. Raises `OSError`.
    """
    try:
        # Without a name, so that it is gone whatever happens.
        with tempfile.TemporaryFile(dir=folder) as file:
            begin = time.monotonic()
            piece = os.urandom(PIECE)
            written = 0
            while written < TRIAL_BYTES and time.monotonic() - begin < TRIAL_SECONDS:
                written += os.write(file.fileno(), piece)
            os.fsync(file.fileno())
            write = written / (time.monotonic() - begin)
            return _read(file.fileno(), written, write)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise
    longest = max(_files(folder), key=lambda found: found[0], default=None)
    if longest is None:
        raise OSError(errno.EACCES, "nothing can be written there, and there is nothing to read")
    fd = os.open(longest[1], os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read(fd, min(longest[0], TRIAL_BYTES), 0.0)
    finally:
        os.close(fd)


def _files(folder: Path) -> Iterator[tuple[int, str]]:
    seen = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            seen += 1
            if seen > SEARCHED:
                return
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                yield os.stat(path).st_size, path


def _read(fd: int, size: int, write: float) -> Speed:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead of the look
    cached = _in_memory(fd, size)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    begin = time.monotonic()
    done = 0
    while done < size and time.monotonic() - begin < TRIAL_SECONDS:
        done += len(os.pread(fd, PIECE, done)) or size
    return Speed(done / max(time.monotonic() - begin, 1e-6), write, cached)


def _in_memory(fd: int, size: int) -> bool:
    """Whether most of a file still is in the system's cache, as far as it says."""
    page = bytearray(mmap.PAGESIZE)
    places = range(0, max(1, size - mmap.PAGESIZE), max(PIECE, size // 16))
    held = 0
    for place in places:
        with contextlib.suppress(OSError, AttributeError):  # EAGAIN: it would have to be read
            held += os.preadv(fd, [page], place, os.RWF_NOWAIT) > 0
    return held * 2 > len(places)


def speed(kind: str, folder: Path, trial: Speed | OSError | None = None) -> Check:
    """The disk below a folder; `trial` stands in for trying it."""
    name = f"disk speed ({kind})"
    data: dict[str, object] = {"folder": str(folder)}
    if trial is None:
        try:
            trial = measure(folder)
        except OSError as error:
            trial = error
    if isinstance(trial, OSError):
        reason = trial.strerror or str(trial)
        return Check(name, FAIL, f"{folder.absolute()}: {reason}", "see that the folder exists "
                     "and can be read", data)
    data |= {"read": trial.read, "write": trial.write, "cached": trial.cached}
    said = f"{folder.absolute()}: reads {trial.read / 1e6:.0f} MB/s"
    said += " (from memory: the disk itself was not reached)" if trial.cached else ""
    said += f", writes {trial.write / 1e6:.0f} MB/s" if trial.write else ", writing not allowed"
    faster = "use a faster medium, such as an SSD at USB 3, or raise --memory so that a set fits"
    if kind == "recordings":
        if not trial.write:
            fix = "choose a folder that can be written with --record-folder"
            return Check(name, WARN, said, fix, data)
        state = OK if trial.write >= GOOD_WRITE else WARN
    elif kind == "cache":  # read once, at the start
        state = OK
    elif trial.read < MIN_READ:
        state = FAIL
    else:
        state = OK if trial.read >= GOOD_READ else WARN
    return Check(name, state, said, "" if state == OK else faster, data)


def free_space(folder: Path, free: int | None = None) -> Check | None:
    """Room for recordings; `free` bytes stand in for asking. None where there is no folder."""
    if free is None:
        try:
            space = os.statvfs(folder)
        except OSError:
            return None
        free = space.f_bavail * space.f_frsize
    hours = free / HOUR
    said = f"{folder.absolute()}: {free / 1e9:.1f} GB, {hours:.1f} hours of recording"
    data = {"folder": str(folder), "bytes": free, "hours": hours}
    fix = "delete what is not needed, or choose another --record-folder"
    if free < MIN_FREE:
        return Check("free space", FAIL, said, fix, data)
    return Check("free space", WARN if hours < 2 else OK, said, fix if hours < 2 else "", data)
