"""The cache folder of the compiled kernels, its key, and the progress of a compilation.

Every process of a server, and every test and its children, uses one folder: `NUMBA_CACHE_DIR` if it
is set, otherwise `folder()`. The folder contains numba's own files and the machine code of
`precompiled.py`.

One process compiles at a time while the others wait for its result. It holds a lock on a file in
the folder and counts its completed parts in that file. A waiting process gives up only when nothing
advances any more: a small machine with other work may need many minutes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from crowdstream.engine.jit.stale_caches import is_kernel_cache
from crowdstream.system.private_dirs import (
    check_private,
    create_private_folder,
    temporary_folders,
)

# Files that do not affect any kernel: changing them leaves the machine code valid.
WITHOUT_KERNELS = frozenset(
    {
        "desk/lease.py", "desk/snapshot.py", "desk/atomics.py", "desk/stream_info.py",
        "desk/taps.py", "engine/drivers/callback.py", "engine/jit/kernel_cache.py",
        "engine/precompiled.py", "engine/main.py", "engine/standby.py",
    }
)  # fmt: skip


def digest() -> str:
    """Return a hash of all sources that kernels are compiled from, as 64 hexadecimal digits."""
    package = Path(__file__).resolve().parents[2]
    made = hashlib.sha256()
    for part in ("desk", "effects", "engine"):
        for source in sorted((package / part).rglob("*.py")):
            name = source.relative_to(package).as_posix()
            if name in WITHOUT_KERNELS or source.parent.name == "drivers":
                continue
            made.update(name.encode())
            made.update(source.read_bytes())
    return made.hexdigest()


def folder() -> Path:
    """Return the cache folder for kernels of the current sources, and create it if necessary.

    numba checks only the file that contains a kernel, not the kernels that it calls, so the
    folder's name contains a hash of all sources. The folder and its parents must belong to this
    user alone, because the fallback is in a place where any user could have created a folder of
    that name. The choice is stored in `NUMBA_CACHE_DIR`, so that child processes share it. Raises
    `OSError` if that variable names a folder that others can write to.
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


def parts_folder() -> Path:
    """Return the folder for compiled parts of kernels of all versions, and create it if necessary.

    It lies beside the folders of the individual versions, so that an update compiles only the parts
    that have changed. Raises `OSError` if it cannot be created.
    """
    present = folder()
    return create_private_folder(
        present.parent if is_kernel_cache(present.parent) else present, "parts"
    )


def _choose() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    for root, name in (
        (Path(base), "crowdstream"),
        *((one, f"crowdstream-{os.geteuid()}") for one in temporary_folders()),
    ):
        with contextlib.suppress(OSError):
            return create_private_folder(root, name, "kernels", digest()[:16])
    return Path(tempfile.mkdtemp(prefix="crowdstream-kernels-"))


# Progress of a compilation ---------------------------------------------------------------------

PARTS = 450  # approximate number of functions and their variants in all kernels
PROGRESS_SECONDS = 10.0  # between two progress lines
_FILE = "compiling"
_counter: int | None = None  # descriptor of that file, in the process that compiles
_done = 0


class Compilation(NamedTuple):
    """Progress of a running compilation: its process, compiled parts, and CPU time in seconds."""

    pid: int
    parts: int
    cpu_seconds: int

    def __str__(self) -> str:
        return (
            f"compiling the mixing kernels, once: {self.parts} of about {PARTS} parts, "
            f"{self.cpu_seconds} s of processor time"
        )


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Context for compiling. It waits while another process compiles."""
    global _counter, _done
    try:
        held = os.open(folder() / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # nothing can be saved there, so there is nothing to wait for
        yield
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        _counter, _done = held, -1
        part_done()
        yield
    finally:
        _counter = None
        os.close(held)


def part_done() -> None:
    """Count one more compiled part."""
    global _done
    _done += 1
    if _counter is not None:
        os.pwrite(_counter, f"{os.getpid():10} {_done:10}".encode(), 0)


def running_compilation(where: Path | None = None) -> Compilation | None:
    """Return the compilation that is running in a folder, by default for the current sources."""
    import psutil  # imported late, because the engine never calls this function

    try:
        with open((where or folder()) / _FILE, "rb") as file:
            if _free(file.fileno()):
                return None
            pid, parts = map(int, file.read().split())
        used = psutil.Process(pid).cpu_times()
    except (OSError, ValueError, psutil.Error):
        return None
    return Compilation(pid, parts, int(used.user + used.system))


def _free(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class StallTimeout:
    """A timeout of `seconds` since the last progress: a compiled part or a second of CPU time."""

    def __init__(
        self,
        seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        look: Callable[[], Compilation | None] = running_compilation,
    ) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._read_progress = look
        self._latest: Compilation | None = None
        self._moved = monotonic()
        self._report_at = self._moved + min(PROGRESS_SECONDS, seconds) / 3

    def expired(self) -> bool:
        """Whether the timeout has expired without any progress."""
        now = self._monotonic()
        if now < self._moved + 1.0:
            return False
        if (seen := self._read_progress()) is not None and seen != self._latest:
            self._latest, self._moved = seen, now
        return now > self._moved + self._seconds

    def progress_line(self) -> str:
        """Return a progress line if one is due, otherwise an empty string."""
        now = self._monotonic()
        if self._latest is None or now < self._report_at:
            return ""
        self._report_at = now + PROGRESS_SECONDS
        return str(self._latest)


@contextlib.contextmanager
def report_progress(say: Callable[[str], object]) -> Iterator[None]:
    """Report the progress of a compilation in this context, running here or waited for."""
    end = threading.Event()

    def watch() -> None:
        patience = StallTimeout(float("inf"))
        while not end.wait(0.5):
            patience.expired()
            if news := patience.progress_line():
                say(news)

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
