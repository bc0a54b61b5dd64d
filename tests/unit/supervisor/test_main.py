"""How long the supervisor waits for other processes, with a clock that the test sets."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from crowdstream.supervisor.fd_store import FdStore, receive
from crowdstream.supervisor.main import (
    HUNG_SECONDS,
    KILLED_SECONDS,
    LAST_SECONDS,
    MAX_DEATHS,
    STOP_SECONDS,
    Supervisor,
)
from crowdstream.supervisor.upgrade import Rollout
from crowdstream.system.installation import Installation


class Harness:
    """A supervisor whose control process is a number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.sent: list[tuple[int, int]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(os, "kill", lambda *given: self.sent.append(given))
        self.supervisor = Supervisor("no_module", [])
        self.supervisor._pid = 1234
        self.supervisor._carry_out({"ready": True}, [])
        self.supervisor._last_heartbeat = self.now

    def killed_after(self, seconds: float) -> bool:
        """Let time pass; whether control is killed then."""
        self.now += seconds
        self.supervisor._kill_if_hung()
        return (1234, signal.SIGKILL) in self.sent


@pytest.fixture
def harness() -> Iterator[Harness]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Harness(monkeypatch)
        yield made
    for fd in (made.supervisor._wake, made.supervisor._waker):
        os.close(fd)


def test_control_without_a_heartbeat_is_killed(harness: Harness) -> None:
    assert not harness.killed_after(HUNG_SECONDS - 0.1)
    assert harness.killed_after(0.2)


def test_a_pause_of_the_machine_is_no_missing_heartbeat(harness: Harness) -> None:
    class Poll:
        """Returns an hour late."""

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            harness.now += milliseconds / 1000 + 3600.0
            return []

    poll: Any = Poll()
    assert harness.supervisor._wait(poll, HUNG_SECONDS / 2) == set()
    assert not harness.killed_after(HUNG_SECONDS / 2 - 0.1)
    assert harness.killed_after(0.2)


@pytest.mark.parametrize("signalled", [True, False])
def test_control_that_has_reported_its_exit_must_end_in_time(
    harness: Harness, signalled: bool
) -> None:
    if signalled:
        harness.supervisor._stop(signal.SIGTERM, None)
        assert harness.sent == [(1234, signal.SIGTERM)]
    harness.supervisor._carry_out({"leave": 3}, [])
    assert not harness.killed_after(STOP_SECONDS - 0.1), "it may finish recordings"
    assert harness.killed_after(0.2)
    harness.supervisor._status = -signal.SIGKILL
    assert harness.supervisor._exit_status() == 3


def test_a_process_that_can_not_be_ended_does_not_keep_the_supervisor(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [2001, 2002]  # the second one never ends

    def wait(_pid: int, flags: int) -> tuple[int, int]:
        assert flags == os.WNOHANG, "it must not block"
        return (left.pop(0), 0) if len(left) > 1 else (0, 0)

    def pause(*given: object) -> None:
        harness.now += 0.05

    monkeypatch.setattr(os, "waitpid", wait)
    monkeypatch.setattr(select, "select", pause)
    for pid in left:
        harness.supervisor._carry_out({"keep": f"child/{pid}", "note": {"pid": pid}}, [])
    begin = harness.now
    harness.supervisor._stop_orphans()
    assert harness.sent == [(2002, signal.SIGKILL)], "the number of the other one is free again"
    assert harness.now - begin == pytest.approx(LAST_SECONDS + KILLED_SECONDS, abs=0.2)


def test_a_start_from_scratch_that_fails_is_repeated_from_scratch(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way back from a version with another layout, as at the first start."""

    def no_child(*_given: object) -> None:
        raise ChildProcessError

    monkeypatch.setattr(os, "waitpid", no_child)
    supervisor = harness.supervisor

    def control_dies(*kept: str) -> list[str]:
        for name in kept:
            supervisor._carry_out({"keep": name, "note": {}}, [])
        supervisor._status = -signal.SIGKILL
        assert supervisor._exit_status() is None
        supervisor._ready, supervisor._status = False, None
        return list(supervisor._kept)

    old, new = Installation("python", "/old", "1"), Installation("python", "/new", "2")
    supervisor._upgrades.rollout = Rollout(new, old, live=False, stage="rollout")
    assert control_dies("osc", "desk", "engine/1") == ["osc"]
    assert supervisor._upgrades.rollout.stage == "rollback"
    assert control_dies("engine/1", "desk") == ["osc"], "the desk has no state yet"
    supervisor._carry_out({"ready": True}, [])
    assert control_dies("desk") == ["osc", "desk"]
    assert control_dies() == ["osc", "desk"]


def test_control_is_started_later_if_the_system_can_not_start_it_now(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor = harness.supervisor
    tried: list[float] = []

    def spawn(*_args: Any, **_named: Any) -> int:
        tried.append(harness.now)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def wait(_fds: Any, _write: Any, _other: Any, seconds: float) -> None:
        harness.now += seconds

    monkeypatch.setattr(os, "posix_spawn", spawn)
    monkeypatch.setattr(select, "select", wait)
    status = None
    while status is None:
        supervisor._run_control()
        status = supervisor._exit_status()
    assert status == 1 and len(tried) == MAX_DEATHS + 1
    assert [after - before for before, after in pairwise(tried)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert "control can't be started: Resource temporarily" in capfd.readouterr().err
    supervisor._stop(signal.SIGTERM, None)
    supervisor._rest(10.0)
    assert harness.now == tried[-1], "a request to stop is not delayed"


def test_control_that_dies_while_it_takes_over_is_started_again_later_each_time(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = harness.supervisor
    waits: list[float] = []
    monkeypatch.setattr(supervisor, "_rest", waits.append)
    supervisor._complete = True
    for ready in (True, False, False, False):
        supervisor._ready, supervisor._status = ready, 1
        if ready:
            supervisor._carry_out({"ready": True}, [])
        assert supervisor._exit_status() is None
    assert waits == [0.0, 0.5, 1.0], "one that was ready is replaced at once"


def test_control_reports_when_playback_waits_for_its_device(harness: Harness) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(json.dumps({"deaths": 0, "reason": ""}).encode())
        store = FdStore(ours)
        theirs.setblocking(False)
        for waits in (True, True, False):
            store.report_waiting(waits)
        supervisor = harness.supervisor
        seen: list[bool] = []
        with contextlib.suppress(BlockingIOError):
            while (received := receive(theirs)) is not None:
                supervisor._carry_out(*received)
                seen.append(supervisor._upgrades.waits_for_device)
        assert seen == [True, False]
