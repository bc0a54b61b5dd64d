"""The file of a schedule: what it may contain, and messages that name entry and reason."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from crowdstream.opening_hours import ScheduleError, read_schedule, reader
from crowdstream.settings.files import PRESETS

FULL = """
zone = "Europe/Berlin"

[[opening]]
days = ["Friday", "sat"]
open = "20:00"
close = 03:00:00
fade_in = 5
energy = [["20:00", 0.2], ["23:00", 1], ["03:00", 0.3]]
  [[opening.part]]
  from = "22:00"
  folders = ["club", "/music/house"]
  tags = ["Deep House"]

[[opening]]
dates = ["2026-12-25", 2026-12-31]
closed = true

[[announcement]]
at = "02:30"
file = "last.wav"
depth = 20

[[loudness]]
from = "22:00"
to = "06:00"
short_term = -16
average = -18.5
"""


def read(tmp_path: Path, text: str | bytes) -> object:
    path = tmp_path / "schedule.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_schedule(path)


def test_all_entries_are_read(tmp_path: Path) -> None:
    (tmp_path / "schedule.toml").write_text(FULL)
    schedule = read_schedule(tmp_path / "schedule.toml")
    assert schedule.zone == ZoneInfo("Europe/Berlin")
    evening, closed = schedule.openings
    assert evening.days.weekdays == {4, 5}
    assert (evening.begin, evening.end) == (time(20), time(3))
    assert evening.fade_in == 5.0
    assert evening.energy == ((time(20), 0.2), (time(23), 1.0), (time(3), 0.3))
    assert evening.parts[0].folders == (str(tmp_path / "club"), "/music/house")
    assert evening.parts[0].tags == ("Deep House",)
    assert closed.closed and closed.days.dates == {date(2026, 12, 25), date(2026, 12, 31)}
    [bell] = schedule.announcements
    assert (bell.at, bell.file) == (time(2, 30), str(tmp_path / "last.wav"))
    assert bell.options == (20.0, 0.4, 0.3, 1.2, 0.5)
    [limit] = schedule.limits
    assert (limit.short_term, limit.average) == (-16.0, -18.5)


def test_the_example_is_a_valid_schedule() -> None:
    schedule = read_schedule(PRESETS / "schedule.toml")
    assert schedule.openings and schedule.limits and schedule.announcements


OPENING = '[[opening]]\nopen = "20:00"\nclose = "03:00"\n'
WRONG = {
    'zone = "Mars/Olympus"': r"zone: 'Mars/Olympus' is not known",
    "zone = 3": "zone: '3' is not known",
    "hours = 3": "unknown key 'hours'; known are announcement, loudness, opening, zone",
    "opening = 3": r"opening must be given as \[\[opening\]\]",
    f"{OPENING}days = ['monkey']": "opening 1: days: 'monkey' must be one of mon, tue",
    f"{OPENING}days = 'fri'": "days must be a list",
    f"{OPENING}dates = ['soon']": "dates: 'soon' is not a date such as 2026-12-31",
    f"{OPENING}days = ['fri']\ndates = ['2026-01-01']": "exclude each other",
    '[[opening]]\nopen = "20:00"': "opening 1: close is missing",
    '[[opening]]\nopen = "25:00"\nclose = "03:00"': "open: '25:00' is not a time such as 20:30",
    '[[opening]]\nopen = "20:00"\nclose = "20:00"': "open and close are the same time",
    f"{OPENING}fade_in = -1": "fade_in: -1 is out of range, 0 to 600",
    f"{OPENING}fade_in = true": "fade_in: 'True' is not a number",
    f"{OPENING}energy = [0.5]": "energy must be a list of pairs",
    f'{OPENING}energy = [["21:00", 1.5]]': "energy: 1.5 is out of range, 0 to 1",
    f'{OPENING}energy = [["04:00", 0.5]]': "energy: 04:00 is outside 20:00 to 03:00",
    f'{OPENING}energy = [["23:00", 0.5], ["22:00", 0.1]]': "must ascend; 22:00 does not",
    f'{OPENING}[[opening.part]]\nfrom = "12:00"': "part: 12:00 is outside",
    f"{OPENING}[[opening.part]]\nwhen = 3": "opening 1, part 1: unknown key 'when'",
    f'{OPENING}[[opening.part]]\nfrom = "21:00"\nfolders = "club"': "folders must be a list",
    f'{OPENING}[[opening.part]]\nfrom = "21:00"\ntags = [1]': "tags must be a list of texts",
    f'{OPENING}[[opening.part]]\nfrom = "21:00"\ntags = [""]': "1 to 60 characters each",
    f'{OPENING}[[opening.part]]\nfrom = "21:00"\ntags = {["x"] * 17}': "tags: 17 are too many",
    "[[opening]]\nclosed = true": "opening 1: closed needs dates",
    f"{OPENING}{OPENING}": "opening 1 and opening 2 overlap on Monday",
    '[[announcement]]\nat = "02:30"': "announcement 1: file is missing",
    '[[announcement]]\nfile = "a.wav"': "announcement 1: at is missing",
    '[[announcement]]\nfile = "~no-user/a.wav"\nat = "2:30"': "announcement 1: '~no-user/a.wav'",
    f'{OPENING}[[opening.part]]\nfrom = "21:00"\nfolders = ["~no-user"]': "part 1: '~no-user'",
    '[[announcement]]\nfile = "a.wav"\nat = "2:30"\ndepth = 99': "depth: 99 is out of range",
    '[[loudness]]\nfrom = "22:00"\nto = "06:00"': "short_term or average is missing",
    '[[loudness]]\nfrom = "22:00"\nto = "06:00"\naverage = 3': "average: 3 is out of range",
    "[[opening]": "line 1",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ScheduleError, match=WRONG[text]) as caught:
        read(tmp_path, text)
    assert "schedule.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="No such file"):
        read_schedule(tmp_path / "schedule.toml")
    with pytest.raises(ScheduleError, match=r"schedule\.toml"):
        read(tmp_path, b"\xff\xfe\0")


def test_an_empty_file_means_always_closed(tmp_path: Path) -> None:
    (tmp_path / "schedule.toml").write_text("")
    schedule = read_schedule(tmp_path / "schedule.toml")
    assert not schedule.hours(1_800_000_000.0).is_open


def zone_file(path: Path) -> None:
    """Write the file of a zone as in central Europe, see tzfile(5)."""
    part = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    part += struct.pack(">lbb", 3600, 0, 0) + b"CET\0"
    path.write_bytes(2 * part + b"\nCET-1CEST,M3.5.0,M10.5.0/3\n")


def offsets() -> list[timedelta | None]:
    """Offsets of the machine's zone from UTC in winter and in summer."""
    zone = reader.local_zone()
    return [zone.utcoffset(datetime(2026, month, 1, tzinfo=UTC)) for month in (1, 7)]


def test_the_machines_zone_needs_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "localtime"  # a copy, or mounted from the host into a container
    zone_file(file)
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(reader, "LOCALTIME", file)
    winter_and_summer = [timedelta(hours=1), timedelta(hours=2)]
    assert offsets() == winter_and_summer
    monkeypatch.setattr(reader, "LOCALTIME", tmp_path / "none")
    for name in (f":{file}", str(file)):
        monkeypatch.setenv("TZ", name)
        assert offsets() == winter_and_summer
    monkeypatch.setenv("TZ", "UTC")
    assert offsets() == [timedelta(), timedelta()]
