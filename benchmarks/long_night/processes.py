"""The server's processes as the system sees them: which exist, and their resource usage."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from crowdstream.desk.block import Desk, DeskError

MODULES = {
    "crowdstream.engine.main": "engine",
    "crowdstream.loader.main": "loader",
    "crowdstream.recorder.main": "recorder",
    "crowdstream.control.main": "control",
    "crowdstream.control.processes.fork_server": "fork-server",
    "crowdstream.web.main": "web",
    "crowdstream.web.waveforms.main": "waves",
}
DESK_NAME = "crowdstream-desk"


@dataclass
class Member:
    """One process of the server and its role."""

    role: str
    process: psutil.Process

    @property
    def pid(self) -> int:
        """Process ID."""
        return int(self.process.pid)


def _role(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error):
        for word in process.cmdline():
            if word in MODULES:
                return MODULES[word]
    return None


def _desk_files(pid: int) -> dict[int, Path]:
    # Descriptors of desks that a process has open, by inode.
    found: dict[int, Path] = {}
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if DESK_NAME in os.readlink(entry):
                    found[entry.stat().st_ino] = entry
    return found


class Family:
    """The processes of the server that was started as `root`.

    A child whose parent was killed is no longer a descendant, so processes are recognised by the
    shared block that they have open.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._inode = 0

    def members(self) -> list[Member]:
        """Return all live processes, the root first, without those that end meanwhile."""
        found = []
        with contextlib.suppress(psutil.Error):
            descendants = {child.pid for child in self._root.children(recursive=True)}
            for process in psutil.process_iter():
                role = _role(process)
                if role is None or process.pid == self._root.pid:
                    continue
                if process.pid in descendants or self._inode in _desk_files(process.pid):
                    with contextlib.suppress(psutil.Error):
                        if process.status() != psutil.STATUS_ZOMBIE:
                            found.append(Member(role, process))
        if self._root.is_running():
            controlled = any(member.role == "control" for member in found)
            found.insert(0, Member("supervisor" if controlled else "control", self._root))
        return found

    def open_desk(self) -> Desk | None:
        """Attach to the shared block; return None if there is none. The caller closes it."""
        for member in self.members():
            for inode, entry in _desk_files(member.pid).items():
                with contextlib.suppress(OSError, DeskError):
                    desk = Desk(os.open(entry, os.O_RDWR))
                    self._inode = inode
                    return desk
        return None

    def desk_is_current(self) -> bool:
        """Return whether the desk that was opened last is still in use."""
        return any(self._inode in _desk_files(member.pid) for member in self.members())


def _own_pss(smaps: Path) -> int:
    # Bytes. A mapping is a line with its addresses and name, followed by lines of figures.
    total, counts = 0, True
    for line in smaps.read_text(encoding="ascii", errors="replace").splitlines():
        first = line.partition(" ")[0]
        if "-" in first:
            counts = "/dev/shm/jack" not in line  # nosec B108  # only names are read
        elif first == "Pss:" and counts:
            total += 1024 * int(line.split()[1])
    return total


def taken(member: Member, whole: bool) -> dict[str, Any] | None:
    """Return a process's private memory in bytes, files, threads and CPU seconds.

    `whole`: also its proportional set size (PSS), without the memory that JACK shares with all its
    clients, which is the sound server's. To count it, the system walks through all pages of the
    process and blocks it meanwhile, an engine for 15 ms or more: do not use it during playback.
    """
    with contextlib.suppress(psutil.Error, OSError, KeyError):
        process = member.process
        with process.oneshot():
            times = process.cpu_times()
            threads = process.num_threads()
        row = {
            "role": member.role, "pid": member.pid,
            "own": _fields(Path(f"/proc/{member.pid}/status"))["RssAnon"],
            "files": len(os.listdir(f"/proc/{member.pid}/fd")),
            "threads": threads, "cpu": round(times.user + times.system, 3),
        }  # fmt: skip
        if whole:
            row["pss"] = _own_pss(Path(f"/proc/{member.pid}/smaps"))
        return row
    return None


def shared_with_others(pid: int) -> int:
    """Return the part of a process's anonymous memory, in bytes, that counts for other processes.

    Processes that were forked share pages until one of them writes: each has all of them as its
    own in `own` (see `taken`), and its share of them in `Pss_Anon`. The system blocks the process
    for some milliseconds: do not use it for an engine that plays.
    """
    with contextlib.suppress(OSError, KeyError):
        rollup = _fields(Path(f"/proc/{pid}/smaps_rollup"))
        return max(0, rollup["Anonymous"] - rollup["Pss_Anon"])
    return 0


def _fields(path: Path) -> dict[str, int]:
    # Lines such as "Pss:   1234 kB", in bytes.
    values = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            values[words[0].rstrip(":")] = int(words[1]) * 1024
    return values


def waited(pids: list[int]) -> dict[int, float]:
    """Return the seconds that the threads of each process were ready to run without a processor."""
    total = {}
    for pid in pids:
        total[pid] = 0.0
        with contextlib.suppress(OSError, ValueError, IndexError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                total[pid] += int((task / "schedstat").read_text().split()[1]) / 1e9
    return total


def stolen() -> float:
    """Return the seconds for which a hypervisor has withheld this machine's processors."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / 100.0
    return 0.0
