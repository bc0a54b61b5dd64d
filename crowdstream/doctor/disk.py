"""Speed and free space of the disks that hold music and recordings."""

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

TRIAL_BYTES = 32 << 20  # more than the cache of an SD card
TRIAL_SECONDS = 2.0  # for writing, and as long again for reading
PIECE = 1 << 20
MAX_SEARCHED_FILES = 2000  # files to search for one to read, in a folder that can't be written

# 16 stems of 16 bits at 44.1 kHz are 2.8 MB/s; at rate 4, or with another load in progress, 11
# MB/s.
MIN_READ = 3e6
GOOD_READ = 12e6
# Master and four decks in 24 bits are 1.3 MB/s; the rest makes up for pauses of the SD card.
GOOD_WRITE = 4e6
HOUR = 44100 * 2 * 3 * 3600  # bytes per hour in 24 bits
MIN_FREE = 256 << 20


@dataclass(frozen=True)
class Speed:
    """Bytes per second; `write` is 0 if not tested. `cached`: reads came from memory, not disk."""

    read: float
    write: float
    cached: bool


def folders(settings: Settings) -> dict[str, list[Path]]:
    """Return the folders that the server will use, under "music" and "recordings"."""
    decks = (settings.deck_a, settings.deck_b, settings.deck_c, settings.deck_d)
    tracks = [path for path in decks if path]
    music = list(settings.media_root) or [path.parent for path in tracks] or [Path()]
    return {"music": sorted(set(music)), "recordings": [settings.record_folder or Path()]}


def measure(folder: Path) -> Speed:
    """Write a file and read it back bypassing the system's cache, for `TRIAL_SECONDS` each.

    In a folder that can't be written, an existing file is read. Raises `OSError`.
    """
    try:
        # A file without a name is deleted in all cases.
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
        raise OSError(errno.EACCES, "the folder is not writable and has no file to read")
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
            if seen > MAX_SEARCHED_FILES:
                return
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                yield os.stat(path).st_size, path


def _read(fd: int, size: int, write: float) -> Speed:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no readahead from the next check
    cached = _in_memory(fd, size)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    begin = time.monotonic()
    done = 0
    while done < size and time.monotonic() - begin < TRIAL_SECONDS:
        done += len(os.pread(fd, PIECE, done)) or size
    return Speed(done / max(time.monotonic() - begin, 1e-6), write, cached)


def _in_memory(fd: int, size: int) -> bool:
    """Whether most of a file is still in the system's cache, as far as the system reports it."""
    page = bytearray(mmap.PAGESIZE)
    places = range(0, max(1, size - mmap.PAGESIZE), max(PIECE, size // 16))
    held = 0
    for place in places:
        with contextlib.suppress(OSError, AttributeError):  # EAGAIN: not in the cache
            held += os.preadv(fd, [page], place, os.RWF_NOWAIT) > 0
    return held * 2 > len(places)


def speed(kind: str, folder: Path, trial: Speed | OSError | None = None) -> Check:
    """Check the disk speed of a folder. Tests pass a `trial` instead of measuring."""
    name = f"disk speed ({kind})"
    data: dict[str, object] = {"folder": str(folder)}
    if trial is None:
        try:
            trial = measure(folder)
        except OSError as error:
            trial = error
    if isinstance(trial, OSError):
        reason = trial.strerror or str(trial)
        return Check(name, FAIL, f"{folder.absolute()}: {reason}", "check that the folder exists "
                     "and is readable", data)
    data |= {"read": trial.read, "write": trial.write, "cached": trial.cached}
    summary = f"{folder.absolute()}: reads {trial.read / 1e6:.0f} MB/s"
    summary += " (from memory: the disk itself was not tested)" if trial.cached else ""
    summary += f", writes {trial.write / 1e6:.0f} MB/s" if trial.write else ", writing not allowed"
    faster = "use a faster medium, such as an SSD at USB 3, or raise --cache-mb so that a set fits"
    if kind == "recordings":
        if not trial.write:
            fix = "choose a writable folder with --record-folder"
            return Check(name, WARN, summary, fix, data)
        state = OK if trial.write >= GOOD_WRITE else WARN
    elif kind == "cache":  # read only once, at startup
        state = OK
    elif trial.read < MIN_READ:
        state = FAIL
    else:
        state = OK if trial.read >= GOOD_READ else WARN
    return Check(name, state, summary, "" if state == OK else faster, data)


def free_space(folder: Path, free: int | None = None) -> Check | None:
    """Check the space for recordings. Tests pass `free` bytes. Returns None without a folder."""
    if free is None:
        try:
            space = os.statvfs(folder)
        except OSError:
            return None
        free = space.f_bavail * space.f_frsize
    hours = free / HOUR
    summary = f"{folder.absolute()}: {free / 1e9:.1f} GB, {hours:.1f} hours of recording"
    data = {"folder": str(folder), "bytes": free, "hours": hours}
    fix = "delete unneeded files, or choose another --record-folder"
    if free < MIN_FREE:
        return Check("free space", FAIL, summary, fix, data)
    return Check("free space", WARN if hours < 2 else OK, summary, fix if hours < 2 else "", data)
