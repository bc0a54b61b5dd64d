"""Read a schedule from a TOML file, and explain what is wrong with it."""

from __future__ import annotations

import calendar
import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from crowdstream.opening_hours.model import (
    WEEKDAYS,
    Announcement,
    Days,
    LoudnessLimit,
    Opening,
    Part,
    Schedule,
    ScheduleError,
)
from crowdstream.system.text import printable

MAX_FILE_BYTES = 1 << 20
MAX_FOLDERS = 16  # as in `/dj/folders`
MAX_TAGS, MAX_TAG_LENGTH = 16, 60  # as in `/dj/tags`
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DAY_NAMES = {
    name: number
    for number, day in enumerate(calendar.day_name)
    for name in (day.lower(), WEEKDAYS[number])
}
LOWEST_LUFS, HIGHEST_LUFS = -60.0, 0.0
ANNOUNCE_OPTIONS = {  # the arguments of `/announce` and their defaults
    "depth": 14.0, "attack": 0.4, "hold": 0.3, "release": 1.2, "ahead": 0.5,
}  # fmt: skip
_KEYS = {
    "": {"zone", "opening", "announcement", "loudness"},
    "opening": {"days", "dates", "open", "close", "closed", "fade_in", "energy", "part"},
    "part": {"from", "folders", "tags"},
    "announcement": {"days", "dates", "at", "file", *ANNOUNCE_OPTIONS},
    "loudness": {"days", "dates", "from", "to", "short_term", "average"},
}


