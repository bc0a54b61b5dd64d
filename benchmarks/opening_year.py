"""Follow a schedule through whole years in several time zones, and compare with an oracle.

    python benchmarks/opening_year.py [--zones Europe/Berlin ...] [--jumps 200] [--seed 1]

For each zone, control's `OpeningHours` runs on a clock that advances from 1 January to 31 December:
every second around each moment at which anything may change, and every five minutes otherwise.
Everything that it does is recorded: opening and closing, folders, energy, announcements, loudness
limits. The oracle knows nothing of that code. It converts each minute of the year from UTC to local
time, writes down which label of a wall clock the minute has, and looks the times of the schedule up
among these labels. Each event must be there exactly once, on its second.

The same again with a clock that is set while the year goes by: by seconds, hours and years, forward
and backward, and into a time before 2026 that no clock has. After each jump, all states must be
those of the new time; an announcement that a jump skips is not made, and none is made twice, even
if its time comes again.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import common
from crowdstream.control.opening_hours import CREDIBLE, ENERGY_STEP, OpeningHours
from crowdstream.desk.block import Desk
from crowdstream.opening_hours import read_schedule

MINUTE, DAY = 60, timedelta(days=1)
DAY_MINUTES = 1440
DENSE_SECONDS = 3  # around each moment at which anything may change
REST_SECONDS = 300  # between two looks otherwise

# With the year that is followed. 2026 has 53 weeks (ISO 8601), 2028 and 2032 have 366 days.
ZONES = {
    "Europe/Berlin": 2026,  # changes at 02:00 and 03:00 on Sundays
    "America/New_York": 2028,
    "America/St_Johns": 2026,  # -3:30
    "America/Sao_Paulo": 2027,  # no change
    "Africa/Cairo": 2027,  # in spring, 00:00 to 01:00 does not exist; in autumn it repeats
    "Africa/Casablanca": 2026,  # goes back for Ramadan
    "Asia/Kathmandu": 2028,  # +5:45
    "Australia/Adelaide": 2026,  # +9:30, southern summer
    "Australia/Lord_Howe": 2032,  # +10:30, changes by half an hour
    "Pacific/Chatham": 2027,  # +12:45, changes at 02:45
}

SCHEDULE = """
zone = "{zone}"

[[opening]]
days = ["fri"]
open = "20:00"
close = "03:00"
energy = [["20:00", 0.2], ["23:30", 0.9], ["02:30", 0.4]]
  [[opening.part]]
  from = "20:00"
  folders = ["/lounge"]
  [[opening.part]]
  from = "02:15"
  folders = ["/late", "/slow"]

[[opening]]
days = ["sat"]
open = "21:30"
close = "05:15"
energy = [["21:30", 0.3], ["02:00", 1.0], ["02:45", 0.8], ["05:15", 0.1]]
  [[opening.part]]
  from = "00:00"
  folders = ["/club"]
  [[opening.part]]
  from = "02:30"
  folders = ["/techno"]

[[opening]]
days = ["sun"]
open = "12:00"
close = "18:15"
[[opening]]
days = ["sun"]
open = "18:15"
close = "23:45"
  [[opening.part]]
  from = "18:15"
  folders = ["/sunday"]

[[opening]]
days = ["mon", "tue"]
open = "06:30"
close = "07:45"
[[opening]]
days = ["thu"]
open = "18:00"
close = "00:00"

[[opening]]
dates = ["{year}-12-24", "{year}-05-01"]
closed = true
[[opening]]
dates = ["{year}-12-31", "{year}-02-28"]
open = "20:00"
close = "06:00"
energy = [["20:00", 0.5], ["00:00", 1.0]]
{leap}

[[announcement]]
at = "02:30"
file = "/half past two.wav"
[[announcement]]
days = ["fri", "sat"]
at = "00:00"
file = "/midnight.wav"
[[announcement]]
days = ["sun"]
at = "01:30"
file = "/twice.wav"
[[announcement]]
dates = ["{year}-12-31"]
at = "23:59"
file = "/new year.wav"

