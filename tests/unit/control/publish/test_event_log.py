"""The event log: what is reported, to whom, and how the file keeps it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdstream.control.engine_queue.request import Request
from crowdstream.control.handlers.server import MAX_LISTED_EVENTS
from crowdstream.control.publish import event_file
from crowdstream.control.publish.event_file import FILE_BYTES, MAX_WAITING, EventFile
from crowdstream.control.publish.event_log import (
    KINDS,
    LEVELS,
    MAX_AT_ONCE,
    MAX_EVENTS,
    MAX_TEXT_BYTES,
    SECONDS_BETWEEN,
    Event,
    EventLog,
    event_of,
    line_of,
)
from crowdstream.control.publish.event_sources import (
    SILENCE_SECONDS,
    UNDERRUN_SECONDS,
    UNDERRUNS,
)
from crowdstream.logs.rotating_file import LogFile
from tests.support.offline_server import Rig, level, playing, write
from tests.support.server import until

PORT = 57120
GONE = Event(1795298645.123, "error", "device_lost", "the sound device is gone")


class Clocks:
    """Clocks that move on request, and the messages that were sent to subscribers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wall = 1.7e9
        self.sent: list[tuple[Any, ...]] = []

    def log(self) -> EventLog:
        """Return an empty log on these clocks."""
        return EventLog(
            lambda *message: self.sent.append(message), lambda: self.now, lambda: self.wall
        )


def reported(rig: Rig) -> list[tuple[str, str]]:
    """Return kind and text of the rig's events."""
    return [(event.kind, event.text) for event in rig.core.events.latest()]


# The log in memory ---------------------------------------------------------------------------


def test_an_event_is_sent_to_subscribers_and_to_all_receivers() -> None:
    clocks = Clocks()
    log, received = clocks.log(), list[Event]()
    log.add_receiver(received.append)
    log.report("device_lost", "gone")
    assert clocks.sent == [
        ("/event", "2023-11-14T22:13:20.000Z", "error", "device_lost", "gone")
    ]
    assert received == log.latest() and log.revision == 1


def test_two_events_never_have_the_same_time() -> None:
    clocks = Clocks()
    log = clocks.log()
    for kind in KINDS:
        log.report(kind, "at the same millisecond")
    stamps = [event.stamp for event in log.latest()]
    assert len(set(stamps)) == len(KINDS) and stamps == sorted(stamps)


def test_every_kind_has_a_level_that_alerts_know() -> None:
    assert set(KINDS.values()) == set(LEVELS)
    assert KINDS["upgrade_failed"] == "error"


def test_a_flood_of_one_kind_is_counted_and_leaves_room_for_others() -> None:
    clocks = Clocks()
    log = clocks.log()
    for _ in range(1000):
        log.report("broken_file", "again")
    log.report("device_lost", "gone")
    kinds = [event.kind for event in log.latest()]
    assert kinds == ["broken_file"] * int(MAX_AT_ONCE) + ["device_lost"]
    clocks.now += SECONDS_BETWEEN
    log.report("broken_file", "and again")
    left_out = 1000 - int(MAX_AT_ONCE)
    expected = f"and again ({left_out} earlier events of this kind were left out)"
    assert log.latest()[-1].text == expected


def test_texts_are_one_line_of_limited_length() -> None:
    clocks = Clocks()
    log = clocks.log()
    log.report("broken_file", "a\nb\udcff" + "é" * 500)
    text = log.latest()[0].text
    assert text.startswith("a\\nb\\udcff") and len(text.encode()) <= MAX_TEXT_BYTES


def test_earlier_events_come_before_those_of_this_process() -> None:
    clocks = Clocks()
    log = clocks.log()
    log.report("control", "replaced")
    log.add_earlier([GONE])
    assert [event.kind for event in log.latest()] == ["device_lost", "control"]
    log.add_earlier([GONE])
    assert len(log.latest()) == 2


