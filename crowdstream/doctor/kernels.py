"""The compiled kernels: whether they exist for these sources, and whether new ones can be saved."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from crowdstream import engine
from crowdstream.doctor.check import FAIL, OK, WARN, Check
from crowdstream.engine.jit import stale_caches

ENTRIES = ("render.render_at", "ledger.begin_block", "ledger.end_block", "undo_log.recover")
_HASHED = re.compile(r"\w+_[0-9a-f]{40}")
ENGINE = os.path.dirname(os.path.abspath(str(engine.__file__)))
SCHEDULE = os.path.join(ENGINE, "schedule")
COMPILE = ".venv/bin/crowdstream compile"


def folder() -> Path:
    """Return the cache folder of the current sources. Raises `ImportError` without numba."""
    from crowdstream.engine.jit import compile  # noqa: F401  (sets the folder)

    return Path(os.environ["NUMBA_CACHE_DIR"])


def own_folder(sources: str = ENGINE) -> str:
    """Return the name of numba's folder for kernels of the modules in exactly this folder."""
    made = hashlib.sha1(sources.encode("utf-8", "surrogateescape"), usedforsecurity=False)
    return f"{os.path.basename(sources)}_{made.hexdigest()}"


def _of_another_copy(name: str) -> bool:
    return bool(_HASHED.fullmatch(name)) and name not in (own_folder(), own_folder(SCHEDULE))


def kernel_cache(cache: Path | None = None, uid: int | None = None) -> Check:
    """Check the compiled kernels. Tests pass another cache folder and user id."""
    name = "compiled kernels"
    try:
        cache = folder() if cache is None else cache
    except ImportError as error:
        install = "./start-crowdstream.sh --install-only"
        return Check(name, FAIL, f"numba can't be used: {error}", install)
    uid = os.getuid() if uid is None else uid
    # The folder's name is a hash of the sources, so its contents are current. Another checkout of
    # the same sources shares this folder but has its own subfolder, because numba includes the
    # path.
    there = [one for one in cache.glob("*") if not _of_another_copy(one.name)]
    missing = [
        entry for entry in ENTRIES if not any(any(one.glob(f"**/{entry}-*.nbi")) for one in there)
    ]
    old = stale_caches.unused_caches([cache])
    old_bytes = sum(stale_caches.size(path) for path in old)
    data = {"folder": str(cache), "missing": missing, "old": len(old), "old_bytes": old_bytes}
    if not os.access(cache, os.W_OK):
        return Check(name, WARN, f"{cache} can't be written: after an update each start compiles "
                     "again", f"sudo chown -R \"$USER\" {cache.parent}", data)
    if cache.stat().st_uid != uid:
        return Check(name, WARN, f"{cache} belongs to another user",
                     f"sudo chown -R \"$USER\" {cache.parent}", data)
    if missing:
        return Check(name, WARN, "not compiled yet: the first start takes up to a minute longer",
                     COMPILE, data)
    if not stale_caches.is_kernel_cache(cache.parent) or cache.parent.parent.name != "crowdstream":
        return Check(name, WARN, f"{cache} does not last: the home folder's cache can't be "
                     "written", "set XDG_CACHE_HOME to a writable folder", data)
    if old:
        return Check(name, WARN, f"{cache}; {len(old)} of older versions, "
                     f"{old_bytes / 1e6:.0f} MB", f"{COMPILE} deletes them", data)
    return Check(name, OK, str(cache), data=data)
