"""The loader process as seen by control, which restarts it when it dies.

The log of requests and the desk hold everything that a new loader needs: it adopts the old
loader's tracks and receives unfinished requests again. A file that crashed the old loader is
quarantined.

Log of the loader's requests and results, from which its successor is set up.

Quarantine for files that crash or hang the loader, until they change.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from crowdstream.control.processes.child import Child, ChildError
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.control.processes.fork_server import LOADER_MODULE, ForkServer
from crowdstream.desk.block import Desk
from crowdstream.settings import Settings
from crowdstream.system.medium import MediumGuard
from crowdstream.system.restart_policy import RestartPolicy
from crowdstream.system.text import printable


@dataclass
class Entry:
    """One track that the loader has opened or has been requested to open.

    `opened`: its length is known and it owns pages. `files`: the identities of its files at that
    time. `cue` is a fraction of the length, valid until the track is opened; then `cue_frame`
    counts.
    """

    number: int
    stems: list[tuple[int, str]]
    cue: float = 0.0
    folder: str = ""  # to be classified before the track is opened
    max_frames: int = 0  # a longer file is to be refused, until it is opened; 0: any length
    opened: bool = False
    files: list[tuple[int, int]] = field(default_factory=list)
    cue_frame: int = 0
    streamed: bool = False
    places: list[int] = field(default_factory=list)
    complete: bool = False
    measured: bool = False
    broken: str = ""
    leaving: bool = False

    def path(self, source: int) -> str | None:
        """The file of one of the track's sources."""
        return next((path for number, path in self.stems if number == source), None)

    def adoption(self) -> dict[str, Any]:
        """The request that makes another loader adopt the track."""
        return {
            "do": "adopt", "track": self.number, "stems": self.stems, "files": self.files,
            "cue": self.cue_frame, "streamed": self.streamed, "places": self.places,
            "measured": self.measured, "broken": self.broken,
        }  # fmt: skip