def test_the_number_of_events_in_memory_is_limited() -> None:
    clocks = Clocks()
    log = clocks.log()
    for _ in range(MAX_EVENTS + 5):
        clocks.now += SECONDS_BETWEEN
        clocks.wall += SECONDS_BETWEEN
        log.report("stall", "again")
    assert len(log.latest()) == MAX_EVENTS
    log.add_earlier([GONE])
    assert len(log.latest()) == MAX_EVENTS and GONE not in log.latest()


# The command -----------------------------------------------------------------------------------


def test_the_latest_events_are_listed(rig: Rig) -> None:
    rig.send("/events")
    assert rig.heard("/events.reply") == [(0,)]
    rig.core.events.report("stall", "one")
    rig.core.events.report("device_lost", "two")
    rig.send("/events", 1)
    event = rig.core.events.latest()[-1]
    assert rig.heard("/events.reply")[1:] == [(1, event.stamp, "error", "device_lost", "two")]
    for wrong in (0, MAX_LISTED_EVENTS + 1):
        rig.send("/events", wrong)
    assert len(rig.fails()) == 2


def test_the_longest_list_fits_into_a_packet(rig: Rig) -> None:
    for _ in range(MAX_LISTED_EVENTS):
        rig.time += SECONDS_BETWEEN
        rig.core.events.report("upgrade_failed", "x" * 1000)
    rig.send("/events", MAX_LISTED_EVENTS)  # the rig checks the length of replies
    assert rig.heard("/events.reply")[0][0] == MAX_LISTED_EVENTS


# Sources ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (("/engine", "died", 11.64, "pyaudio", "USB"), "engine", "died: another one plays on USB"),
        (("/engine", "hung", 11.64, "pyaudio", "USB"), "engine", "11.6 ms were lost"),
        (("/device", 0), "device_lost", "gone"),
        (("/device", 1), "device_found", "back"),
        (("/restarted", "loader"), "loader", "loader process died"),
        (("/restarted", "control"), "control", "control process died"),
        (("/restarted", "web"), "web", "web process died"),
        (("/stall", "/media/a.wav", 2.5), "stall", "stalled for 2.5 s while reading /media/a.wav"),
        (("/broken", 100, "a.wav: cut off"), "broken_file", "a.wav: cut off"),
        (("/record/lost", "a.wav", 512), "recording", "512 frames of a.wav were lost"),
    ],
)
def test_a_notification_becomes_an_event(
    rig: Rig, message: tuple[Any, ...], kind: str, words: str
) -> None:
    rig.core.notify(*message)
    assert [(one, words in text) for one, text in reported(rig)] == [(kind, True)]


@pytest.mark.parametrize(
    "message",
    [
        ("/engine", "resized", 1.0, "null", "x"), ("/engine", "found", 0.0, "null", "x"),
        ("/ended", 100, "a"), ("/restarted", "something"), ("/device",), ("/device", 7),
        ("/underrun", "device", 1, 0.5),
    ],
)  # fmt: skip
def test_other_notifications_are_no_events(rig: Rig, message: tuple[Any, ...]) -> None:
    rig.core.notify(*message)
    assert reported(rig) == []


def test_a_burst_of_underruns_is_one_event(rig: Rig) -> None:
    for _ in range(UNDERRUNS - 1):
        rig.core.notify("/underrun", "device", 1, 0.5)
        rig.time += UNDERRUN_SECONDS / 2
    assert reported(rig) == [], "not within a minute"
    for _ in range(3 * UNDERRUNS):
        rig.core.notify("/underrun", "device", 2, 0.5)
        rig.time += 1.0
    assert len(reported(rig)) == 1
    rig.time += UNDERRUN_SECONDS + 1.0
    rig.core.notify("/underrun", "missing_page", UNDERRUNS, 0.0)
    assert len(reported(rig)) == 2 and "missing_page" in reported(rig)[1][1]


