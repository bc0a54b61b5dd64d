"""The Link process: reports, and what it does with control's messages."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crowdstream.link import main as link_main
from crowdstream.link.main import LinkProcess
from tests.support import fake_link

SECONDS = 20.0


class Running:
    """A Link process in a thread, with a pipe as its standard input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reports: list[dict[str, Any]] = []
        read, self._write = os.pipe()
        monkeypatch.setattr(link_main, "report", self.reports.append)
        request = {"at": time.monotonic(), "beat": 0.0, "bpm": 123.0}
        self._thread = threading.Thread(target=LinkProcess(request, read).run)
        self._thread.start()

    def send(self, data: dict[str, Any] | bytes) -> None:
        """Send a message, or raw bytes."""
        packed = data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n"
        os.write(self._write, packed)

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a report and return it."""
        deadline, seen = time.monotonic() + SECONDS, 0
        while time.monotonic() < deadline:
            for one in self.reports[seen:]:
                seen += 1
                if condition(one):
                    return one
            time.sleep(0.001)
        raise TimeoutError(self.reports)

    def close(self) -> None:
        """Close standard input and wait for the end."""
        os.close(self._write)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A running process on the library in memory."""
    monkeypatch.setitem(sys.modules, "link", fake_link)
    made = Running(monkeypatch)
    yield made
    made.close()
    assert not fake_link.Link.made or not fake_link.Link.made[-1].enabled


def test_the_session_is_reported_at_once_and_when_it_changes(running: Running) -> None:
    first = running.until(lambda one: one["event"] == "session")
    assert (first["bpm"], first["peers"], first["playing"]) == (123.0, 0, False)
    fake_link.Link.made[-1].peers = 2
    assert running.until(lambda one: one["peers"] == 2)["bpm"] == 123.0


def test_control_sets_timeline_tempo_and_transport(running: Running) -> None:
    running.until(lambda one: one["event"] == "session")
    at = time.monotonic()
    running.send({"do": "timeline", "at": at, "beat": 9.0, "bpm": 99.0})
    found = running.until(lambda one: one["bpm"] == 99.0)
    assert found["beat"] == pytest.approx(9.0 + (found["at"] - at) * 1.65, abs=1e-3)
    running.send({"do": "tempo", "at": at, "bpm": 98.0})
    running.until(lambda one: one["bpm"] == 98.0)
    running.send({"do": "play", "at": at, "on": True})
    running.until(lambda one: one["playing"])
    running.send({"do": "settings", "quantum": 3.0, "start_stop": True})
    count = len(running.reports)
    running.send({"do": "report"})
    running.until(lambda _one: len(running.reports) > count)
    assert fake_link.Link.made[-1].startStopSyncEnabled


@pytest.mark.parametrize(
    "data",
    [b"\n", b"half a li", b"{}\n", b"[1]\n", b'{"do": "timeline"}\n', b'{"do": "play", "on": 1}\n',
     b'{"do": "tempo", "at": "x", "bpm": 1}\n', b'{"do": "unknown"}\n', b"\xff\xfe\n"],
)  # fmt: skip
def test_damaged_messages_are_ignored(running: Running, data: bytes) -> None:
    running.until(lambda one: one["event"] == "session")
    running.send(data)
    running.send(b"\n")
    running.send({"do": "tempo", "at": time.monotonic(), "bpm": 77.0})
    running.until(lambda one: one["bpm"] == 77.0)


def test_a_missing_library_is_reported_and_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "link", None)
    monkeypatch.setattr(link_main, "SEARCH_SECONDS", 0.01)
    running = Running(monkeypatch)
    try:
        reason = running.until(lambda one: one["event"] == "lost")["reason"]
        assert "LinkPython-extern" in reason
        running.send({"do": "settings", "quantum": 3.0, "start_stop": True})
        running.send({"do": "report"})
        running.until(lambda one: one["event"] == "lost")
        monkeypatch.setitem(sys.modules, "link", fake_link)
        running.until(lambda one: one["event"] == "session")
        assert fake_link.Link.made[-1].startStopSyncEnabled  # the settings were kept
    finally:
        running.close()