class LoaderLog:
    """Records requests and events. `entries` holds tracks by number."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._onsets_requested = False
        self._inventory_pending = False  # an inventory was requested and has not been received

    def to_state(self) -> list[Any]:
        """State for JSON; see `restore`."""
        entries = [asdict(entry) for entry in self.entries.values()]
        for one in entries:
            if not one["max_frames"]:  # an earlier version does not know it
                del one["max_frames"]
        return [entries, self._onsets_requested]

    def restore(self, note: list[Any]) -> None:
        """Restore saved state."""
        self.entries = {one["number"]: Entry(**one) for one in note[0]}
        self._onsets_requested = note[1]

    def record_request(self, request: dict[str, Any]) -> None:
        """Record a request to the loader."""
        number = int(request.get("track", 0))
        entry = self.entries.get(number)
        if request["do"] == "load":
            self.entries[number] = Entry(
                number, list(request["stems"]), float(request["cue"]),
                str(request.get("folder", "")), int(request.get("max_frames", 0)),
            )
        elif request["do"] == "attacks":
            self._onsets_requested = True
        elif request["do"] == "inventory":
            self._inventory_pending = True
        elif entry is None:
            return
        elif request["do"] == "cue":
            entry.cue_frame = int(request["frame"])
        elif request["do"] == "keep":
            entry.places = list(request["frames"])
        elif request["do"] == "unload":
            entry.leaving = True

    def record_event(self, event: dict[str, Any]) -> None:
        """Record an event of the loader."""
        if event["event"] == "inventory":
            self._inventory_pending = False
            there = {int(found["track"]) for found in event["tracks"]}
            for known in list(self.entries.values()):
                if known.opened and known.number not in there:
                    del self.entries[known.number]
            for found in event["tracks"]:
                self._found(found)
            return
        entry = self.entries.get(int(event.get("track", 0)))
        if entry is None:
            return
        kind = event["event"]
        if kind == "opened":
            entry.opened, entry.max_frames = True, 0
            if "kept" in event:
                paths = dict(entry.stems)
                entry.stems = [(source, paths[source]) for source in event["kept"]]
            entry.files = list(event["files"])
            entry.streamed = bool(event["streamed"])
            entry.cue_frame = min(int(entry.cue * event["frames"]), int(event["frames"]) - 1)
        elif kind == "complete":
            entry.complete = True
        elif kind == "loudness":
            entry.measured = entry.complete
        elif kind == "broken":
            entry.broken = str(event["reason"])
        elif kind in ("failed", "unloaded"):
            del self.entries[entry.number]

    def _found(self, found: dict[str, Any]) -> None:
        # Reported by a loader that started before this control process.
        number = int(found["track"])
        entry = self.entries.setdefault(number, Entry(number, []))
        entry.stems = [(int(source), str(path)) for source, path in found["stems"]]
        entry.files = [(int(size), int(changed)) for size, changed in found["files"]]
        entry.opened = True
        entry.cue_frame = int(found["cue"])
        entry.streamed = bool(found["streamed"])
        entry.places = list(found["places"])
        entry.complete = found["state"] == "complete"
        entry.measured = bool(found["measured"])
        entry.broken = str(found["broken"])

    def fail(self, path: str, reason: str) -> list[dict[str, Any]]:
        """Return the events that fail every unfinished track with a bad file."""
        events = []
        for entry in list(self.entries.values()):
            if path in (own for _, own in entry.stems) and not entry.broken and not entry.complete:
                kind = "broken" if entry.opened else "failed"
                events.append({"event": kind, "track": entry.number, "reason": reason})
        return events

    def unload_events(self) -> list[dict[str, Any]]:
        """Return events for the tracks that the dead loader was to unload before opening them."""
        return [
            {"event": "unloaded", "track": entry.number}
            for entry in self.entries.values()
            if entry.leaving and not entry.opened
        ]

    def requests_for_successor(self) -> list[dict[str, Any]]:
        """Return the requests for a new loader: adopt open tracks, then redo what is unfinished."""
        entries = list(self.entries.values())
        # Streamed tracks first: playback needs their next pages; tracks that fit can wait.
        opened = sorted((e for e in entries if e.opened), key=lambda entry: not entry.streamed)
        requests = [entry.adoption() for entry in opened]
        requests.append({"do": "adopted"})
        if self._onsets_requested:
            requests.append({"do": "attacks"})
        requests += [{"do": "unload", "track": entry.number} for entry in opened if entry.leaving]
        requests += [
            {"do": "load", "track": entry.number, "stems": entry.stems, "cue": entry.cue,
             "folder": entry.folder, "max_frames": entry.max_frames}
            for entry in entries
            if not entry.opened
        ]
        if self._inventory_pending:
            requests.append({"do": "inventory"})
        return requests


# Signals of a decoder's crash. Other signals come from outside: a user's kill or the OOM killer.
CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGSYS}
)
# A medium that hung, such as a network folder, may work again although the file is the same.
HUNG_FILE_SECONDS = 300.0
SAME_FILE_SECONDS = 300.0  # a second outside kill on one file within this time is no coincidence

Identity = tuple[int, int]


@dataclass(frozen=True)
class BadFile:
    """Why a file is quarantined, and its identity then: size in bytes, mtime in ns.

    The identity is None if the file could not be examined: then it is released as soon as it can.
    `until`: monotonic seconds of its release in any case.
    """

    reason: str
    identity: Identity | None
    until: float = math.inf


def crashed(status: int | None) -> bool:
    """Whether an exit status (negative: a signal) shows that the process itself failed."""
    return status is not None and (status > 0 or -status in CRASHES)


def describe_exit(status: int | None) -> str:
    """Describe an exit status, for a log line."""
    if status is None:
        return "exit status unknown"
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


class FileQuarantine:
    """Decides which files are bad and remembers them. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._guard = MediumGuard()
        self._bad: dict[str, BadFile] = {}
        self._suspects: dict[str, tuple[Identity | None, float]] = {}

    @property
    def count(self) -> int:
        """Number of quarantined files."""
        return len(self._bad)

    def to_state(self) -> list[list[Any]]:
        """Files that are quarantined until they change, for JSON; see `restore`."""
        return [
            [path, bad.reason, bad.identity]
            for path, bad in self._bad.items() if bad.until == math.inf
        ]  # fmt: skip

    def restore(self, state: list[list[Any]]) -> None:
        """Restore the quarantine from saved state."""
        for path, reason, identity in state:
            known = None if identity is None else (int(identity[0]), int(identity[1]))
            self._bad[path] = BadFile(reason, known)

    def judge(self, path: str, status: int | None, hung: bool) -> str | None:
        """Decide whether `path` is to blame for the end of the loader, which was reading it.

        `status` is the exit status, negative for a signal, None if unknown. `hung` means that the
        loader was killed because reading made no progress. Returns the reason why the file is
        quarantined, or None if it is not.
        """
        identity = self._identity(path)
        until = math.inf
        how_long = "until it changes"
        if hung:
            what = "reading it made no progress and was stopped"
            until = self._monotonic() + HUNG_FILE_SECONDS
            how_long = f"for {HUNG_FILE_SECONDS / 60:g} minutes"
        elif crashed(status):
            what = f"the decoder crashed on it ({describe_exit(status)})"
        else:
            before = self._suspects.get(path)
            now = self._monotonic()
            self._suspects = {
                known: entry
                for known, entry in self._suspects.items()
                if now - entry[1] < SAME_FILE_SECONDS
            }
            self._suspects[path] = identity, now
            if before is None or before[0] != identity or now - before[1] >= SAME_FILE_SECONDS:
                return None
            what = f"the loader was killed twice while reading it ({describe_exit(status)})"
        reason = f"{printable(path)}: {what}; it is not tried again {how_long}"
        self._bad[path] = BadFile(reason, identity, until)
        self._suspects.pop(path, None)
        return reason

    def reason(self, path: str) -> str | None:
        """Why a file must not be opened, or None.

        A file that has changed may be opened, and one that hung after some minutes.
        """
        bad = self._bad.get(path)
        if bad is None:
            return None
        if self._monotonic() >= bad.until or self._identity(path) != bad.identity:
            del self._bad[path]
            return None
        return bad.reason

    def _identity(self, path: str) -> Identity | None:
        # The medium on which the loader hung may make this process wait as well.
        try:
            status = self._guard.run(lambda: os.stat(path))
        except (OSError, ValueError):
            return None
        return status.st_size, status.st_mtime_ns


