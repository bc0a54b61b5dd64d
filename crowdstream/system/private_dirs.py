"""Folders that only this user can write to, because their contents are loaded as code.

numba stores compiled kernels as pickles: whoever can place a file there can have it executed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotPrivate(OSError):
    """A folder that belongs to another user, or that others may write to."""


def temporary_folders() -> list[Path]:
    """The folder for temporary files; none if no such folder can be written to.

    Python tries them by writing, which fails on a full disk.
    """
    try:
        return [Path(tempfile.gettempdir())]
    except OSError:
        return []


def check_private(folder: Path) -> None:
    """Check that `folder` belongs to this user and is closed to others.

    Raises `NotPrivate` with the reason. A symbolic link to a folder must be this user's, too.
    """
    user = os.geteuid()
    for status in (folder.lstat(), folder.stat()):
        if status.st_uid != user:
            raise NotPrivate(f"{folder} belongs to user {status.st_uid}, not to {user}")
    if not stat.S_ISDIR(status.st_mode):
        raise NotPrivate(f"{folder} is not a folder")
    if status.st_mode & _OTHERS_WRITE:
        raise NotPrivate(f"others may write to {folder}: chmod go-w {folder}")


def create_private_folder(base: Path, *names: str) -> Path:
    """Create the folder `base/name/name`; from the first name on, only this user may write.

    A folder that is open to others, as after a umask of 002, is closed and emptied. Raises
    `OSError` where that is impossible, `NotPrivate` where another user owns a folder.
    """
    base.mkdir(parents=True, exist_ok=True)
    folder, opened = base, False
    for name in names:
        folder = folder / name
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        try:
            check_private(folder)
        except NotPrivate:
            mode = folder.stat().st_mode
            if not mode & _OTHERS_WRITE:
                raise
            folder.chmod(stat.S_IMODE(mode) & ~_OTHERS_WRITE)
            check_private(folder)
            opened = True
        if opened:
            _empty(folder, whole=name is names[-1])
    with tempfile.TemporaryFile(dir=folder):
        return folder


def _empty(folder: Path, whole: bool) -> None:
    for entry in os.scandir(folder):
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif whole:
            shutil.rmtree(entry.path)
