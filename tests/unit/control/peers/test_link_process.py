"""The Link process as control supervises it: only while it is enabled, and again when it dies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from crowdstream.control.peers import link as module
from crowdstream.control.peers.link import link_process, start_link
from crowdstream.control.processes.child import ChildError
from tests.support.fake_process import FakeProcess
from tests.support.offline_server import RATE, Rig


def session(rig: Rig, **changed: Any) -> dict[str, Any]:
    """A report of the process."""
    return {
        "event": "session", "at": rig.time, "beat": 0.0, "bpm": 120.0, "peers": 0,
        "playing": False, "play_at": 0.0, **changed,
    }


def starting(made: list[FakeProcess]) -> Callable[[], FakeProcess]:
    """Return a function that starts a process and adds it to `made`."""

    def start() -> FakeProcess:
        made.append(FakeProcess())
        return made[-1]

    return start


def test_the_process_runs_only_while_link_is_enabled() -> None:
    made: list[FakeProcess] = []
    with Rig() as rig:
        supervised = link_process(rig.core.link, starting(made), lambda: rig.time)
        supervised.tick()
        assert not made
        rig.send("/link/enable", 1)
        supervised.tick()
        assert [one["do"] for one in made[0].sent] == ["settings"]
        assert rig.core.link.state == "joining"
        made[0].messages.append(session(rig))
        supervised.tick()
        assert rig.core.link.state == "alone"
        rig.send("/link/enable", 0)
        assert made[0].stopped
        supervised.tick()
        assert len(made) == 1


def test_a_process_that_dies_is_reported_once_and_started_again() -> None:
    made: list[FakeProcess] = []
    with Rig(link="follower") as rig:
        supervised = link_process(rig.core.link, starting(made), lambda: rig.time)
        for lives in range(5):
            while len(made) == lives:
                supervised.tick()
                rig.time += 1.0
            made[-1].finished = True
            supervised.tick()
        assert rig.core.link.state == "failed"
        events = [one.text for one in rig.core.events.latest() if one.kind == "link"]
        assert len(events) == 1
        assert "signal 9" in events[0]


def test_a_process_that_hangs_is_replaced() -> None:
    made: list[FakeProcess] = []
    with Rig(link="follower") as rig:
        supervised = link_process(rig.core.link, starting(made), lambda: rig.time)
        supervised.tick()
        made[0].messages.append(session(rig))
        supervised.tick()
        for _ in range(20):
            rig.time += 0.5
            rig.core.link.tick()
            supervised.tick()
        assert made[0].stopped and len(made) == 2
        made[1].messages.append(session(rig))
        supervised.tick()
        assert rig.core.link.state == "alone"


def test_a_process_that_cannot_be_started_is_tried_again() -> None:
    tries = []

    def start() -> FakeProcess:
        tries.append(rig.time)
        raise ChildError("can't start it: no memory")

    with Rig(link="leader") as rig:
        supervised = link_process(rig.core.link, start, lambda: rig.time)
        for _ in range(100):
            supervised.tick()
            rig.time += 0.25
        assert 3 <= len(tries) <= 8  # with growing pauses
        assert rig.core.link.reason == "can't start it: no memory"


def test_the_process_starts_at_the_clocks_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(module, "Child", lambda *arguments: started.append(arguments))
    with Rig(bpm=90.0) as rig:
        rig.seconds(2.0)
        rig.desk.clock["latency"] = 0.5
        fork_server: Any = object()
        start_link(fork_server, rig.desk, rig.core.link)
        audible = rig.core.beat_clock.beat(rig.desk.frame - 0.5 * RATE)
    _forks, name, request, _fd, kept = started[0]
    assert (name, kept) == ("crowdstream.link.main", "link")
    timeline = json.loads(request)
    assert (timeline["at"], timeline["bpm"]) == (rig.time, 90.0)
    assert timeline["beat"] == pytest.approx(audible, abs=1e-6)
