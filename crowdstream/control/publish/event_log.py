"""The event log: what the people at a venue must know about the server.

Events are rare and worth keeping: an engine died, the sound device is gone, nothing plays. They
are sent to subscribers as `/event`, kept in a file (`event_file`), and posted as alerts
(`alerts`). The ordinary log, in contrast, contains every line.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crowdstream.system.text import printable, read_json, truncate_bytes
from crowdstream.system.token_bucket import TokenBucket

INFO, WARNING, ERROR = LEVELS = ("info", "warning", "error")
"""Levels, in ascending order."""

KINDS = {
    "started": INFO,
    "stopped": INFO,
    "failed": ERROR,
    "engine": ERROR,
    "device_lost": ERROR,
    "device_found": INFO,
    "input_lost": WARNING,
    "input_found": INFO,
    "feedback": WARNING,
    "jack": WARNING,
    "link": WARNING,
    "link_peers": INFO,
    "rooms": INFO,
    "rooms_lost": WARNING,
    "lights_lost": WARNING,
    "lights_found": INFO,
    "midi_lost": WARNING,
    "midi_found": INFO,
    "loader": WARNING,
    "control": WARNING,
    "web": WARNING,
    "underruns": WARNING,
    "stall": WARNING,
    "broken_file": WARNING,
    "recording": ERROR,
    "broadcast_lost": WARNING,
    "broadcast_live": INFO,
    "disk_full": ERROR,
    "disk_low": WARNING,
    "nothing_plays": ERROR,
    "dj": WARNING,
    "settings": WARNING,
    "upgraded": INFO,
    "upgrade_failed": ERROR,
}
"""Kinds of events with their levels."""

MAX_EVENTS = 200  # in memory
MAX_TEXT_BYTES = 300  # 100 events fit into one packet
MAX_LINE_BYTES = 4096  # of a line of the file; a longer one is damaged

# An event that repeats, such as a sequencer that loads a broken file on every beat, must not push
# the others out of the log.
MAX_AT_ONCE = 10.0  # events of one kind
SECONDS_BETWEEN = 30.0  # events of one kind, after those


@dataclass(frozen=True)
class Event:
    """One event. `time`: Unix seconds in whole milliseconds, which no two events of a log share."""

    time: float
    level: str
    kind: str
    text: str

    @property
    def stamp(self) -> str:
        """The time in UTC, such as `2026-11-21T22:04:05.123Z`."""
        moment = datetime.fromtimestamp(self.time, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def to_json(self) -> dict[str, Any]:
        """The event as JSON values; see `event_of`."""
        return {"time": self.stamp, "level": self.level, "kind": self.kind, "text": self.text}


def line_of(event: Event, port: int) -> bytes:
    """A line of the event file: the event of the server on an OSC port."""
    held = {**event.to_json(), "port": port}
    return json.dumps(held, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def event_of(line: bytes, port: int) -> Event | None:
    """The event on a line of the file; None if it is another server's, or the line is damaged."""
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        held = read_json(line)
        if not isinstance(held, dict) or held.get("port") != port:
            return None
        moment = datetime.fromisoformat(held["time"]).timestamp()
        level, kind, text = (str(held[name]) for name in ("level", "kind", "text"))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    # A later version may have kinds that this one does not know, but no other levels.
    if level not in LEVELS:
        return None
    return Event(round(moment, 3), level, printable(kind)[:40], _shortened(text))


def _shortened(text: str) -> str:
    return truncate_bytes(printable(text), MAX_TEXT_BYTES)


class EventLog:
    """The latest events, and the receivers of new ones. For the control thread.

    `notify` sends a message to all subscribers. `wall` is a clock in Unix seconds.
    """

    def __init__(
        self,
        notify: Callable[..., None],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._notify = notify
        self._monotonic = monotonic
        self._wall = wall
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._limits: dict[str, TokenBucket] = {}
        self._left_out: dict[str, int] = {}
        self._receivers: list[Callable[[Event], None]] = []
        self.revision = 0
        """Number of changes, by which observers detect them."""
        self.counters: Callable[[], dict[str, int]] = lambda: {
            "events_unwritten": 0, "alerts_sent": 0, "alerts_failed": 0, "alerts_waiting": 0,
        }
        """Counters of the file and of the alerts, for the status."""

    def add_receiver(self, receive: Callable[[Event], None]) -> None:
        """Call `receive` with each new event. It must not block."""
        self._receivers.append(receive)

    def report(self, kind: str, text: str) -> None:
        """Add an event of one of `KINDS`, with a text of one line."""
        limit = self._limits.get(kind)
        if limit is None:
            limit = TokenBucket(1.0 / SECONDS_BETWEEN, MAX_AT_ONCE, self._monotonic)
            self._limits[kind] = limit
        if not limit.take():
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        text = _shortened(text)
        if left_out := self._left_out.pop(kind, 0):
            text += f" ({left_out} earlier events of this kind were left out)"
        event = Event(self._free_time(), KINDS[kind], kind, text)
        self._events.append(event)
        self.revision += 1
        self._notify("/event", event.stamp, event.level, event.kind, event.text)
        for receive in self._receivers:
            receive(event)

    def _free_time(self) -> float:
        taken = {event.time for event in self._events}
        moment = round(self._wall(), 3)
        while moment in taken:
            moment = round(moment + 0.001, 3)
        return moment

    def add_earlier(self, events: Iterable[Event]) -> None:
        """Add the events of the file, which are older than those of this process."""
        taken = {event.time for event in self._events}
        earlier = [event for event in events if event.time not in taken]
        if earlier:
            self._events = deque([*earlier, *self._events], maxlen=MAX_EVENTS)
            self.revision += 1

    def latest(self, count: int = MAX_EVENTS) -> list[Event]:
        """Return up to `count` events, the latest last."""
        return list(self._events)[-count:]
