"""Compiled kernels that are no longer used."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Sequence
from pathlib import Path

UNUSED_SECONDS = 30 * 86400.0
"""Retention of kernels of other versions, for a user who goes back to an older version."""

# Named by a hash of the sources: a folder of numba's files, or one file of machine code.
_CACHE_NAME = re.compile(r"[0-9a-f]{16}(\.code)?")


def is_kernel_cache(folder: Path) -> bool:
    """Whether `folder` is a kernel cache of this program and belongs to this user."""
    if folder.name != "kernels" or not folder.parent.name.startswith("crowdstream"):
        return False
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def unused_caches(present: Sequence[Path], seconds: float = UNUSED_SECONDS) -> list[Path]:
    """Return entries beside `present` of the same type that have been unused for `seconds`."""
    now = time.time()
    found = []
    for folder in {path.parent for path in present}:
        if not is_kernel_cache(folder):
            continue
        for entry in folder.iterdir():
            if entry in present or not _CACHE_NAME.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):  # gone meanwhile
                if entry.lstat().st_uid == os.getuid() and now - _last_use(entry) > seconds:
                    found.append(entry)
    return sorted(found)


def prune(present: Sequence[Path]) -> int:
    """Delete `leftovers` and mark `present` as used. Returns the number of deleted entries."""
    for path in present:
        # Without access times (noatime, as on a Raspberry Pi) this is the only record of the use.
        with contextlib.suppress(OSError):
            os.utime(path)
    old = unused_caches(present)
    for path in old:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(old)


def size(path: Path) -> int:
    """Size in bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_symlink())


def _last_use(path: Path) -> float:
    # Reading a folder updates its access time, so only the access times of files are meaningful.
    status = path.lstat()
    latest = status.st_mtime
    if not stat.S_ISDIR(status.st_mode):
        return max(latest, status.st_atime)
    for folder, _folders, names in os.walk(path):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            latest = max(latest, status.st_mtime, status.st_atime)
    return latest
