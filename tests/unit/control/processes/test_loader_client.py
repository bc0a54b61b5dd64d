"""The loader client: blame for a dead loader, and the requests to its successor."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdstream.control.processes.child import Child, ChildError
from crowdstream.control.processes.event_loop import EventLoop
from crowdstream.control.processes.loader_client import (
    HANG_SECONDS,
    HUNG_FILE_SECONDS,
    MAX_RESTART_DELAY,
    MIN_RESTART_DELAY,
    REPLACE_SECONDS,
    SAME_FILE_SECONDS,
    SETTLED_SECONDS,
    FileQuarantine,
    LoaderClient,
)
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.system import medium


class FakeChild:
    """A fake loader process controlled by the test."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.out, self._end = os.pipe()
        self.finished = False
        self.status: int | None = None
        self.requests: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.killed = self.asked_to_exit = False

    @property
    def exited(self) -> bool:
        return self.status is not None

    def send(self, message: dict[str, Any]) -> None:
        self.requests.append(message)

    def push(self) -> None:
        pass

    def read(self) -> list[dict[str, Any]]:
        os.read(self.out, 1)
        events, self.events = self.events, []
        return events

    def say(self, **event: Any) -> None:
        self.events.append(event)
        os.write(self._end, b"x")

    def die(self, status: int | None) -> None:
        self.finished, self.status = True, status
        os.close(self._end)
        self._end = -1

    def kill(self) -> None:
        self.killed = True

    def request_exit(self) -> None:
        self.asked_to_exit = True

    def stop(self, _seconds: float) -> None:
        os.close(self.out)
        self.out = -1

    def close(self) -> None:
        for fd in (self._end, self.out):
            if fd >= 0:
                os.close(fd)


class ClientHarness:
    """A loader client with fake loaders and a manual clock."""

    def __init__(self) -> None:
        self.time = 100.0
        self.desk = Desk.create(8 * PAGE_BYTES)
        self.made: list[FakeChild] = [FakeChild(1)]
        self.heard: list[dict[str, Any]] = []
        self.refuse = False
        self.hearing = EventLoop()
        self.loading = LoaderClient(
            self.made[0], self.desk, self._start, lambda: self.time  # type: ignore[arg-type]
        )
        self.loading.listen(self.hearing, self.heard.append)

    def _start(self) -> Child:
        if self.refuse:
            raise ChildError("no process for it")
        self.made.append(FakeChild(len(self.made) + 1))
        return self.made[-1]  # type: ignore[return-value]

    @property
    def child(self) -> FakeChild:
        """The latest loader."""
        return self.made[-1]

    def turn(self, seconds: float = 0.01) -> None:
        """Let time pass; control processes messages and supervises."""
        self.time += seconds
        self.hearing.wait(0)
        self.loading.tick()

    def load(self, number: int, path: str) -> None:
        """Load and open a track."""
        request = {"do": "load", "track": number, "stems": [(number, path)], "cue": 0.0}
        self.loading.send(request)

    def opened(self, number: int, streamed: bool = True) -> None:
        """The loader has opened a track, streamed by default."""
        self.child.say(
            event="opened", track=number, frames=1000, streamed=streamed, channels=[2],
            files=[(1, 2)],
        )  # fmt: skip
        self.turn()

    def busy(self, number: int) -> None:
        """The loader is reading this track's file."""
        record = self.desk.loader
        record["since_ns"] += 1
        record["source"], record["busy"] = number, number

    def dies(self, status: int | None) -> None:
        """The loader exits."""
        self.child.die(status)
        self.turn()

    def events_named(self, event: str) -> list[dict[str, Any]]:
        """Events of that name."""
        return [entry for entry in self.heard if entry["event"] == event]

    def request_names(self) -> list[Any]:
        """Requests to the latest loader, by name and track."""
        return [(r["do"], r.get("track")) for r in self.child.requests if r["do"] != "ping"]


