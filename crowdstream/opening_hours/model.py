"""A schedule, and what it says of any moment.

Times of day are local times of the schedule's zone. They become instants date by date, so an
evening that crosses a change to or from daylight saving time keeps the hours on the wall clock. A
time that the change skips is moved forward by the length of the gap (02:30 becomes 03:30); a time
that occurs twice means its first occurrence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_DAYS_AHEAD = 400  # in which the next change is searched: a yearly date is among them
DAY = timedelta(days=1)


class ScheduleError(ValueError):
    """An invalid schedule. The message names the file, the entry and the reason."""


@dataclass(frozen=True)
class Days:
    """The days to which an entry applies: weekdays (0 is Monday), or single dates."""

    weekdays: frozenset[int] = frozenset(range(7))
    dates: frozenset[date] = frozenset()

    def contains(self, day: date) -> bool:
        """Return whether the entry applies to a day."""
        return day in self.dates if self.dates else day.weekday() in self.weekdays


@dataclass(frozen=True)
class Part:
    """From `begin` on, the DJ plays music of these folders that has one of these tags.

    Empty: of any folder, with any tags.
    """

    begin: time
    folders: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opening:
    """One evening: from `begin` to `end`, which is on the next day if it is not later.

    `energy`: pairs of time and energy, 0 to 1; linear in between. `fade_in`: seconds.
    """

    days: Days
    begin: time
    end: time
    fade_in: float = 20.0
    energy: tuple[tuple[time, float], ...] = ()
    parts: tuple[Part, ...] = ()
    closed: bool = False  # these dates stay closed


@dataclass(frozen=True)
class Announcement:
    """A file to announce at a time of day. `options`: the other arguments of `/announce`."""

    days: Days
    at: time
    file: str
    options: tuple[float, ...] = ()


@dataclass(frozen=True)
class LoudnessLimit:
    """Limits from `begin` to `end` in LUFS: over 3 s, and over 15 min; None: no limit."""

    days: Days
    begin: time
    end: time
    short_term: float | None
    average: float | None


@dataclass(frozen=True)
class Hours:
    """What a schedule says of a moment. `energy`: None as the DJ plans.

    `since`: the moment at which the current part of the opening has begun, in Unix seconds.
    """

    is_open: bool
    energy: float | None = None
    folders: tuple[str, ...] = ()
    fade_in: float = 0.0
    short_term: float | None = None
    average: float | None = None
    since: float = 0.0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """The next opening or closing: Unix seconds, and whether it is an opening."""

    at: float
    opens: bool


@dataclass(frozen=True)
class Schedule:
    """Opening hours, announcements and loudness limits. `zone`: of all times of day."""

    zone: tzinfo
    openings: tuple[Opening, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    limits: tuple[LoudnessLimit, ...] = ()
    name: str = field(default="schedule", compare=False)

    def hours(self, now: float) -> Hours:
        """Return what applies at a moment, in Unix seconds."""
        short_term, average = self._limits(now)
        found = self._opening_at(now)
        if found is None:
            return Hours(False, short_term=short_term, average=average)
        day, opening = found
        since, part = self._part(opening, day, now)
        return Hours(
            True, self._energy(opening, day, now), part.folders, opening.fade_in, short_term,
            average, since, part.tags,
        )

    def next_change(self, now: float) -> Change | None:
        """Return the next opening or closing after a moment; None if there is none within a year.

        Openings that meet are one: nothing changes where one ends and the next one begins.
        """
        is_open = self._opening_at(now) is not None
        today = self._local(now).date()
        for ahead in range(-1, MAX_DAYS_AHEAD):
            day = today + ahead * DAY
            edges = sorted({edge for _, begin, end in self._on(day) for edge in (begin, end)})
            for edge in edges:
                if edge > now and (self._opening_at(edge) is not None) != is_open:
                    return Change(edge, not is_open)
        return None

    def due_announcements(self, since: float, now: float) -> list[tuple[float, Announcement]]:
        """Return the announcements after `since`, up to and including `now`, in their order.

        Each with its moment; all in Unix seconds.
        """
        found = []
        for day in self._days(since, now):
            for one in self.announcements:
                at = self._instant(day, one.at)
                if one.days.contains(day) and since < at <= now:
                    found.append((at, one))
        return sorted(found, key=lambda pair: pair[0])

    def strictest(self) -> tuple[float | None, float | None]:
        """Return the lowest limits at any time: while the time of day is not known."""
        return _lowest(self.limits)

    def check(self) -> None:
        """Raise `ScheduleError` if two openings overlap on any day."""
        for day in self._sample_days():
            spans = sorted(
                (begin, end, number)
                for one in (day, day + DAY)
                for number, begin, end in self._numbered(one)
            )
            for (_, end, first), (begin, _, second) in pairwise(spans):
                if begin < end:
                    pair = sorted({first + 1, second + 1})
                    names = " and ".join(f"opening {number}" for number in pair)
                    raise ScheduleError(
                        f"{self.name}: {names} overlap on {day:%A}, {day.isoformat()}"
                    )

    # Moments ---------------------------------------------------------------------------------

    def _local(self, now: float) -> datetime:
        return datetime.fromtimestamp(now, UTC).astimezone(self.zone)

    def _instant(self, day: date, at: time, after: time | None = None) -> float:
        # The moment of a time of day; on the next day if it is not later than `after`.
        if after is not None and at <= after:
            day += DAY
        return datetime.combine(day, at, self.zone).timestamp()

    def _days(self, since: float, now: float) -> Iterator[date]:
        day, last = self._local(since).date(), self._local(now).date()
        while day <= last:
            yield day
            day += DAY

    def _numbered(self, day: date) -> Iterator[tuple[int, float, float]]:
        # Entries with dates take precedence over those with weekdays on these dates.
        own = [(number, one) for number, one in enumerate(self.openings) if one.days.contains(day)]
        dated = [(number, one) for number, one in own if one.days.dates]
        for number, one in dated or own:
            if not one.closed:
                yield number, self._instant(day, one.begin), self._instant(day, one.end, one.begin)

    def _on(self, day: date) -> Iterator[tuple[Opening, float, float]]:
        return ((self.openings[number], begin, end) for number, begin, end in self._numbered(day))

    def _sample_days(self) -> Iterator[date]:
        # A week without dates, and all dates with the days around them.
        monday = date(2024, 1, 1)
        free = (monday + number * DAY for number in range(0, 20000, 7))
        dates = {day for one in self.openings for day in one.days.dates}
        start = next(day for day in free if not any(day <= one < day + 9 * DAY for one in dates))
        yield from (start + number * DAY for number in range(7))
        yield from sorted({day + shift * DAY for day in dates for shift in (-1, 0)})

    def _opening_at(self, now: float) -> tuple[date, Opening] | None:
        today = self._local(now).date()
        for day in (today - DAY, today, today + DAY):
            for opening, begin, end in self._on(day):
                if begin <= now < end:
                    return day, opening
        return None

    def _limits(self, now: float) -> tuple[float | None, float | None]:
        # Where several limits apply, the lowest one counts.
        today = self._local(now).date()
        found = [
            one
            for day in (today - DAY, today)
            for one in self.limits
            if one.days.contains(day)
            and self._instant(day, one.begin) <= now < self._instant(day, one.end, one.begin)
        ]
        return _lowest(found)

    def _part(self, opening: Opening, day: date, now: float) -> tuple[float, Part]:
        # The beginning of the current part and itself; without one, those of the opening.
        at = self._points(opening, day, [part.begin for part in opening.parts])
        number = bisect_right(at, now) - 1
        if number < 0:
            return self._instant(day, opening.begin), Part(opening.begin)
        return at[number], opening.parts[number]

    def _energy(self, opening: Opening, day: date, now: float) -> float | None:
        if not opening.energy:
            return None
        at = self._points(opening, day, [when for when, _ in opening.energy])
        values = [energy for _, energy in opening.energy]
        number = bisect_right(at, now)
        if number in (0, len(at)):
            return values[min(number, len(at) - 1)]
        share = (now - at[number - 1]) / (at[number] - at[number - 1])
        return values[number - 1] + share * (values[number] - values[number - 1])

    def _points(self, opening: Opening, day: date, times: Sequence[time]) -> list[float]:
        # Times within an evening: those before its beginning belong to the next day.
        return [
            self._instant(day + DAY if at < opening.begin else day, at) for at in times
        ]


def _lowest(limits: Sequence[LoudnessLimit]) -> tuple[float | None, float | None]:
    short = [one.short_term for one in limits if one.short_term is not None]
    average = [one.average for one in limits if one.average is not None]
    return min(short, default=None), min(average, default=None)
