"""Where compiled kernels are kept, what they are compiled from, and how far a compilation is.

Every process of a server, and every test and its children, uses one folder: `NUMBA_CACHE_DIR` where
it is set, else `folder()`. It contains numba's own files and the machine code of `precompiled.py`
side by side.

One process compiles at a time, and the others wait for what it makes. It keeps a file in the folder
locked and counts there what is done, so that a wait is given up only when nothing moves any more: a
small machine with other work may take many minutes.
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

from crowdstream.engine.jit.stale_caches import is_ours
from crowdstream.system.private_dirs import check_private, make_private

# Files that no kernel has anything from: a change in them leaves the machine code good.
WITHOUT_KERNELS = frozenset(
    {
        "desk/lease.py", "desk/snapshot.py", "desk/atomics.py", "desk/atomics_llvm.py",
        "desk/seqlock.py", "desk/stream_info.py", "desk/taps.py", "engine/drivers/callback.py",
        "engine/jit/kernel_cache.py",
        "engine/precompiled.py",
        "engine/lifeline.py",
        "engine/main.py",
        "engine/standby.py",
    }
)  # fmt: skip


def digest() -> str:
    """A hash of all sources that kernels are compiled from, as 64 hexadecimal digits."""
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


def parts_folder() -> Path:
    """The folder for compiled parts of kernels of all versions, created when it is missing.

    It lies beside the folders for the kernels of one version each, so that an update compiles only
    the parts that it changes. Raises `OSError` when it can't be had.
    """
    present = folder()
    return make_private(present.parent if is_ours(present.parent) else present, "parts")


def _choose() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    for root, name in (
        (Path(base), "crowdstream"),
        (Path(tempfile.gettempdir()), f"crowdstream-{os.geteuid()}"),
    ):
        with contextlib.suppress(OSError):
            return make_private(root, name, "kernels", digest()[:16])
    return Path(tempfile.mkdtemp(prefix="crowdstream-kernels-"))


# How far a compilation is --------------------------------------------------------------------

PARTS = 450  # functions and their variants that all kernels are made of, about
TOLD_SECONDS = 10.0  # from one line about a compilation to the next
_FILE = "compiling"
_counter: int | None = None  # the descriptor of that file, in the process that compiles
_done = 0


class Compilation(NamedTuple):
    """A compilation that is under way: by which process, and how much it has done."""

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
    """Compile in here. While another process does so, this one waits."""
    global _counter, _done
    try:
        held = os.open(folder() / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # nothing can be kept there, so there is nothing to wait for
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
    """One more part is compiled."""
    global _done
    _done += 1
    if _counter is not None:
        os.pwrite(_counter, f"{os.getpid():10} {_done:10}".encode(), 0)


def under_way(where: Path | None = None) -> Compilation | None:
    """The compilation that goes on in a folder, by default the one of the present sources."""
    import psutil  # not for the engine, which never asks

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


class Patience:
    """Waits that end `seconds` after the last sign of life: a part compiled, a second of CPU."""

    def __init__(
        self,
        seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        look: Callable[[], Compilation | None] = under_way,
    ) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._look = look
        self._latest: Compilation | None = None
        self._moved = monotonic()
        self._told_at = self._moved + min(TOLD_SECONDS, seconds) / 3

    def over(self) -> bool:
        """Whether nothing has moved for too long."""
        now = self._monotonic()
        if now < self._moved + 1.0:
            return False
        if (seen := self._look()) is not None and seen != self._latest:
            self._latest, self._moved = seen, now
        return now > self._moved + self._seconds

    def news(self) -> str:
        """A line about a compilation, when it is time for one; else empty."""
        now = self._monotonic()
        if self._latest is None or now < self._told_at:
            return ""
        self._told_at = now + TOLD_SECONDS
        return str(self._latest)


@contextlib.contextmanager
def told(say: Callable[[str], object]) -> Iterator[None]:
    """Say now and then how far a compilation is that goes on in here or is waited for."""
    end = threading.Event()

    def watch() -> None:
        patience = Patience(float("inf"))
        while not end.wait(0.5):
            patience.over()
            if news := patience.news():
                say(news)

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
