"""The loader process as seen by control, which restarts it when it dies.

The log of requests and the desk hold everything that a new loader needs: it adopts the old
loader's tracks and receives unfinished requests again. A file that crashed the old loader is
quarantined.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from crowdstream.control.processes.child import Child, ChildError
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.control.processes.file_quarantine import FileQuarantine, describe_exit
from crowdstream.control.processes.loader_log import LoaderLog
from crowdstream.desk.block import Desk
from crowdstream.settings import Settings
from crowdstream.supervisor.fd_store import FdStore
from crowdstream.system.restart_policy import RestartPolicy
from crowdstream.system.text import printable

log = logging.getLogger(__name__)

# A loader without a sign of life for this long hangs. A stalled SD card recovers within 5 s, and
# opening the longest file takes 10 s; decoding from a file's beginning shows progress.
HANG_SECONDS = 30.0
PING_SECONDS = 2.0  # between two pings
MAX_TICK_SECONDS = 1.0  # s, the most one tick counts: control that stalls receives no sign of life
END_SECONDS = 0.5  # a loader that has closed its output must exit within this time
MIN_RESTART_DELAY = 0.1  # s before the second restart in a row; doubles
MAX_RESTART_DELAY = 10.0  # s
SETTLED_SECONDS = 30.0  # the death of a loader older than this counts as the first in a row


def start_loader(desk: Desk, settings: Settings, store: FdStore | None = None) -> Child:
    """Start the loader process. Raises `ChildError`."""
    request = {
        "fd": desk.fd,
        "read_ahead": settings.read_ahead,
        "max_preload": settings.max_preload,
        # Control has checked the path, but its target may change before it is opened.
        "roots": [str(root.expanduser().absolute()) for root in settings.media_root],
    }
    argument = json.dumps(request)
    return Child("crowdstream.loader.main", argument, desk.fd, store, "loader")


class LoaderClient:
    """Sends requests to the loader and passes its events on. For the control thread.

    `start` starts a new loader process. The function given to `listen` receives the loader's
    events, and `restarted` events with `pid` and `count`.
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

    def tick(self) -> None:
        """Supervise the loader; call this about every 10 ms."""
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
        else:
            self._child.push()
            self._check_alive(now, passed)

    def _receive(self) -> None:
        for event in self._child.read():
            self._silent_seconds = 0.0
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
        self._hung, self._awaiting_pong = False, False
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
        self.restarts += 1
        self._on_event({"event": "restarted", "pid": self._child.pid, "count": self.restarts})