def read_schedule(path: Path) -> Schedule:
    """Read and check a schedule. Raises `ScheduleError`."""
    name = printable(str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScheduleError(f"{name}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ScheduleError(f"{name}: it has more than {MAX_FILE_BYTES} bytes")
    try:
        found = tomllib.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScheduleError(f"{name}: {error}") from None
    schedule = _Reader(name, path.parent).schedule(found)
    schedule.check()
    return schedule


class _Reader:
    """Reads the entries of one file. `place` names the present one in messages."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._place = ""

    def schedule(self, found: Mapping[str, Any]) -> Schedule:
        self._known("", found)
        return Schedule(
            self._zone(found.get("zone")),
            tuple(self._opening(one) for one in self._entries(found, "opening")),
            tuple(self._announcement(one) for one in self._entries(found, "announcement")),
            tuple(self._limit(one) for one in self._entries(found, "loudness")),
            self._name,
        )

    def _fail(self, reason: str) -> ScheduleError:
        place = f", {self._place}" if self._place else ""
        return ScheduleError(f"{self._name}{place}: {reason}")

    def _entries(self, found: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
        entries = found.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise self._fail(f"{kind} must be given as [[{kind}]]")
        outer = self._place
        for number, one in enumerate(entries, 1):
            self._place = f"{outer}, {kind} {number}" if outer else f"{kind} {number}"
            self._known(kind, one)
            yield one
            self._place = outer

    def _known(self, kind: str, entry: Mapping[str, Any]) -> None:
        for key in entry:
            if key not in _KEYS[kind]:
                known = ", ".join(sorted(_KEYS[kind]))
                raise self._fail(f"unknown key {printable(key)!r}; known are {known}")

    def _zone(self, name: Any) -> tzinfo:
        if name is None:
            return local_zone()
        try:
            return ZoneInfo(name)
        except (ValueError, TypeError, OSError, KeyError):
            raise self._fail(
                f"zone: {printable(str(name))!r} is not known; use a name such as Europe/Berlin"
            ) from None

    def _opening(self, entry: Mapping[str, Any]) -> Opening:
        days = self._days(entry)
        if entry.get("closed"):
            if not days.dates:
                raise self._fail("closed needs dates")
            return Opening(days, time(), time(), closed=True)
        begin, end = self._time(entry, "open"), self._time(entry, "close")
        if begin == end:
            raise self._fail("open and close are the same time")
        energy = entry.get("energy", [])
        if not isinstance(energy, list) or not all(
            isinstance(one, list) and len(one) == 2 for one in energy
        ):
            raise self._fail('energy must be a list of pairs, such as [["20:00", 0.3]]')
        points = tuple(
            (self._time({"energy": at}, "energy"), self._number({"energy": value}, "energy", 0, 1))
            for at, value in energy
        )
        self._check_order(begin, end, [at for at, _ in points], "energy")
        parts = []
        for part in self._entries(entry, "part"):
            folders = self._texts(part, "folders", MAX_FOLDERS)
            tags = self._texts(part, "tags", MAX_TAGS)
            if not all(0 < len(tag.strip()) <= MAX_TAG_LENGTH for tag in tags):
                raise self._fail(f"tags must have 1 to {MAX_TAG_LENGTH} characters each")
            parts.append(Part(self._time(part, "from"), tuple(map(self._path, folders)), tags))
        self._check_order(begin, end, [part.begin for part in parts], "part")
        fade_in = self._number(entry, "fade_in", 0, 600, 20.0)
        return Opening(days, begin, end, fade_in, points, tuple(parts))

    def _texts(self, entry: Mapping[str, Any], key: str, most: int) -> tuple[str, ...]:
        found = entry.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._fail(f"{key} must be a list of texts")
        if len(found) > most:
            raise self._fail(f"{key}: {len(found)} are too many; at most {most}")
        return tuple(found)

    def _check_order(self, begin: time, end: time, times: list[time], what: str) -> None:
        # The times of an evening in minutes after its beginning.
        after = [_minutes(at) - _minutes(begin) for at in times]
        length = (_minutes(end) - _minutes(begin)) % (24 * 60)
        after = [minutes % (24 * 60) for minutes in after]
        for at, minutes in zip(times, after, strict=True):
            if minutes > length:
                raise self._fail(f"{what}: {at:%H:%M} is outside {begin:%H:%M} to {end:%H:%M}")
        for first, second, at in zip(after, after[1:], times[1:], strict=False):
            if second <= first:
                raise self._fail(f"{what}: the times must ascend; {at:%H:%M} does not")

    def _announcement(self, entry: Mapping[str, Any]) -> Announcement:
        file = entry.get("file")
        if not isinstance(file, str) or not file:
            raise self._fail("file is missing")
        high = {"depth": 60.0}
        options = tuple(
            self._number(entry, name, 0, high.get(name, 30.0), default)
            for name, default in ANNOUNCE_OPTIONS.items()
        )
        return Announcement(
            self._days(entry), self._time(entry, "at"), self._path(file), options
        )

    def _limit(self, entry: Mapping[str, Any]) -> LoudnessLimit:
        values = [
            self._number(entry, name, LOWEST_LUFS, HIGHEST_LUFS) if name in entry else None
            for name in ("short_term", "average")
        ]
        if values == [None, None]:
            raise self._fail("short_term or average is missing, in LUFS")
        return LoudnessLimit(
            self._days(entry), self._time(entry, "from"), self._time(entry, "to"), *values
        )

    # Values ----------------------------------------------------------------------------------

    def _days(self, entry: Mapping[str, Any]) -> Days:
        days, dates = entry.get("days"), entry.get("dates")
        if dates is not None:
            if days is not None:
                raise self._fail("days and dates exclude each other")
            if not isinstance(dates, list) or not dates:
                raise self._fail('dates must be a list, such as ["2026-12-31"]')
            return Days(frozenset(), frozenset(self._date(one) for one in dates))
        if days is None:
            return Days()
        if not isinstance(days, list) or not days:
            raise self._fail('days must be a list, such as ["fri", "sat"]')
        for one in days:
            if not isinstance(one, str) or one.lower() not in _DAY_NAMES:
                raise self._fail(
                    f"days: {printable(str(one))!r} must be one of {', '.join(WEEKDAYS)}"
                )
        return Days(frozenset(_DAY_NAMES[one.lower()] for one in days))

    def _date(self, value: Any) -> date:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        try:
            return date.fromisoformat(value)
        except (TypeError, ValueError):
            raise self._fail(
                f"dates: {printable(str(value))!r} is not a date such as 2026-12-31"
            ) from None

    def _time(self, entry: Mapping[str, Any], name: str) -> time:
        value = entry.get(name)
        if isinstance(value, time):
            return value.replace(microsecond=0, tzinfo=None)
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            if value is None:
                raise self._fail(f"{name} is missing")
            raise self._fail(f"{name}: {printable(str(value))!r} is not a time such as 20:30")
        return time(int(found[1]), int(found[2]))

    def _number(
        self, entry: Mapping[str, Any], name: str, low: float, high: float,
        default: float | None = None,
    ) -> float:  # fmt: skip
        value = entry.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fail(f"{name}: {printable(str(value))!r} is not a number")
        if not low <= value <= high:
            raise self._fail(f"{name}: {value:g} is out of range, {low:g} to {high:g}")
        return float(value)

    def _path(self, text: str) -> str:
        # Relative paths start at the folder of the schedule.
        try:
            return str((self._folder / Path(text).expanduser()).absolute())
        except RuntimeError:
            raise self._fail(f"{printable(text)!r}: there is no such user") from None


def _minutes(at: time) -> int:
    return 60 * at.hour + at.minute


LOCALTIME = Path("/etc/localtime")


def local_zone() -> tzinfo:
    """Return the zone of this machine, with its changes to and from daylight saving time.

    Without a known zone, its present offset from UTC.
    """
    given = os.environ.get("TZ", "").removeprefix(":")
    file = Path(given) if os.path.isabs(given) else LOCALTIME
    _, _, linked = str(file.resolve()).partition("zoneinfo/")
    for name in (given, linked.removeprefix("posix/")):
        if name and not os.path.isabs(name):
            with contextlib.suppress(OSError, ValueError, KeyError):
                return ZoneInfo(name)
    # A container may have its host's file itself, instead of a link that names the zone.
    with contextlib.suppress(OSError, ValueError), file.open("rb") as data:
        return ZoneInfo.from_file(data)
    offset = datetime.now().astimezone().tzinfo
    assert offset is not None
    return offset
