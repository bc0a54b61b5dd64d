"""Where compiled kernels are kept, and which source files they are compiled from.

Every process of a server, and every test and its children, uses one folder: `NUMBA_CACHE_DIR` where
it is set, else `folder()`. numba's own files and the machine code of `kernels.py` lie side by side
in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from crowdstream.private import check_private, make_private

# Files that no kernel has anything from: a change in them leaves the machine code good.
WITHOUT_KERNELS = frozenset(
    {
        "desk/lease.py", "desk/moment.py", "desk/ordering.py", "desk/ordering_llvm.py",
        "desk/stamp.py", "desk/stream.py", "desk/taps.py", "engine/callback.py",
        "engine/kernel_cache.py", "engine/kernels.py", "engine/lifeline.py", "engine/process.py",
        "engine/successor.py",
    }
)  # fmt: skip


def digest() -> str:
    """A hash of all sources that kernels are compiled from, as 64 hexadecimal digits."""
    package = Path(__file__).resolve().parent.parent
    made = hashlib.sha256()
    for part in ("desk", "engine"):
        for source in sorted((package / part).rglob("*.py")):
            name = source.relative_to(package).as_posix()
            if name in WITHOUT_KERNELS or source.parent.name == "drivers":
                continue
            made.update(name.encode())
            made.update(source.read_bytes())
    return made.hexdigest()


def folder() -> Path:
    """The folder for kernels of the present sources, created when it is missing.

    numba looks only at the file a kernel stands in, not at the kernels it calls, so the
    folder's name carries a hash of all of them. It and its parents belong to this user alone: the
    second choice lies where anybody could have made a folder of that name. The choice is kept in
    `NUMBA_CACHE_DIR`, so child processes share it. Raises `OSError` when that variable names a
    folder that others can write to.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if not given:
        os.environ["NUMBA_CACHE_DIR"] = str(chosen := _choose())
        return chosen
    if os.path.exists(given):
        check_private(Path(given))
    else:
        os.makedirs(given, mode=0o700)
    return Path(given)


def _choose() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    for root, name in (
        (Path(base), "crowdstream"),
        (Path(tempfile.gettempdir()), f"crowdstream-{os.geteuid()}"),
    ):
        with contextlib.suppress(OSError):
            return make_private(root, name, "kernels", digest()[:16])
    return Path(tempfile.mkdtemp(prefix="crowdstream-kernels-"))
