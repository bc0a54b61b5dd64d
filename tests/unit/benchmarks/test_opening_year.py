"""The oracle of the opening hours, and that the benchmark finds what differs from it."""

from __future__ import annotations

import logging
import random
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from benchmarks import opening_year
from benchmarks.opening_year import (
    Follower,
    Oracle,
    State,
    jumping_year,
    one_year,
    oracle_of,
    write_schedule,
)
from crowdstream.control.opening_hours import OpeningHours
from crowdstream.opening_hours import Schedule
from crowdstream.opening_hours.model import Announcement


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "crowdstream")


@pytest.fixture(scope="module")
def berlin() -> Oracle:
    return oracle_of("Europe/Berlin", 2026)


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def test_the_oracle_knows_an_evening(berlin: Oracle) -> None:
    # 5 June 2026 is a Friday.
    assert berlin.state(at("2026-06-05 19:59:59")) == State()
    assert berlin.state(at("2026-06-05 20:00")) == State(True, ("/lounge",), 0.2)
    assert berlin.state(at("2026-06-05 21:45")).energy == pytest.approx(0.55)
    late = berlin.state(at("2026-06-06 02:20"))
    assert (late.folders, late.short_term, late.average) == (("/late", "/slow"), -14.0, -17.0)
    assert not berlin.state(at("2026-06-06 03:00")).is_open
    assert berlin.state(at("2026-12-24 20:00")) == State()
    assert berlin.state(at("2026-12-31 23:30")).energy == pytest.approx(0.9375)
    assert berlin.state(1000.0) == opening_year.UNKNOWN


def test_the_oracle_knows_skipped_and_repeated_times(berlin: Oracle) -> None:
    # On 29 March 02:30 does not exist; on 25 October it occurs twice.
    announced = [moment for moment, file in berlin.announcements if file == "/half past two.wav"]
    assert at("2026-03-29 03:30") in announced
    assert at("2026-10-25 02:30") in announced and at("2026-10-25 02:30", fold=1) not in announced
    # Half an hour is skipped on Lord Howe Island; in Cairo, midnight.
    island = oracle_of("Australia/Lord_Howe", 2032)
    skipped = at("2032-10-03 02:30", "Australia/Lord_Howe")
    assert skipped in [moment for moment, _ in island.announcements]
    cairo = oracle_of("Africa/Cairo", 2027)
    closing = at("2027-04-30 01:00", "Africa/Cairo")
    assert cairo.state(closing - 1).is_open and not cairo.state(closing).is_open


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-30"),
        ("Europe/Berlin", "2026-10-24", "2026-10-26"),
        ("Africa/Cairo", "2027-04-29", "2027-05-01"),
        ("Australia/Lord_Howe", "2032-10-02", "2032-10-04"),
        ("America/New_York", "2028-02-28", "2028-03-01"),
    ],
)
def test_the_opening_hours_agree_with_the_oracle(
    zone: str, first: str, last: str, tmp_path: Path
) -> None:
    year = opening_year.ZONES[zone]
    schedule = write_schedule(tmp_path, zone, year)
    days = date.fromisoformat(first), date.fromisoformat(last)
    followed = one_year(zone, year, schedule, *days)
    assert followed.faults == []
    assert followed.counts["announcements"] >= 2 and followed.counts["looks"] > 570


def a_weekend(folder: Path) -> Follower:
    schedule = write_schedule(folder, "Europe/Berlin", 2026)
    return one_year("Europe/Berlin", 2026, schedule, date(2026, 6, 5), date(2026, 6, 7))


def test_an_opening_that_is_a_minute_late_is_found(tmp_path: Path) -> None:
    text = opening_year.SCHEDULE
    try:
        opening_year.SCHEDULE = text.replace('open = "20:00"', 'open = "20:01"').replace(
            '["20:00", 0.2]', '["20:01", 0.2]'
        ).replace('["20:00", 0.5]', '["20:01", 0.5]').replace(
            'from = "20:00"', 'from = "20:01"'
        )
        faults = a_weekend(tmp_path).faults
    finally:
        opening_year.SCHEDULE = text
    assert any("notified [], not [('open',)]" in fault for fault in faults)
    assert all(fault.startswith("2026-06-05 18:0") for fault in faults if "notified" in fault)


def test_an_announcement_that_is_late_or_repeated_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = Schedule.due_announcements

    def late(self: Schedule, since: float, now: float) -> list[tuple[float, Announcement]]:
        return due(self, since - 1, now - 1)

    monkeypatch.setattr(Schedule, "due_announcements", late)
    faults = a_weekend(tmp_path).faults
    assert sum("announced" in fault for fault in faults) >= 4
    monkeypatch.undo()
    announce = OpeningHours._announce

    def forgetful(self: OpeningHours, *values: object) -> None:
        self._made.clear()
        announce(self, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(OpeningHours, "_announce", forgetful)
    schedule = write_schedule(tmp_path, "Europe/Berlin", 2026)
    assert any(
        "announced" in fault
        for fault in jumping_year("Europe/Berlin", 2026, schedule, 150, random.Random(3)).faults
    )


def test_with_a_clock_that_jumps_they_agree_too(tmp_path: Path) -> None:
    schedule = write_schedule(tmp_path, "Europe/Berlin", 2026)
    followed = jumping_year("Europe/Berlin", 2026, schedule, 150, random.Random(3))
    assert followed.faults == []
    assert followed.counts["announcements"] > 0 and followed.counts["steps"] > 0
