"""Health of the loader, of the storage medium it reads from, and of the disks written to."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.loader.heartbeat import STALL_SECONDS
from crowdstream.monitor.health import Processes
from crowdstream.system.medium import existing, free_bytes
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

RECENT_SECONDS = 3.0  # for this long a stall that is over still explains a dropout


DISK_LOOK_SECONDS = 60.0
HOUR_BYTES = 44100 * 2 * 3 * 3600  # of recording in 24 bits: time to make room
MIN_STATE_BYTES = 256 << 20  # for the event log and the library
AGAIN = 1.25  # a disk with so many times the warned space is in order again


@dataclass(frozen=True)
class WatchedDisk:
    """A folder whose disk is watched.

    `min_free`: a warning is due when fewer bytes are free. `why`: what the warning says about it.
    """

    folder: Path
    min_free: int
    why: str

    @classmethod
    def of_recordings(cls, folder: Path, reserve: int) -> WatchedDisk:
        """The folder of recordings, which stop when `reserve` bytes are left."""
        return cls(
            folder, reserve + HOUR_BYTES,
            f"recordings stop at {reserve >> 20} MB (--record-reserve)",
        )

    @classmethod
    def of_state(cls, folder: Path) -> WatchedDisk:
        """The folder of the event log."""
        return cls(folder, MIN_STATE_BYTES, "the event log and the library need some of it")


class DiskWatch:
    """Warns before a disk is full. Looks in a thread: a disk that hangs must not delay control.

    `disks` returns what is watched, and is called in the thread. `report` receives the kind and the
    text of an event, from `tick`.
    """

    def __init__(
        self,
        disks: Callable[[], list[WatchedDisk]],
        report: Callable[[str, str], None],
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._disks = disks
        self._report = report
        self._free = free
        self._found: queue.SimpleQueue[tuple[WatchedDisk, int]] = queue.SimpleQueue()
        self._low: set[Path] = set()
        self._ended = threading.Event()

    def start(self) -> None:
        """Start to look, once a minute."""
        threading.Thread(target=self._run, name="disks", daemon=True).start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(DISK_LOOK_SECONDS)

    def look(self) -> None:
        """Look at all disks; `tick` reports what was found."""
        for disk in self._disks():
            with contextlib.suppress(OSError):  # a folder that is gone is reported by its user
                self._found.put((disk, self._free(existing(disk.folder))))

    def tick(self) -> None:
        """Report disks that are low; for the control thread."""
        while not self._found.empty():
            disk, free = self._found.get()
            folder = disk.folder
            if free < disk.min_free and folder not in self._low:
                self._low.add(folder)
                text = (
                    f"the disk of {printable(str(folder))} has only {free / 1e6:.0f} MB free: "
                    f"{disk.why}"
                )
                log.warning("%s", text)
                self._report("disk_low", text)
            elif free > AGAIN * disk.min_free:
                self._low.discard(folder)

    def close(self) -> None:
        """End the thread, without waiting for it."""
        self._ended.set()


class StorageHealth:
    """Collects the loader's reports on pages, stalls and restarts."""

    def __init__(
        self,
        desk: Desk,
        processes: Processes,
        notify: Callable[..., None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._processes = processes
        self._notify = notify
        self._monotonic = monotonic
        self._pages: dict[str, Any] = {}
        self._evicted = self._wanted = self._hits = 0  # totals of earlier loader processes
        self._longest = 0.0
        self._stalls = 0
        self._stalled_for = 0.0
        self._stalled_at = -RECENT_SECONDS
        self.restarts = 0

    def to_state(self) -> list[Any]:
        """State for JSON; see `restore`."""
        return [
            self._pages, self._evicted, self._wanted, self._hits, self._longest, self._stalls,
            self.restarts,
        ]

    def restore(self, note: list[Any]) -> None:
        """Restore the counters from saved state."""
        (
            self._pages, self._evicted, self._wanted, self._hits, self._longest, self._stalls,
            self.restarts,
        ) = note

    def event(self, event: dict[str, Any]) -> bool:
        """Process an event of the loader; returns False if the event is of another kind."""
        kind = event["event"]
        if kind == "pages":
            self._pages = event
            self._longest = max(self._longest, float(event["longest_read"]))
        elif kind == "stall":
            self._stalled(printable(event["path"]), float(event["seconds"]))
        elif kind == "restarted":
            self._restarted(event)
        else:
            return False
        return True

    def _stalled(self, path: str, seconds: float) -> None:
        self._stalls += 1
        self._longest = max(self._longest, seconds)
        self._stalled_for, self._stalled_at = seconds, self._monotonic()
        log.warning("%s: the medium stalled for %.1f s", path, seconds)
        self._notify("/stall", path, seconds)

    def _restarted(self, event: dict[str, Any]) -> None:
        self.restarts = int(event["count"])
        self._processes.pids["loader"] = int(event["pid"])
        self._evicted += self._pages.get("evicted", 0)
        self._wanted += self._pages.get("wanted", 0)
        self._hits += self._pages.get("hits", 0)
        self._pages = {**self._pages, "evicted": 0, "wanted": 0, "hits": 0}
        if not event["planned"]:
            self._notify("/restarted", "loader")

    def stall(self) -> float:
        """Seconds of a current or very recent stall; 0 if there is none."""
        record = self._desk.loader
        since = int(record["since_ns"])
        waits = time.monotonic_ns() / 1e9 - since / 1e9 if int(record["busy"]) else 0.0
        past = self._monotonic() - self._stalled_at < RECENT_SECONDS
        longest = max(waits, self._stalled_for if past else 0.0)
        return longest if longest > STALL_SECONDS else 0.0

    def readings(self) -> dict[str, Any]:
        """Fields for the status."""
        pages = self._pages
        wanted = self._wanted + pages.get("wanted", 0)
        hits = self._hits + pages.get("hits", 0)
        mb = PAGE_BYTES / 1e6
        return {
            "pages_total_mb": pages.get("total", len(self._desk.arena)) * mb,
            "pages_used_mb": pages.get("used", 0) * mb,
            "pages_reserved_mb": pages.get("reserved", 0) * mb,
            "pages_pinned_mb": pages.get("pinned", 0) * mb,
            "pages_evicted": self._evicted + pages.get("evicted", 0),
            "pages_wanted": wanted,
            "pages_hit_rate": hits / wanted if wanted else 1.0,
            "read_max_ms": 1e3 * self._longest,
            "stalls": self._stalls,
            "stalled_s": self.stall(),
            "restarts_loader": self.restarts,
        }
