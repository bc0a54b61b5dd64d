"""Free space of disks."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """Bytes that this user can still write to a folder's disk. Raises `OSError`.

    A file system without blocks, such as /proc, is not a disk and never full.
    """
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize if status.f_blocks else sys.maxsize


def existing(folder: Path) -> Path:
    """The folder, or if it does not exist yet, the nearest one above it that does."""
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
