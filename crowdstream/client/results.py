"""Replies and notifications as typed values, and the detection of a restarted server."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

STATUS_POSITIONAL_FIELDS = 9  # values before the named ones, as in SuperCollider
STALLED_SECONDS = 2.5  # without a reply, after which a frame that has not advanced is a restart

Status = dict[str, Any]
"""The named values of `/status.reply`; the OSC reference lists them."""


class Version(NamedTuple):
    """The server's program and version."""

    name: str
    major: int
    minor: int
    patch: str


class ClockBeat(NamedTuple):
    """The clock at the start of the next block. `bar` and `beat_in_bar` are counted from 1."""

    beat: float
    bar: int
    beat_in_bar: float
    phase: float
    bpm: float
    frame: int


class Event(NamedTuple):
    """An entry of the event log. `time`: UTC; `level`: info, warning or error."""

    time: str
    level: str
    kind: str
    text: str


class ScheduledMessage(NamedTuple):
    """A message that waits for a time or a beat. `number`: for `cancel_number`."""

    number: int
    seconds: float
    address: str


class RecordStatus(NamedTuple):
    """Files being recorded, their length in seconds, and frames that the disk was too slow for."""

    files: int
    seconds: float
    lost: int
    paths: tuple[str, ...]


class ScheduleStatus(NamedTuple):
    """The opening hours. `seconds` until the next change, infinity if there is none."""

    open: bool
    override: bool
    known: bool
    opens: bool
    seconds: float


class DjStatus(NamedTuple):
    """Whether a DJ is connected, and the state that it has published last."""

    connected: bool
    state: dict[str, Any]


class Change(NamedTuple):
    """A command that was carried out, whoever sent it."""

    address: str
    arguments: tuple[Any, ...]


class Notification(NamedTuple):
    """A message to the server's subscribers, such as `/ended 100 name`."""

    address: str
    arguments: tuple[Any, ...]


class Meter(NamedTuple):
    """Peak and RMS in dB below full scale, momentary loudness in LUFS; -70 is silence."""

    name: str
    peak: float
    rms: float
    lufs: float


class Tick(NamedTuple):
    """A clock tick, received at the moment it sounds: the Unix time `time`."""

    number: int
    beat: float
    frame: int
    time: float


class Beat(NamedTuple):
    """A beat of the clock, received at the moment it sounds: the Unix time `time`."""

    bar: int
    beat: int
    bpm: float
    frame: int
    time: float


def parse_status(values: Sequence[Any]) -> Status:
    """Return the named values of a `/status.reply`."""
    named = values[STATUS_POSITIONAL_FIELDS:]
    return dict(zip(named[::2], named[1::2], strict=False))


def parse_version(values: Sequence[Any]) -> Version:
    """Convert the values of `/version.reply`."""
    name, major, minor, patch = values[:4]
    return Version(name, major, minor, str(patch).removeprefix("."))


def parse_events(values: Sequence[Any]) -> list[Event]:
    """Convert the values of `/events.reply`, the latest event last."""
    return [Event(*map(str, values[at : at + 4])) for at in range(1, len(values) - 3, 4)]


def parse_waiting(values: Sequence[Any]) -> list[ScheduledMessage]:
    """Convert the values of `/waiting.reply`: the first 50 messages, in order of their time."""
    return [
        ScheduledMessage(int(values[at]), float(values[at + 1]), str(values[at + 2]))
        for at in range(1, len(values) - 2, 3)
    ]


def parse_record_status(values: Sequence[Any]) -> RecordStatus:
    """Convert the values of `/record/status.reply`."""
    return RecordStatus(int(values[0]), float(values[1]), int(values[2]), tuple(values[3:]))


def parse_schedule_status(values: Sequence[Any]) -> ScheduleStatus:
    """Convert the values of `/schedule/status.reply`."""
    is_open, override, known, opens = (bool(value) for value in values[:4])
    seconds = float(values[4])
    return ScheduleStatus(is_open, override, known, opens, math.inf if seconds < 0 else seconds)


def parse_dj_status(parts: Sequence[Sequence[Any]]) -> DjStatus:
    """Convert the parts of `/dj/status.reply`. An unreadable state is empty."""
    text = "".join(str(part[3]) for part in sorted(parts, key=lambda part: int(part[1])))
    try:
        state = json.loads(text) if text else {}
    except ValueError:
        state = {}
    return DjStatus(bool(parts[0][0]), state if isinstance(state, dict) else {})


class RestartDetector:
    """Detects from its status that a server was restarted: its frames have not advanced."""

    def __init__(self) -> None:
        self.status: Status = {}
        self.received_at = -math.inf

    def update(self, status: Status, now: float, since: float = math.inf) -> bool:
        """Note a status at `now` (monotonic seconds); return whether the server was restarted.

        `since`: the earliest time at which it may have been sent. A client that was suspended
        receives an old one, whose frame has not advanced as far as its own clock.
        """
        before, passed = self.status, min(now, since) - self.received_at
        self.status, self.received_at = status, now
        if not before:
            return False
        more = int(status.get("frame", 0)) - int(before.get("frame", 0))
        expected = passed * float(status.get("sample_rate", 44100.0))
        stalled = (
            passed > STALLED_SECONDS and more < expected / 2 and not status.get("device_lost")
        )
        return more < 0 or stalled
