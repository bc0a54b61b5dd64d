"""Remove files that a killed process can leave behind, at the next start.

Shared memory is not among them: the desk is an anonymous file that disappears with its last user.
Left over may be temporary files (of machine code or settings being written) and folders of
compiled kernels where no cache could be written to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from crowdstream.settings.files import home_folder, user_config_path
from crowdstream.system.private_dirs import temporary_folders

log = logging.getLogger(__name__)

# Writing a file takes seconds and compiling kernels a minute: older files have no owner.
OLD_SECONDS = 3600.0
# Kernels without a cache folder are loaded at the start, and later by a second engine.
OLD_KERNELS_SECONDS = 7 * 86400.0


def remove_stale_files() -> list[Path]:
    """Remove temporary files without an owner; returns the paths that were removed.

    Only this user's files are touched. Files that can't be removed are left.
    """
    cache = home_folder(os.environ) / ".cache"
    if os.environ.get("XDG_CACHE_HOME"):
        cache = Path(os.environ["XDG_CACHE_HOME"])
    places = [
        (cache / "crowdstream" / "kernels", "*.part", OLD_SECONDS),
        (cache / "crowdstream" / "folders", "*.part", OLD_SECONDS),
        # As `replace_file` names it.
        (user_config_path(os.environ).parent, ".config.toml-*", OLD_SECONDS),
    ]
    places += [
        (folder, "crowdstream-kernels-*", OLD_KERNELS_SECONDS) for folder in temporary_folders()
    ]
    removed = [
        path
        for folder, pattern, seconds in places
        for path in _matching(folder, pattern)
        if _is_old(path, seconds) and _remove(path)
    ]
    if removed:
        log.info(
            "removed %d temporary file%s that an earlier run had left: %s", len(removed),
            "" if len(removed) == 1 else "s", ", ".join(path.name for path in removed),
        )
    return removed


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from folder.glob(pattern)


def _is_old(path: Path, seconds: float) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    mine = status.st_uid == os.getuid() and not stat.S_ISLNK(status.st_mode)
    return mine and time.time() - status.st_mtime > seconds


def _remove(path: Path) -> bool:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True