def test_silence_is_reported_once_while_a_dj_is_registered(rig: Rig, tmp_path: Path) -> None:
    def wait(seconds: float) -> None:
        for _ in range(round(seconds)):
            rig.time += 1.0
            rig.send("/dj/register", "on")
            rig.core.tick()

    rig.core.tick()
    rig.time += 2 * SILENCE_SECONDS
    rig.core.tick()
    assert reported(rig) == [], "without a DJ, silence is no fault"
    rig.send("/dj/register", "begin")
    rig.send("/dj/state", 1, 1, '{"note": "no track fits"}')
    wait(SILENCE_SECONDS - 2.0)
    assert reported(rig) == []
    wait(2 * SILENCE_SECONDS)
    assert [kind for kind, _ in reported(rig)] == ["nothing_plays"]
    assert reported(rig)[0][1].endswith("for 30 s: no track fits")


def test_a_playing_deck_is_audible_unless_its_level_or_the_masters_is_0(
    rig: Rig, tmp_path: Path
) -> None:
    playing(rig, str(write(tmp_path / "a.wav", level(1))))
    audible = rig.core.event_sources._audible
    assert audible()
    for address in ("/deck/A/level", "/mix/level"):
        rig.send(address, 0.0)
        rig.seconds(0.1)
        assert not audible()
        rig.send(address, 1.0)
        rig.seconds(0.1)
        assert audible()
    rig.send("/stop_stem", 100)
    rig.seconds(0.1)
    assert not audible()


def test_only_a_dj_that_stops_responding_is_reported(rig: Rig) -> None:
    for end, expected in (("end", []), ("", ["dj"])):
        rig.send("/dj/register", "begin")
        rig.time += 2.0
        rig.core.tick()
        if end:
            rig.send("/dj/register", end)
        rig.time += 20.0
        rig.core.tick()
        rig.time += 2.0
        rig.core.tick()
        assert [kind for kind, _ in reported(rig)] == expected


class DeadRecorder:
    """A recorder process whose messages are given."""

    finished = False
    is_foreign = False
    exit_description = "signal 9"

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)

    def send(self, message: dict[str, Any]) -> None:
        """Ignore a request."""

    def push(self) -> None:
        """Do nothing."""

    def read(self) -> list[dict[str, Any]]:
        """Return all messages, once."""
        found, self.messages = self.messages, []
        return found

    def stop(self, seconds: float = 0.0) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"event": "failed", "reason": "no space left", "full": True}, "disk_full"),
        ({"event": "failed", "reason": "input/output error", "full": False}, "recording"),
        ({"event": "refused", "reason": "less than 512 MB free", "full": True}, "disk_full"),
        ({"event": "refused", "reason": "no such folder", "full": False}, ""),
    ],
)
def test_a_failed_recording_is_reported_and_a_full_disk_by_its_own_kind(
    rig: Rig, tmp_path: Path, message: dict[str, Any], kind: str
) -> None:
    path = tmp_path / "a.wav"
    recorder = DeadRecorder({"id": 1, "path": str(path), "first": str(path), "frames": 0} | message)
    rig.core.recordings.launch = lambda _desk: recorder
    request = Request(rig.core, "/record/start")
    rig.core.recordings.start(request, [(0, path)], "wav16", 0)
    rig.core.recordings.tick()
    assert [one for one, _ in reported(rig)] == ([kind] if kind else [])
    if kind:
        assert message["reason"] in reported(rig)[0][1]


# The file --------------------------------------------------------------------------------------


class Kept:
    """Event files in a folder, and what they report."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reports: list[str] = []
        self.files: list[EventFile] = []

    def open(self, port: int = PORT) -> EventFile:
        """Open the file, and wait until it is read."""
        made = EventFile(self.path, port, self.reports.append)
        self.files.append(made)
        until(lambda: made._earlier is not None)
        return made

    def restart(self) -> list[Event]:
        """Close all files; return the events that the next server finds."""
        for file in self.files:
            file.close(60.0)
            assert not file._thread.is_alive()
        self.files = []
        return self.open().take_earlier() or []


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A file that does not exist yet, in a folder that does not either."""
    made = Kept(tmp_path / "state" / "crowdstream" / "events.jsonl")
    yield made
    for file in made.files:
        file.close(60.0)


def event(number: int, text: str = "x") -> Event:
    """Return one of many events."""
    return Event(round(1.7e9 + number, 3), "warning", "stall", text)