log = logging.getLogger(__name__)

# A loader without a sign of life for this long hangs. A stalled SD card recovers within 5 s, and
# opening the longest file takes 10 s; decoding from a file's beginning shows progress.
HANG_SECONDS = 30.0
PING_SECONDS = 2.0  # between two pings
MAX_TICK_SECONDS = 1.0  # s, the most one tick counts: control that stalls receives no sign of life
END_SECONDS = 0.5  # a loader that has closed its output must exit within this time
REPLACE_SECONDS = 2.0  # for a loader of another version to exit; what it reads may not arrive
MIN_RESTART_DELAY = 0.1  # s before the second restart in a row; doubles
MAX_RESTART_DELAY = 10.0  # s
SETTLED_SECONDS = 30.0  # the death of a loader older than this counts as the first in a row


def start_loader(fork_server: ForkServer, desk: Desk, settings: Settings) -> Child:
    """Start the loader process. Raises `ChildError`."""
    request = {
        "fd": desk.fd,
        "read_ahead": settings.read_ahead,
        "max_preload": settings.max_preload,
        # Control has checked the path, but its target may change before it is opened.
        "roots": [str(root.expanduser().absolute()) for root in settings.media_root],
    }
    return Child(fork_server, LOADER_MODULE, json.dumps(request), desk.fd, "loader")