@pytest.fixture
def harness() -> Iterator[ClientHarness]:
    made = ClientHarness()
    yield made
    made.hearing.close()
    made.child.close()
    made.desk.close()


@pytest.fixture
def song(tmp_path: Path) -> str:
    path = tmp_path / "song.wav"
    path.write_bytes(b"12345")
    return str(path)


@pytest.mark.parametrize("status", [-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGFPE, 1, 134])
def test_a_crash_while_opening_a_file_quarantines_it_at_once(
    harness: ClientHarness, song: str, status: int
) -> None:
    harness.load(1, "/other.wav")
    harness.opened(1)
    harness.load(2, song)
    harness.busy(2)
    harness.dies(status)
    [event] = harness.events_named("failed")
    assert event["track"] == 2
    assert "song.wav: the decoder crashed on it" in event["reason"]
    assert len(harness.made) == 2, "another one at once"
    assert harness.request_names() == [("adopt", 1), ("adopted", None)]
    restarted = {"event": "restarted", "pid": 2, "count": 1, "planned": False}
    assert harness.events_named("restarted") == [restarted]
    harness.load(3, song)
    assert ("load", 3) not in harness.request_names()
    harness.turn()
    assert harness.events_named("failed")[1]["track"] == 3
    assert "until it changes" in harness.events_named("failed")[1]["reason"]
    Path(song).write_bytes(b"another one")
    harness.load(4, song)
    assert ("load", 4) in harness.request_names()


def test_a_crash_breaks_a_streamed_track_which_is_not_read_again(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, song)
    harness.opened(1)
    harness.busy(1)
    harness.dies(-signal.SIGBUS)
    assert [event["track"] for event in harness.events_named("broken")] == [1]
    [adopt] = [request for request in harness.child.requests if request["do"] == "adopt"]
    assert "SIGBUS" in adopt["broken"]
    harness.dies(-signal.SIGSEGV)
    assert len(harness.events_named("broken")) == 1, "what it died of is not counted twice"


@pytest.mark.parametrize("status", [-signal.SIGKILL, -signal.SIGTERM, 0, -signal.SIGHUP])
def test_an_outside_kill_quarantines_a_file_only_the_second_time(
    harness: ClientHarness, song: str, status: int
) -> None:
    harness.load(1, song)
    harness.busy(1)
    harness.dies(status)
    assert harness.events_named("failed") == []
    assert harness.request_names() == [("adopted", None), ("load", 1)], "it is tried again"
    harness.busy(1)
    harness.dies(status)
    assert "killed twice" in harness.events_named("failed")[0]["reason"]
    harness.turn(MIN_RESTART_DELAY)
    assert harness.request_names() == [("adopted", None)]


def test_kills_far_apart_or_on_different_files_quarantine_nothing(
    song: str, tmp_path: Path
) -> None:
    now = [0.0]
    blame = FileQuarantine(lambda: now[0])
    other = tmp_path / "other.wav"
    other.write_bytes(b"1")
    assert blame.judge(song, -9, False) is None
    assert blame.judge(str(other), -9, False) is None
    now[0] += SAME_FILE_SECONDS
    assert blame.judge(song, -9, False) is None
    Path(song).write_bytes(b"it has changed")
    assert blame.judge(song, None, False) is None, "unknown, and another file by now"
    assert blame.judge(song, None, False)
    assert blame.count == 1


def test_a_file_that_cannot_be_inspected_is_quarantined_too() -> None:
    blame = FileQuarantine(lambda: 0.0)
    assert blame.judge("/no/such\nfile", -11, False)
    assert "\\n" in (blame.reason("/no/such\nfile") or "")
    assert blame.reason("/another") is None