def test_events_are_found_after_a_restart(kept: Kept) -> None:
    file = kept.open()
    assert file.take_earlier() == []
    file.write(GONE)
    file.write(event(1, "naïve \\ \"quoted\""))
    assert kept.restart() == [GONE, event(1, "naïve \\ \"quoted\"")]
    assert kept.path.stat().st_mode & 0o077 == 0, "paths in events are nobody else's business"


def test_each_server_finds_its_own_events_only(kept: Kept) -> None:
    kept.open().write(GONE)
    kept.open(PORT + 1).write(event(1))
    assert kept.restart() == [GONE]


def test_two_files_of_limited_size_are_kept(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_file, "MAX_WAITING", 1 << 20)
    file = kept.open()
    count = 3 * FILE_BYTES // len(line_of(event(0, "x" * 250), PORT))
    for number in range(count):
        file.write(event(number, "x" * 250))
    found = kept.restart()
    assert found == [event(number, "x" * 250) for number in range(count - MAX_EVENTS, count)]
    sizes = [path.stat().st_size for path in sorted(kept.path.parent.iterdir())]
    assert len(sizes) == 2 and max(sizes) <= FILE_BYTES


DAMAGE = {
    "an incomplete last line": line_of(event(9), PORT)[:-20],
    "binary data": bytes(range(256)) * 20,
    "zeros": bytes(5000),
    "another kind of JSON": b'[1]\n7\n"x"\nnull\n{}\n',
    "deep nesting": b"[" * 3000 + b"\n",
    "a very long line": b'{"port":57120,"text":"' + b"x" * 100_000 + b'"}\n',
    "wrong values": b'{"port":57120,"time":7,"level":"error","kind":"a","text":"b"}\n'
    b'{"port":57120,"time":"soon","level":"error","kind":"a","text":"b"}\n'
    b'{"port":57120,"time":"2026-01-01T00:00:00Z","level":"loud","kind":"a","text":"b"}\n',
}


@pytest.mark.parametrize("name", DAMAGE)
def test_events_around_damage_are_found_and_new_ones_are_kept(kept: Kept, name: str) -> None:
    kept.path.parent.mkdir(parents=True)
    kept.path.write_bytes(line_of(GONE, PORT) + DAMAGE[name])
    file = kept.open()
    assert file.take_earlier() == [GONE]
    file.write(event(1))
    assert kept.restart() == [GONE, event(1)]


def test_a_line_of_a_later_version_is_read() -> None:
    line = line_of(GONE, PORT).replace(b'"port"', b'"more":[1],"port"')
    assert event_of(line, PORT) == GONE
    assert event_of(line.replace(b"device_lost", b"meteor"), PORT) is not None


def test_a_file_that_cannot_be_written_is_reported_once_and_counted(kept: Kept) -> None:
    kept.path.mkdir(parents=True)
    file = kept.open()
    for number in range(3):
        file.write(event(number))
    until(lambda: file.unwritten == 3)
    assert len(kept.reports) == 1 and "can't be written" in kept.reports[0]


def test_a_folder_that_cannot_be_made_does_not_stop_the_server(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Kept(tmp_path / "file" / "crowdstream" / "events.jsonl")
    file = kept.open()
    file.write(GONE)
    until(lambda: file.unwritten == 1)
    assert kept.restart() == []
    kept.files[0].close(60.0)


def test_a_pipe_in_place_of_the_file_blocks_nothing(kept: Kept) -> None:
    kept.path.parent.mkdir(parents=True)
    os.mkfifo(kept.path)
    file = kept.open()
    file.write(GONE)
    until(lambda: file.unwritten == 1)


def test_events_beyond_the_queue_are_dropped_and_counted(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume, writing = threading.Event(), threading.Event()

    def stalled(_self: object, _line: bytes) -> bool:
        writing.set()
        return resume.wait(60.0)

    monkeypatch.setattr(LogFile, "write", stalled)
    file = kept.open()
    file.write(GONE)
    assert writing.wait(60.0)
    for number in range(MAX_WAITING + 7):
        file.write(event(number))
    assert file.unwritten == 7
    resume.set()
