"""What a process that was killed can have left behind, found and removed at the next start.

Shared memory is not among it: the desk is a file without a name, gone with its last user. What
can be left are temporary files: of machine code that was being written, of settings that were
being saved, and folders of compiled kernels where no cache could be written to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from crowdstream.settings.files import home_folder, user_config_path

log = logging.getLogger(__name__)

# Writing a file takes seconds, and compiling kernels a minute: what is older has no owner.
OLD_SECONDS = 3600.0
# Kernels without a cache folder are loaded at the start, and may be again by a second engine.
OLD_KERNELS_SECONDS = 7 * 86400.0


def remove_leavings() -> list[Path]:
    """Remove temporary files that nobody owns any more; those that were removed.

    Only what belongs to this user is touched. What can't be removed is left.
    """
    temporary = Path(tempfile.gettempdir())
    cache = home_folder(os.environ) / ".cache"
    if os.environ.get("XDG_CACHE_HOME"):
        cache = Path(os.environ["XDG_CACHE_HOME"])
    places = (
        (cache / "crowdstream" / "kernels", "*.part", OLD_SECONDS),
        (cache / "crowdstream" / "folders", "*.part", OLD_SECONDS),
        (user_config_path(os.environ).parent, ".config-*.toml", OLD_SECONDS),
        (temporary, "crowdstream-kernels-*", OLD_KERNELS_SECONDS),
    )
    removed = [
        path
        for folder, pattern, seconds in places
        for path in _found(folder, pattern)
        if _is_old(path, seconds) and _remove(path)
    ]
    if removed:
        log.info(
            "removed %d temporary file%s that an earlier run had left: %s", len(removed),
            "" if len(removed) == 1 else "s", ", ".join(path.name for path in removed),
        )
    return removed


def _found(folder: Path, pattern: str) -> Iterator[Path]:
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
