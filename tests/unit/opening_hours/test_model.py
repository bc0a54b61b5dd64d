"""What a schedule says of any moment: evenings, dates, energy, and both changes of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from crowdstream.opening_hours.model import (
    Announcement,
    Days,
    LoudnessLimit,
    Opening,
    Part,
    Schedule,
    ScheduleError,
)

BERLIN = ZoneInfo("Europe/Berlin")
FRIDAY = frozenset({4})
EVENING = Opening(Days(FRIDAY), time(20), time(3))


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    """The moment of a local time, as "2026-06-05 20:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def test_an_evening_ends_after_midnight() -> None:
    schedule = Schedule(BERLIN, (EVENING,))
    states = {"19:59": False, "20:00": True, "23:59": True}
    for when, is_open in states.items():
        assert schedule.hours(at(f"2026-06-05 {when}")).is_open is is_open
    for when, is_open in {"00:00": True, "02:59": True, "03:00": False, "20:00": False}.items():
        assert schedule.hours(at(f"2026-06-06 {when}")).is_open is is_open


def test_the_next_change_is_found_across_the_week() -> None:
    schedule = Schedule(BERLIN, (EVENING,))
    change = schedule.next_change(at("2026-06-06 12:00"))
    assert change is not None
    assert (change.at, change.opens) == (at("2026-06-12 20:00"), True)
    change = schedule.next_change(at("2026-06-05 21:00"))
    assert change is not None
    assert (change.at, change.opens) == (at("2026-06-06 03:00"), False)
    assert Schedule(BERLIN).next_change(at("2026-06-05 21:00")) is None


def test_openings_that_meet_are_one() -> None:
    every = Opening(Days(), time(8), time(20))
    night = Opening(Days(), time(20), time(8))
    schedule = Schedule(BERLIN, (every, night))
    schedule.check()
    assert schedule.next_change(at("2026-06-05 21:00")) is None
    assert schedule.hours(at("2026-06-05 20:00")).is_open


def test_dates_take_precedence_over_weekdays() -> None:
    friday = date(2026, 12, 25)
    closed = Opening(Days(frozenset(), frozenset({friday})), time(), time(), closed=True)
    schedule = Schedule(BERLIN, (EVENING, closed))
    assert not schedule.hours(at("2026-12-25 21:00")).is_open
    assert schedule.hours(at("2026-12-18 21:00")).is_open
    short = Opening(Days(frozenset(), frozenset({friday})), time(18), time(22))
    schedule = Schedule(BERLIN, (EVENING, short))
    assert schedule.hours(at("2026-12-25 19:00")).is_open
    assert not schedule.hours(at("2026-12-25 23:00")).is_open


def test_overlapping_openings_are_refused_by_name_and_day() -> None:
    late = Opening(Days(frozenset({5})), time(2), time(5))
    with pytest.raises(ScheduleError, match="opening 1 and opening 2 overlap on Friday"):
        Schedule(BERLIN, (EVENING, late)).check()
    Schedule(BERLIN, (EVENING, Opening(Days(frozenset({5})), time(3), time(5)))).check()
    eve = Opening(Days(frozenset(), frozenset({date(2026, 12, 31)})), time(18), time(6))
    morning = Opening(Days(frozenset(), frozenset({date(2027, 1, 1)})), time(5), time(8))
    with pytest.raises(ScheduleError, match="2026-12-31"):
        Schedule(BERLIN, (eve, morning)).check()


def test_the_energy_is_linear_between_its_points_also_after_midnight() -> None:
    points = ((time(20), 0.2), (time(23), 0.8), (time(1), 0.4))
    schedule = Schedule(BERLIN, (Opening(Days(FRIDAY), time(20), time(3), energy=points),))
    wanted = {"2026-06-05 20:00": 0.2, "2026-06-05 21:30": 0.5, "2026-06-05 23:00": 0.8,
              "2026-06-06 00:00": 0.6, "2026-06-06 02:00": 0.4}  # fmt: skip
    for when, energy in wanted.items():
        assert schedule.hours(at(when)).energy == pytest.approx(energy)
    assert Schedule(BERLIN, (EVENING,)).hours(at("2026-06-05 21:00")).energy is None


def test_parts_of_the_evening_have_their_folders() -> None:
    parts = (Part(time(22), ("/lounge",)), Part(time(1), ("/club", "/house")))
    schedule = Schedule(BERLIN, (Opening(Days(FRIDAY), time(20), time(3), parts=parts),))
    assert schedule.hours(at("2026-06-05 21:00")).folders == ()
    assert schedule.hours(at("2026-06-05 22:00")).folders == ("/lounge",)
    assert schedule.hours(at("2026-06-06 00:59")).folders == ("/lounge",)
    assert schedule.hours(at("2026-06-06 01:00")).folders == ("/club", "/house")