class LoaderClient:
    """Sends requests to the loader and passes its events on. For the control thread.

    `start` starts a new loader process. The function given to `listen` receives the loader's
    events, and `restarted` events with `pid`, `count` and `planned`.
    """

    def __init__(
        self,
        child: Child,
        desk: Desk,
        start: Callable[[], Child],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._child = child
        self._desk = desk
        self._start = start
        self._monotonic = monotonic
        self._on_event: Callable[[dict[str, Any]], None] = lambda _event: None
        self._event_loop: EventLoop | None = None
        self._deferred: list[dict[str, Any]] = []
        self.loader_log = LoaderLog()
        self.quarantine = FileQuarantine(monotonic)
        self.restarts = 0
        now = monotonic()
        self._ticked = now
        self._started_at = now
        self._silent_seconds = 0.0
        self._last_activity = 0, 0
        self._pinged = now
        self._awaiting_pong = False  # for a pong
        self._hung = False
        self._replace_by: float | None = None  # monotonic seconds; None: no replacement is planned
        self.answers = False
        """Whether the current process has sent a message."""
        self._closed_at: float | None = None  # monotonic seconds at which its output was closed
        self._restart_at: float | None = None  # monotonic seconds at which to start the next loader
        self._restart_policy = RestartPolicy(
            MIN_RESTART_DELAY, MAX_RESTART_DELAY, settled=SETTLED_SECONDS, at_once=True
        )

    def to_state(self) -> list[Any]:
        """State for JSON; see `adopted`."""
        return [self.loader_log.to_state(), self.restarts, self.quarantine.to_state()]

    def restore(self, note: list[Any], fresh: bool = False) -> None:
        """Restore the requests that an earlier control process sent to the loader.

        `fresh`: this loader has just replaced that one and needs all of them again.
        """
        loader_log, self.restarts, bad = note
        self.loader_log.restore(loader_log)
        self.quarantine.restore(bad)
        if fresh:
            for request in self.loader_log.requests_for_successor():
                self._child.send(request)

    @property
    def child(self) -> Child:
        """The current process, or the previous one until it is replaced."""
        return self._child

    @property
    def pid(self) -> int:
        """Process ID."""
        return self._child.pid

    def listen(self, event_loop: EventLoop, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Pass every event to `on_event` from now on."""
        self._on_event = on_event
        self._event_loop = event_loop
        event_loop.add_reader(self._child.out, self._receive)

    def send(self, request: dict[str, Any]) -> None:
        """Queue one request. Never blocks. Loading a quarantined file fails."""
        if request["do"] == "load":
            reasons = (self.quarantine.reason(path) for _, path in request["stems"])
            reason = next((reason for reason in reasons if reason), None)
            if reason:
                failed = {"event": "failed", "track": request["track"], "reason": reason}
                self._deferred.append(failed)
                return
        self.loader_log.record_request(request)
        if self._closed_at is None and self._restart_at is None:
            self._child.send(request)

    @property
    def waiting(self) -> bool:
        """Whether `tick` may have work at any time: messages wait, or the loader has died."""
        idle = self._closed_at is None and self._restart_at is None
        return bool(self._deferred) or not idle or self._child.unsent > 0

    def renew(self) -> None:
        """Replace the loader by one of this installation, as after a crash."""
        self._replace_by = self._monotonic() + REPLACE_SECONDS
        self._child.request_exit()

    def tick(self) -> None:
        """Supervise the loader; call this at least once a second."""
        now = self._monotonic()
        passed, self._ticked = min(now - self._ticked, MAX_TICK_SECONDS), now
        later, self._deferred = self._deferred, []
        for event in later:
            self._on_event(event)
        if self._closed_at is not None:
            self._await_exit(now)
        elif self._restart_at is not None:
            if now >= self._restart_at:
                self._restart(now)
        elif self._replace_by is not None:
            if now > self._replace_by:
                self._child.kill()
        else:
            self._child.push()
            self._check_alive(now, passed)

    def _receive(self) -> None:
        for event in self._child.read():
            self._silent_seconds = 0.0
            self.answers = True
            kind = event.get("event")
            if kind == "pong":
                self._awaiting_pong = False
            elif kind == "odd":
                log.warning("the loader did not understand %s", event.get("reason"))
            elif kind is not None:
                self.loader_log.record_event(event)
                self._on_event(event)
        if self._child.finished and self._closed_at is None:
            self._closed_at = self._monotonic()
            if self._event_loop:
                self._event_loop.remove_reader(self._child.out)
            self._await_exit(self._closed_at)

    def _check_alive(self, now: float, passed: float) -> None:
        record = self._desk.loader
        activity = int(record["since_ns"]), int(record["busy"])
        if activity != self._last_activity or not self._awaiting_pong:
            self._silent_seconds = 0.0
        self._last_activity = activity
        self._silent_seconds += passed
        if not self._awaiting_pong and now >= self._pinged + PING_SECONDS:
            self._pinged = now
            self._awaiting_pong = True
            self._child.send({"do": "ping"})
        if self._silent_seconds > HANG_SECONDS and not self._hung:
            self._hung = True
            self._child.kill()

    def _await_exit(self, now: float) -> None:
        # Two loaders must never own the pages together: the next one starts after this one's exit.
        assert self._closed_at is not None
        if not self._child.exited:
            if now > self._closed_at + END_SECONDS:
                self._child.kill()
            return
        self._closed_at = None
        if self._replace_by is not None:
            self._child.stop(0.0)
            self._desk.loader["busy"] = 0
            self._restart(now)
            return
        status = self._child.status
        self._child.stop(0.0)
        how = "it hung and was killed" if self._hung else describe_exit(status)
        blamed = self._blame_file(status)
        if blamed:
            self._restart_policy.reset()
        delay = self._restart_policy.next_delay(now - self._started_at)
        self._restart_at = now + delay
        log.error(
            "the loader has died (%s)%s: restarting it%s", how,
            f" while reading {printable(blamed)}" if blamed else "",
            f" in {delay:g} s" if delay else "",
        )
        if self._restart_at <= now:
            self._restart(now)

    def _blame_file(self, status: int | None) -> str | None:
        # Return the file it was reading, if that is to blame, and fail the tracks that need it.
        record = self._desk.loader
        entry = self.loader_log.entries.get(int(record["busy"]))
        path = entry.path(int(record["source"])) if entry else None
        record["busy"] = 0  # no file: the next loader may die before it sets this
        if path is None:
            return None
        reason = self.quarantine.judge(path, status, self._hung)
        if reason is None:
            return None
        for event in self.loader_log.fail(path, reason):
            self._emit(event)
        return path

    def _emit(self, event: dict[str, Any]) -> None:
        self.loader_log.record_event(event)
        self._on_event(event)

    def _restart(self, now: float) -> None:
        self._restart_at = None
        self._hung, self._awaiting_pong, self.answers = False, False, False
        planned, self._replace_by = self._replace_by is not None, None
        self._silent_seconds, self._started_at, self._pinged = 0.0, now, now
        try:
            self._child = self._start()
        except ChildError as error:
            log.error("%s", error)
            self._restart_at = now + self._restart_policy.current_delay
            return
        if self._event_loop:
            self._event_loop.add_reader(self._child.out, self._receive)
        for event in self.loader_log.unload_events():
            self._emit(event)
        for request in self.loader_log.requests_for_successor():
            self._child.send(request)
        self.restarts += not planned
        self._on_event(
            {
                "event": "restarted", "pid": self._child.pid, "count": self.restarts,
                "planned": planned,
            }
        )