def test_a_file_whose_medium_hangs_is_quarantined_until_it_answers(
    song: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, stat = threading.Event(), os.stat
    monkeypatch.setattr(medium, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(os, "stat", lambda path: answers.wait(10) and stat(path))
    blame = FileQuarantine(lambda: 0.0)
    try:
        assert blame.judge(song, -signal.SIGKILL, True)
    finally:
        answers.set()
    monkeypatch.undo()
    assert blame.reason(song) is None


def test_a_loader_that_dies_before_reading_quarantines_nothing(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, song)
    harness.busy(1)
    harness.dies(-signal.SIGKILL)
    harness.dies(-signal.SIGKILL)  # the desk still names the file of the previous loader
    assert harness.events_named("failed") == []
    harness.turn(1.0)
    assert harness.request_names() == [("adopted", None), ("load", 1)]


def test_streamed_tracks_are_adopted_first(harness: ClientHarness) -> None:
    for number, streamed in ((1, False), (2, True), (3, False), (4, True)):
        harness.load(number, f"/{number}.wav")
        harness.opened(number, streamed)
    harness.dies(-signal.SIGKILL)
    assert [track for do, track in harness.request_names() if do == "adopt"] == [2, 4, 1, 3]


def test_a_hang_is_killed_and_its_file_quarantined_but_a_stall_is_not(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, song)
    harness.busy(1)
    for _ in range(5):
        harness.turn(1.0)
    assert not harness.child.killed, "a card that stalls for 5 s"
    for _ in range(int(HANG_SECONDS)):
        harness.turn(1.0)
        if harness.child.killed:
            break
    assert harness.child.killed
    harness.dies(-signal.SIGKILL)
    assert "reading it made no progress" in harness.events_named("failed")[0]["reason"]
    assert len(harness.made) == 2
    harness.load(2, song)
    assert ("load", 2) not in harness.request_names()
    harness.turn()
    harness.time += HUNG_FILE_SECONDS
    harness.load(3, song)
    assert ("load", 3) in harness.request_names(), "the medium may work again"


def test_a_loader_that_makes_progress_or_answers_pings_is_not_killed(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, song)
    for _ in range(4 * int(HANG_SECONDS)):
        harness.busy(1)  # as a long decode does now and then
        harness.turn(1.0)
    assert not harness.child.killed
    harness.desk.loader["busy"] = 0
    for _ in range(4 * int(HANG_SECONDS)):
        if harness.child.requests[-1] == {"do": "ping"}:
            harness.child.say(event="pong")
        harness.turn(1.0)
    assert not harness.child.killed
    for _ in range(2 * int(HANG_SECONDS)):
        harness.turn(1.0)
    assert harness.child.killed, "it does not answer, though it reads nothing"


def test_a_pause_of_control_is_not_taken_for_a_hang_of_the_loader(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, song)
    harness.busy(1)
    harness.turn(3600.0)
    harness.turn()
    assert not harness.child.killed


def test_deaths_without_a_culprit_are_restarted_with_back_off(harness: ClientHarness) -> None:
    harness.load(1, "/song.wav")
    harness.opened(1)
    pauses = []
    for _ in range(12):
        number = len(harness.made)
        begin = harness.time
        harness.dies(1)
        while len(harness.made) == number:
            harness.turn(0.05)
        pauses.append(round(harness.time - begin, 1))
        assert harness.request_names() == [("adopt", 1), ("adopted", None)]
    assert pauses[0] == 0.0, "the first time at once"
    assert pauses[:7] == sorted(pauses[:7])
    assert pauses[3] > 2 * pauses[1]
    assert MAX_RESTART_DELAY <= pauses[-1] <= MAX_RESTART_DELAY + 0.1
    harness.turn(SETTLED_SECONDS + 1)
    number = len(harness.made)
    harness.dies(1)
    assert len(harness.made) == number + 1


def test_requests_while_the_loader_is_down_are_not_lost(harness: ClientHarness) -> None:
    harness.refuse = True
    harness.dies(-9)
    harness.load(1, "/song.wav")
    harness.loading.send({"do": "attacks", "track": 0})
    harness.load(2, "/other.wav")
    harness.loading.send({"do": "unload", "track": 2})
    harness.refuse = False
    harness.turn(1.0)
    assert harness.request_names() == [("adopted", None), ("attacks", None), ("load", 1)]
    assert [event["track"] for event in harness.events_named("unloaded")] == [2]


def test_the_limits_of_a_load_request_apply_to_its_repetition(harness: ClientHarness) -> None:
    request = {
        "do": "load", "track": 1, "stems": [(1, "/jingle.wav")], "cue": 0.5, "folder": "/",
        "max_frames": 100,
    }  # fmt: skip
    harness.loading.send(request)
    harness.dies(-signal.SIGKILL)
    assert [one for one in harness.child.requests if one["do"] == "load"] == [request]


def test_a_dying_loaders_last_events_are_processed_before_blaming_a_file(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, song)
    harness.busy(1)
    harness.child.events.append(
        {"event": "opened", "track": 1, "frames": 9, "streamed": False, "files": [(1, 2)]}
    )
    harness.dies(-signal.SIGSEGV)
    assert harness.events_named("failed") == []
    assert len(harness.events_named("broken")) == 1


def test_a_loader_that_only_closed_its_output_is_killed(harness: ClientHarness) -> None:
    harness.dies(None)
    assert len(harness.made) == 1, "never two at once: they would share the pages"
    harness.turn(1.0)
    assert harness.child.killed
    harness.child.status = -9
    harness.turn()
    assert len(harness.made) == 2


def test_a_new_control_process_restores_the_loaders_tracks(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, "/one.wav")
    harness.opened(1)
    harness.load(2, song)
    harness.busy(2)
    harness.dies(-signal.SIGSEGV)
    harness.load(3, "/three.wav")
    harness.loading.send({"do": "attacks", "track": 0})
    notes = json.loads(json.dumps(harness.loading.to_state()))
    other = ClientHarness()
    other.loading.restore(notes)
    assert other.request_names() == [], "the loader runs, and has been asked already"
    other.loading.send({"do": "inventory", "track": 0})
    other.load(4, song)
    other.turn()
    assert "crashed" in other.events_named("failed")[0]["reason"], "bad is bad"
    other.dies(-9)
    assert other.request_names() == [
        ("adopt", 1), ("adopted", None), ("attacks", None), ("load", 3), ("inventory", None)
    ]  # fmt: skip
    other.child.say(event="inventory", tracks=[])
    other.turn()
    assert list(other.loading.loader_log.entries) == [3], "what is not there is not adopted"
    fresh = ClientHarness()
    fresh.loading.restore(notes, fresh=True)
    assert [do for do, _ in fresh.request_names()] == ["adopt", "adopted", "attacks", "load"]
    for made in (other, fresh):
        made.hearing.close()
        made.child.close()
        made.desk.close()


def test_a_planned_replacement_adopts_the_tracks_and_blames_no_file(
    harness: ClientHarness, song: str
) -> None:
    harness.load(1, song)
    harness.opened(1)
    harness.busy(1)
    harness.loading.renew()
    assert harness.child.asked_to_exit and not harness.child.killed
    harness.load(2, song)  # while there is no loader that would read it
    harness.dies(-11)  # however the old one ends
    assert len(harness.made) == 2 and not harness.loading.answers
    assert harness.request_names() == [("adopt", 1), ("adopted", None), ("load", 2)]
    restarted = {"event": "restarted", "pid": 2, "count": 0, "planned": True}
    assert harness.events_named("restarted") == [restarted]
    assert harness.loading.quarantine.count == 0 and int(harness.desk.loader["busy"]) == 0
    harness.child.say(event="pong")
    harness.turn()
    assert harness.loading.answers
    harness.dies(9)
    assert harness.events_named("restarted")[-1]["planned"] is False, "the next one is a crash"


def test_a_loader_that_is_to_be_replaced_and_does_not_exit_is_killed(
    harness: ClientHarness,
) -> None:
    harness.loading.renew()
    harness.turn(0.5 * REPLACE_SECONDS)
    assert not harness.child.killed
    harness.turn(0.6 * REPLACE_SECONDS)
    assert harness.child.killed