def test_parts_of_the_evening_have_their_tags() -> None:
    parts = (Part(time(22), (), ("lounge",)), Part(time(1), ("/club",)))
    schedule = Schedule(BERLIN, (Opening(Days(FRIDAY), time(20), time(3), parts=parts),))
    for when, folders, tags in (("2026-06-05 21:00", (), ()), ("2026-06-05 22:00", (), ("lounge",)),
                                ("2026-06-06 01:00", ("/club",), ())):  # fmt: skip
        hours = schedule.hours(at(when))
        assert (hours.folders, hours.tags) == (folders, tags)


def test_where_several_loudness_limits_apply_the_lowest_counts() -> None:
    day = LoudnessLimit(Days(), time(6), time(22), -12.0, None)
    night = LoudnessLimit(Days(), time(22), time(6), -18.0, -20.0)
    sunday = LoudnessLimit(Days(frozenset({6})), time(0), time(12), -16.0, -15.0)
    schedule = Schedule(BERLIN, limits=(day, night, sunday))
    for when, limits in {
        "2026-06-05 21:59": (-12.0, None), "2026-06-05 22:00": (-18.0, -20.0),
        "2026-06-06 05:59": (-18.0, -20.0), "2026-06-07 03:00": (-18.0, -20.0),
        "2026-06-07 07:00": (-16.0, -15.0),
    }.items():  # fmt: skip
        hours = schedule.hours(at(when))
        assert (hours.short_term, hours.average) == limits
    assert schedule.strictest() == (-18.0, -20.0)


def test_announcements_are_due_once() -> None:
    bell = Announcement(Days(FRIDAY), time(22, 30), "bell.wav")
    last = Announcement(Days(), time(2, 30), "last.wav")
    schedule = Schedule(BERLIN, announcements=(last, bell))
    begin, end = at("2026-06-05 00:00"), at("2026-06-07 00:00")
    due = schedule.due_announcements(begin, end)
    assert [one for _, one in due] == [last, bell, last]
    assert [moment for moment, _ in due] == [
        at("2026-06-05 02:30"), at("2026-06-05 22:30"), at("2026-06-06 02:30"),
    ]  # fmt: skip
    exact = at("2026-06-05 22:30")
    assert schedule.due_announcements(exact - 1, exact) == [(exact, bell)]
    assert schedule.due_announcements(exact, exact + 1) == []


# In 2026, Berlin's clocks go forward at 02:00 on 29 March and back at 03:00 on 25 October.


def test_when_clocks_go_forward_a_skipped_time_moves_by_the_gap() -> None:
    saturday = Opening(Days(frozenset({5})), time(22), time(2, 30))
    schedule = Schedule(BERLIN, (saturday,))
    change = schedule.next_change(at("2026-03-28 23:00"))
    assert change is not None
    assert datetime.fromtimestamp(change.at, BERLIN).strftime("%H:%M") == "03:30"
    assert change.at - at("2026-03-28 22:00") == 4.5 * 3600
    bell = Announcement(Days(), time(2, 15), "bell.wav")
    due = Schedule(BERLIN, announcements=(bell,)).due_announcements(
        at("2026-03-29 00:00"), at("2026-03-29 12:00")
    )
    assert due == [(at("2026-03-29 03:15"), bell)]


def test_when_clocks_go_back_a_time_that_occurs_twice_counts_once() -> None:
    saturday = Opening(Days(frozenset({5})), time(22), time(4))
    schedule = Schedule(BERLIN, (saturday,))
    change = schedule.next_change(at("2026-10-24 23:00"))
    assert change is not None
    assert change.at - at("2026-10-24 22:00") == 7 * 3600, "the night has an hour more"
    assert schedule.hours(at("2026-10-25 02:30", fold=1)).is_open
    bell = Announcement(Days(), time(2, 30), "bell.wav")
    announcing = Schedule(BERLIN, announcements=(bell,))
    first, second = at("2026-10-25 02:30"), at("2026-10-25 02:30", fold=1)
    assert second - first == 3600
    assert announcing.due_announcements(first - 1, first) == [(first, bell)]
    assert announcing.due_announcements(second - 1, second) == []


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
)
def test_in_a_year_each_evening_opens_and_closes_once_in_its_order(zone: str) -> None:
    place = ZoneInfo(zone)
    schedule = Schedule(place, (Opening(Days(), time(18), time(2, 30)),))
    now = datetime(2026, 1, 1, 12, tzinfo=place).timestamp()
    end, opened = now + timedelta(days=365).total_seconds(), 0
    is_open = schedule.hours(now).is_open
    while True:
        change = schedule.next_change(now)
        assert change is not None
        assert change.at > now and change.opens is not is_open
        assert schedule.hours(change.at).is_open is change.opens
        assert schedule.hours(change.at - 1).is_open is not change.opens
        now, is_open = change.at, change.opens
        if now > end:
            break
        opened += is_open
        local = datetime.fromtimestamp(now, UTC).astimezone(place)
        assert local.strftime("%H:%M") == "18:00" if is_open else local.hour in (2, 3)
    assert opened == 365
