"""Folders that nobody else can write to: what lies there is loaded as code.

numba keeps compiled kernels as pickles, and whoever can put a file there can have it carried out.
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
    """A folder belongs to somebody else, or others may write to it."""


def check_private(folder: Path) -> None:
    """Raises `NotPrivate`, saying why, unless `folder` is this user's and closed to others.

    A link to a folder has to be this user's, too.
    """
    user = os.geteuid()
    for status in (folder.lstat(), folder.stat()):
        if status.st_uid != user:
            raise NotPrivate(f"{folder} belongs to user {status.st_uid}, not to {user}")
    if not stat.S_ISDIR(status.st_mode):
        raise NotPrivate(f"{folder} is no folder")
    if status.st_mode & _OTHERS_WRITE:
        raise NotPrivate(f"others may write to {folder}: chmod go-w {folder}")


def make_private(base: Path, *names: str) -> Path:
    """The folder `base/name/name`; every one from the first name on is this user's alone.

    One that was made open to others, as a umask of 002 does, is closed, and what was in it goes.
    Raises `OSError` where that can't be had, `NotPrivate` where somebody else has made one.
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