[[loudness]]
from = "22:00"
to = "06:00"
short_term = -14
average = -17
[[loudness]]
days = ["sun"]
from = "00:00"
to = "00:00"
average = -20
[[loudness]]
days = ["sat"]
from = "02:00"
to = "03:00"
short_term = -10
"""
LEAP = """[[opening]]
dates = ["{year}-02-29"]
open = "08:00"
close = "23:00"
"""

# The same schedule as the oracle reads it: days (0 is Monday; None: every day), times in minutes.
def _at(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return 60 * int(hours) + int(minutes)


@dataclass(frozen=True)
class Evening:
    """An opening as the oracle knows it."""

    days: tuple[int, ...]
    begin: int
    end: int
    energy: tuple[tuple[int, float], ...] = ()
    parts: tuple[tuple[int, tuple[str, ...]], ...] = ()


EVENINGS = (
    Evening((4,), _at("20:00"), _at("03:00"),
            ((_at("20:00"), 0.2), (_at("23:30"), 0.9), (_at("02:30"), 0.4)),
            ((_at("20:00"), ("/lounge",)), (_at("02:15"), ("/late", "/slow")))),
    Evening((5,), _at("21:30"), _at("05:15"),
            ((_at("21:30"), 0.3), (_at("02:00"), 1.0), (_at("02:45"), 0.8), (_at("05:15"), 0.1)),
            ((_at("00:00"), ("/club",)), (_at("02:30"), ("/techno",)))),
    Evening((6,), _at("12:00"), _at("18:15")),
    Evening((6,), _at("18:15"), _at("23:45"), (), ((_at("18:15"), ("/sunday",)),)),
    Evening((0, 1), _at("06:30"), _at("07:45")),
    Evening((3,), _at("18:00"), _at("00:00")),
)  # fmt: skip
LONG = Evening((), _at("20:00"), _at("06:00"), ((_at("20:00"), 0.5), (_at("00:00"), 1.0)))
LEAP_DAY = Evening((), _at("08:00"), _at("23:00"))
ANNOUNCEMENTS = (
    (None, "02:30", "/half past two.wav"), ((4, 5), "00:00", "/midnight.wav"),
    ((6,), "01:30", "/twice.wav"),
)  # fmt: skip
NEW_YEAR = ("23:59", "/new year.wav")
LIMITS: tuple[tuple[tuple[int, ...] | None, str, str, float | None, float | None], ...] = (
    (None, "22:00", "06:00", -14.0, -17.0), ((6,), "00:00", "00:00", None, -20.0),
    ((5,), "02:00", "03:00", -10.0, None),
)
STRICTEST = (-14.0, -20.0)


@dataclass(frozen=True)
class State:
    """What applies at a moment. `energy`: None if the DJ plans."""

    is_open: bool = False
    folders: tuple[str, ...] = ()
    energy: float | None = None
    short_term: float | None = None
    average: float | None = None


UNKNOWN = State(True, (), None, *STRICTEST)


class Oracle:
    """What must happen, from a table of all minutes from before until after the year."""

    def __init__(self, zone: str, year: int) -> None:
        self._year = year
        tz = ZoneInfo(zone)
        self.begin = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) - 3 * 86400
        self.end = int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp()) + 3 * 86400
        # The first minute with each label of a wall clock; and for labels that are skipped, the
        # minute with the label that is as much later as the gap is long. A label is a number of
        # minutes; the array begins at the day before.
        self._first_label = _label(datetime.fromtimestamp(self.begin, tz) - DAY, 0)
        self._minute = np.zeros((self.end - self.begin) // MINUTE + 2 * DAY_MINUTES, np.int64)
        before = 0
        for moment in range(self.begin, self.end, MINUTE):
            local = datetime.fromtimestamp(moment, tz)
            label = _label(local, 60 * local.hour + local.minute) - self._first_label
            late = label - before - 1  # minutes that are skipped
            for skipped in range(late if before else 0):
                if not self._minute[before + 1 + skipped]:
                    self._minute[before + 1 + skipped] = moment + MINUTE * skipped
            if not self._minute[label]:
                self._minute[label] = moment
            before = label
        count = (self.end - self.begin) // MINUTE
        self._states = [State()] * count
        self._curves: list[list[tuple[int, float]]] = [[]] * count  # energy by minute
        self._days = [
            date(year, 1, 1) + number * DAY
            for number in range(-2, (date(year + 1, 1, 1) - date(year, 1, 1)).days + 2)
        ]
        self._fill()
        self.announcements = sorted(self._announcements())

    def _moment(self, day: date, minute: int) -> int:
        return int(self._minute[_label(day, minute) - self._first_label])

    def _evenings(self, day: date) -> list[Evening]:
        year = self._year
        special = {
            date(year, 12, 24): [], date(year, 5, 1): [],
            date(year, 12, 31): [LONG], date(year, 2, 28): [LONG],
        }  # fmt: skip
        if _is_leap(year):
            special[date(year, 2, 29)] = [LEAP_DAY]
        if day in special:
            return special[day]
        return [one for one in EVENINGS if day.weekday() in one.days]

    def _fill(self) -> None:
        for day in self._days:
            for evening in self._evenings(day):
                self._open(day, evening)
        for day in self._days:
            for days, begin, end, short_term, average in LIMITS:
                if days is None or day.weekday() in days:
                    self._limit(day, _at(begin), _at(end), short_term, average)

    def _span(self, day: date, begin: int, end: int) -> tuple[int, int]:
        # Indices of the minutes from a time of day to the next time with that label.
        first = self._moment(day, begin)
        last = self._moment(day if end > begin else day + DAY, end)
        return (first - self.begin) // MINUTE, (last - self.begin) // MINUTE

    def _open(self, day: date, evening: Evening) -> None:
        def index(minute: int) -> int:
            on = day + DAY if minute < evening.begin else day
            return (self._moment(on, minute) - self.begin) // MINUTE

        first, last = self._span(day, evening.begin, evening.end)
        curve = [(index(minute), value) for minute, value in evening.energy]
        self._states[first:last] = [State(True)] * (last - first)
        self._curves[first:last] = [curve] * (last - first)
        for minute, names in evening.parts:
            begin = max(first, index(minute))
            self._states[begin:last] = [State(True, names)] * (last - begin)

    def _limit(
        self, day: date, begin: int, end: int, short_term: float | None, average: float | None
    ) -> None:
        first, last = self._span(day, begin, end)
        self._states[first:last] = [
            _limited(state, short_term, average) for state in self._states[first:last]
        ]

    def _announcements(self) -> Iterator[tuple[int, str]]:
        for day in self._days:
            for days, at, file in ANNOUNCEMENTS:
                if days is None or day.weekday() in days:
                    yield self._moment(day, _at(at)), file
            if (day.month, day.day, day.year) == (12, 31, self._year):
                yield self._moment(day, _at(NEW_YEAR[0])), NEW_YEAR[1]

    def state(self, moment: float) -> State:
        """What applies at a moment of the year, in Unix seconds."""
        if moment < CREDIBLE:
            return UNKNOWN
        number = int((moment - self.begin) // MINUTE)
        state, curve = self._states[number], self._curves[number]
        if not curve:
            return state
        return replace(state, energy=_interpolated(curve, (moment - self.begin) / MINUTE))

    def edges(self) -> list[int]:
        """The moments at which anything but the energy changes, and all announcements."""
        found = {moment for moment, _ in self.announcements}
        for number, (one, other) in enumerate(itertools.pairwise(self._states), 1):
            if one != other:
                found.add(self.begin + MINUTE * number)
        return sorted(found)


oracle_of = functools.cache(Oracle)


def _label(day: date, minute: int) -> int:
    return day.toordinal() * DAY_MINUTES + minute


@functools.cache
def _limited(state: State, short_term: float | None, average: float | None) -> State:
    def lower(one: float | None, other: float | None) -> float | None:
        known = [value for value in (one, other) if value is not None]
        return min(known) if known else None

    return replace(
        state, short_term=lower(state.short_term, short_term),
        average=lower(state.average, average),
    )


def _is_leap(year: int) -> bool:
    return date(year, 3, 1) - date(year, 2, 28) == 2 * DAY


def _interpolated(points: Sequence[tuple[int, float]], number: float) -> float:
    if number <= points[0][0]:
        return points[0][1]
    for (first, low), (last, high) in itertools.pairwise(points):
        if first <= number <= last and last > first:
            return low + (high - low) * (number - first) / (last - first)
    return points[-1][1]


# The server's side ----------------------------------------------------------------------------


@dataclass
class Venue:
    """The parts of a server that opening hours act on; records what they do."""

    desk: Desk
    wall: float = 0.0
    mono: float = 1000.0
    done: list[tuple[float, str, tuple[Any, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SimpleNamespace(wall=lambda: self.wall)
        self.dj = SimpleNamespace(connected=True, registrations=1, state={}, forward=self._forward)
        self.announcer = SimpleNamespace(announce=self._announce)
        self.deck_manager = SimpleNamespace(
            target=lambda _row: 1.0, ramp=lambda *_: None
        )
        self.voice_allocator = SimpleNamespace(sounding=list)
        self.meters = SimpleNamespace(set_loudness_limit=lambda _on: None)

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return self.mono

    def notify(self, address: str, *values: Any) -> None:
        """Record a notification."""
        self.done.append((self.wall, address, values))

    def _forward(self, _request: object, word: str, *values: Any) -> None:
        self.done.append((self.wall, word, values))
        if word == "hours":
            self.dj.state = {"closed": 1 - values[0]}

    def _announce(self, _request: object, file: str, _ducking: object) -> None:
        self.done.append((self.wall, "announce", (Path(file).name,)))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.mono += seconds


class Follower:
    """Runs `OpeningHours` on a `Venue` and compares each step with the oracle."""

    def __init__(self, oracle: Oracle, schedule: Path, desk: Desk, begin: float) -> None:
        self.venue = Venue(desk, begin)
        self.hours = OpeningHours(self.venue, read_schedule(schedule), lambda: None)  # type: ignore[arg-type,return-value]
        self._oracle = oracle
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._is_open: bool | None = None
        self._folders: tuple[str, ...] | None = None
        self._energy: float | str | None = None
        self.made: list[tuple[int, str]] = []
        self._looked_at: float | None = None

    def _fault(self, text: str) -> None:
        moment = datetime.fromtimestamp(self.venue.wall, UTC)
        self.faults.append(f"{moment:%Y-%m-%d %H:%M:%S} UTC: {text}")

    def jump(self, wall: float) -> None:
        """Set the wall clock; announcements in between are skipped."""
        self.venue.wall = wall
        self.venue.mono += 1.0
        self._looked_at = None
        self.counts["jumps"] += 1

    def stretch(self, seconds: int) -> None:
        """Look once a second."""
        for _ in range(seconds):
            self.look()
            self.venue.advance(1.0)

    def look(self) -> None:
        """Let the opening hours look at the clock, and compare what they do."""
        venue, wall = self.venue, self.venue.wall
        venue.done.clear()
        self.hours.tick()
        self.counts["looks"] += 1
        expected = self._oracle.state(wall)
        did: dict[str, list[tuple[Any, ...]]] = {}
        for _, word, values in venue.done:
            did.setdefault(word, []).append(values)
        self._compare_open(expected, did)
        self._compare_folders(expected, did)
        self._compare_energy(expected, did)
        limits = self.hours.value()
        if (limits["short_term"], limits["average"]) != (expected.short_term, expected.average):
            self._fault(f"limits {limits['short_term']}, {limits['average']}, not "
                        f"{expected.short_term}, {expected.average}")
        self._compare_announcements(did)
        self._looked_at = wall

    def _compare_open(self, expected: State, did: dict[str, list[tuple[Any, ...]]]) -> None:
        wanted = []
        if expected.is_open is not self._is_open:
            wanted = [("open" if expected.is_open else "closed",)]
            self.counts["openings" if expected.is_open else "closings"] += 1
        self._is_open = expected.is_open
        if did.get("/schedule", []) != wanted:
            self._fault(f"notified {did.get('/schedule', [])}, not {wanted}")
        hours = [(int(word == "open"),) for (word,) in wanted]
        if did.get("hours", []) != hours:
            self._fault(f"sent hours {did.get('hours', [])}, not {hours}")

    def _compare_folders(self, expected: State, did: dict[str, list[tuple[Any, ...]]]) -> None:
        wanted = [] if expected.folders == self._folders else [expected.folders]
        self.counts["folders"] += len(wanted)
        self._folders = expected.folders
        if did.get("folders", []) != wanted:
            self._fault(f"sent folders {did.get('folders', [])}, not {wanted}")

    def _compare_energy(self, expected: State, did: dict[str, list[tuple[Any, ...]]]) -> None:
        for (value,) in did.get("energy", []):
            self.counts["energies"] += 1
            right = value == "auto" if expected.energy is None else (
                isinstance(value, float) and abs(value - expected.energy) < 0.0006
            )
            if not right:
                self._fault(f"energy {value}, not {expected.energy}")
            if value == self._energy:
                self._fault(f"energy {value} was sent again")
            self._energy = value
        if expected.energy is None:
            followed = self._energy in (None, "auto")
        else:
            followed = isinstance(self._energy, float) and (
                abs(self._energy - expected.energy) < ENERGY_STEP + 0.001
            )
        if not followed:
            self._fault(f"the energy is still {self._energy}, not {expected.energy}")

    def _compare_announcements(self, did: dict[str, list[tuple[Any, ...]]]) -> None:
        made = [file for (file,) in did.get("announce", [])]
        wall, since = self.venue.wall, self._looked_at
        wanted = []
        if since is not None and wall >= CREDIBLE:
            for one in self._oracle.announcements:
                if since < one[0] <= wall and one not in self.made:
                    wanted.append(one)
        self.made += wanted
        self.counts["announcements"] += len(wanted)
        if made != [file.removeprefix("/") for _, file in wanted]:
            self._fault(f"announced {made}, not {wanted}")


def moments(oracle: Oracle, begin: int, end: int) -> list[int]:
    """The seconds at which the year is looked at: all around its edges, others at intervals."""
    found = set(range(begin, end, REST_SECONDS))
    for edge in oracle.edges():
        found.update(
            second for second in range(edge - DENSE_SECONDS, edge + DENSE_SECONDS + 1)
            if begin <= second < end
        )
    return sorted(found)


def one_year(
    zone: str, year: int, schedule: Path, first: date | None = None, last: date | None = None
) -> Follower:
    """Follow the schedule from 1 January to 31 December, or from `first` to before `last`."""
    oracle = oracle_of(zone, year)
    days = first or date(year, 1, 1), last or date(year + 1, 1, 1)
    begin, end = (
        int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp())
        for day in days
    )
    desk = Desk.create(0)
    try:
        follower = Follower(oracle, schedule, desk, begin)
        for moment in moments(oracle, begin, end):
            follower.venue.advance(moment - follower.venue.wall)
            follower.look()
    finally:
        desk.close()
    return follower


def jumping_year(zone: str, year: int, schedule: Path, jumps: int, dice: random.Random) -> Follower:
    """Follow the schedule through random stretches of the year, with a jump between any two."""
    oracle = oracle_of(zone, year)
    first, last = oracle.begin + 4 * 86400, oracle.end - 4 * 86400
    edges = [edge for edge in oracle.edges() if first < edge < last]
    desk = Desk.create(0)
    try:
        follower = Follower(oracle, schedule, desk, 1000.0)  # 1970: a machine without a clock
        follower.look()
        for _ in range(jumps):
            kind = dice.choice(("edge", "year", "hour", "seconds", "unknown", "again", "step"))
            wall = follower.venue.wall
            if kind == "unknown":
                wall = dice.uniform(0.0, CREDIBLE - 86400)
            elif kind == "year" or wall < CREDIBLE:
                wall = dice.uniform(first, last)
            elif kind == "step":  # as a network time service corrects a clock: not a jump
                follower.venue.wall += dice.uniform(-4.0, 4.0)
                follower.counts["steps"] += 1
                follower.stretch(dice.randint(20, 90))
                continue
            elif kind == "again" and follower.made:
                wall = dice.choice(follower.made)[0] - dice.uniform(1.0, 15.0)
            elif kind in ("edge", "again"):
                wall = dice.choice(edges) + dice.uniform(-30.0, 30.0)
            elif kind == "hour":
                wall += dice.choice((-1, 1)) * dice.uniform(60.0, 7200.0)
            else:
                wall += dice.choice((-1, 1)) * dice.uniform(6.0, 60.0)
            follower.jump(min(max(wall, 0.0), float(last)))
            follower.stretch(dice.randint(20, 90))
    finally:
        desk.close()
    return follower


def write_schedule(folder: Path, zone: str, year: int) -> Path:
    """Write the schedule for a zone and year."""
    leap = LEAP.format(year=year) if _is_leap(year) else ""
    path = folder / "schedule.toml"
    path.write_text(SCHEDULE.format(zone=zone, year=year, leap=leap), encoding="utf-8")
    return path


@common.quiet(logging.CRITICAL)
def follow(zone: str, year: int, jumps: int, seed: int) -> dict[str, Any]:
    """Run both for one zone; return a row of the table."""
    with tempfile.TemporaryDirectory(prefix="crowdstream-bench-") as folder:
        schedule = write_schedule(Path(folder), zone, year)
        steady = one_year(zone, year, schedule)
        jumping = jumping_year(zone, year, schedule, jumps, random.Random(seed))
    days = (datetime(year, 1, 1, tzinfo=ZoneInfo(zone)) + number * DAY for number in range(365))
    offsets = {day.utcoffset() for day in days}
    names = ("openings", "closings", "folders", "energies", "announcements", "looks")
    return {
        "zone": zone, "year": year, "offsets": len(offsets),
        **{name: steady.counts[name] for name in names},
        "jumps": jumping.counts["jumps"], "steps": jumping.counts["steps"],
        "announcements_between": jumping.counts["announcements"],
        "mismatches": len(steady.faults) + len(jumping.faults),
        "first": [*steady.faults[:3], *jumping.faults[:3]],
    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(description="Opening hours through whole years.")
    made.add_argument("--zones", nargs="+", choices=tuple(ZONES), default=list(ZONES))
    made.add_argument("--jumps", type=int, default=200)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if anything happened at another time than the oracle's."""
    options = parser().parse_args(argv)
    common.print_heading("Opening hours: a year in each time zone, compared with an oracle")
    bar = common.Progress(len(options.zones))
    rows = []
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(follow, zone, ZONES[zone], options.jumps, options.seed)
                for zone in options.zones]  # fmt: skip
        for job in jobs:
            rows.append(job.result())
            bar.add(1, rows[-1]["zone"])
    bar.close()
    print()
    print(common.table([{name: value for name, value in row.items() if name != "first"}
                        for row in rows]))  # fmt: skip
    wrong = [f"{row['zone']}: {fault}" for row in rows for fault in row["first"]]
    print(f"\nmismatches: {sum(row['mismatches'] for row in rows)}")
    print("\n".join(wrong))
    common.write_json(options.json, rows)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
