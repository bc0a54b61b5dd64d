"""Children and callers: what they say, and how their end is noticed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from crowdstream.control.processes.child import Child, ChildError, ControlThreadCaller, ServerGone
from crowdstream.control.processes.fork_server import ForkServer
from crowdstream.supervisor.fd_store import FdStore, StoredDescriptor, receive
from tests.support.server import WAIT_SECONDS, until


def test_a_child_that_prints_is_logged_and_one_that_ends_is_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, writer = os.pipe()
    child = Child(ForkServer(), "tests.support.probe_child", "print", reader, "probe")
    messages: list[Any] = []

    def finished() -> bool:
        messages.extend(child.read())
        return child.finished

    until(finished)
    assert not messages
    assert any("no JSON" in r.getMessage() for r in caplog.records)
    assert child.exit_description == "status 0"
    child.stop()
    child.send({"do": "nothing"})  # after its end: goes nowhere, and into no other descriptor
    os.close(reader)
    os.close(writer)


def test_a_child_that_can_not_be_made_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ChildError, match="can't start this: No such file"):
        Child(ForkServer(), "this", "", 0, "x")
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_calls_reach_the_thread_or_fail() -> None:
    served: list[Any] = []
    go_on = True

    def serve() -> None:
        while go_on:
            caller.run_waiting()
            time.sleep(0.001)

    thread = threading.Thread(target=serve)
    caller = ControlThreadCaller(thread)
    thread.start()
    assert caller.call(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        caller.call(lambda: 1 / 0)
    assert caller.call(lambda: caller.call(lambda: 7)) == 7
    go_on = False
    thread.join()
    late = threading.Thread(target=lambda: served.append(_refused(caller)))
    late.start()
    until(lambda: caller._calls)  # it waits for the thread
    caller.close()
    late.join(WAIT_SECONDS)
    assert served == [True]
    assert _refused(caller)
    caller.free()


def _refused(caller: ControlThreadCaller) -> bool:
    try:
        caller.call(lambda: None)
    except ServerGone:
        return True
    return False


def test_a_child_outlives_its_control_and_is_adopted() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b'{"deaths": 0, "reason": ""}')
    desk, other = os.pipe()
    forks = ForkServer(FdStore(theirs))
    first = Child(forks, "crowdstream.recorder.main", "nothing", desk, "recorder")
    message, kept = receive(ours) or ({}, [])
    assert message["keep"] == "recorder" and message["note"]["pid"] == first.pid
    # The first control dies: what it had open is closed.
    for fd in (first._in, first.out):
        os.close(fd)
    first._in = first.out = -1
    heir = ForkServer()
    heir.store.kept["recorder"] = StoredDescriptor(kept, message["note"])
    second = Child.adopt(heir, "recorder")
    assert second.pid == first.pid and not heir.store.kept
    assert not second.finished
    first._process.kill()
    first._process.wait()

    def over() -> bool:
        second.read()
        return second.finished

    until(over)
    assert second.exit_description == "status unknown"  # no fork server has reported it
    second.stop()
    for one in (ours, theirs):
        one.close()
    for fd in (desk, other):
        os.close(fd)


def test_an_adopted_child_that_does_not_end_is_killed() -> None:
    sleeper = subprocess.Popen(["sleep", "100"])
    pipes = [*os.pipe(), *os.pipe()]
    forks = ForkServer()
    pidfd = os.pidfd_open(sleeper.pid)
    forks.store.kept["x"] = StoredDescriptor(
        [pipes[1], pipes[2], pidfd], {"pid": sleeper.pid, "module": "sleep", "root": ""}
    )
    child = Child.adopt(forks, "x")
    child.send({})
    assert os.read(pipes[0], 10) == b"\n{}\n"  # what was begun before is no line
    assert child.exit_description == "it closed its output"
    child.stop(0.1)
    assert sleeper.wait(WAIT_SECONDS) == -9
    child.stop(0.1)
    os.close(pipes[0])
    os.close(pipes[3])


def test_a_child_that_dies_has_failed_although_it_takes_a_while_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b'{"deaths": 0, "reason": ""}')
    desk, other = os.pipe()
    forks = ForkServer(FdStore(theirs))
    child = Child(forks, "tests.support.probe_child", "exit", desk, "probe")
    until(lambda: child.read() == [] and child.finished)
    wait = child._process.wait

    def ends_later(seconds: float | None = None) -> int | None:
        if seconds == 0.0:
            raise TimeoutError
        return wait(seconds)

    monkeypatch.setattr(child._process, "wait", ends_later)
    child.request_exit()
    assert any(
        received is not None and received[0] == {"drop": "probe", "failed": True}
        for received in (receive(ours) for _ in range(2))
    )
    monkeypatch.undo()
    child.stop()
    for end in (desk, other):
        os.close(end)
    forks.close()
    for connection in (ours, theirs):
        connection.close()
