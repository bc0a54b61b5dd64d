"""The fork server: its children, their exit status, and starts without it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import FORK_SERVER_MODULE, NAME, ForkServer
from crowdstream.supervisor.fd_store import FdStore, StoredDescriptor, close_all, receive
from crowdstream.system.process import PROJECT
from tests.support.osc_client import WAIT_SECONDS, until

PROBE = "tests.support.probe_child"
MakeChild = Callable[..., Child]


@contextlib.contextmanager
def started(modules: list[str], store: FdStore | None = None) -> Iterator[ForkServer]:
    forks = ForkServer(store)
    forks.begin(modules)
    forks.await_ready(WAIT_SECONDS)
    yield forks
    forks.close()


@pytest.fixture
def forks() -> Iterator[ForkServer]:
    with started(["fractions", PROBE]) as forks:
        yield forks


@pytest.fixture
def make(forks: ForkServer) -> Iterator[MakeChild]:
    children = []
    reader, writer = os.pipe()

    def child(argument: str = "wait", module: str = PROBE, by: ForkServer = forks) -> Child:
        children.append(Child(by, module, argument, reader, "probe"))
        return children[-1]

    yield child
    for one in children:
        one.stop(0.0)
    close_all([reader, writer])


def report(child: Child) -> dict[str, Any]:
    """Return the message of a child that waits."""
    messages: list[dict[str, Any]] = []

    def read() -> bool:
        messages.extend(child.read())
        return bool(messages)

    until(read)
    return messages[0]


def restart(forks: ForkServer) -> None:
    """Let time pass until another fork server has been started."""

    def started() -> bool:
        forks.tick()
        return bool(forks.pids)

    assert not started()  # not at once: whatever has killed it may kill the next one
    until(started)
    forks.await_ready(WAIT_SECONDS)


def parent(child: Child) -> int:
    return int(psutil.Process(child.pid).ppid())


def exit_status(child: Child) -> int | None:
    return child._process.wait(WAIT_SECONDS)


def test_a_child_is_forked_with_its_modules_and_only_its_descriptors(
    make: MakeChild, forks: ForkServer
) -> None:
    child = make()
    about = report(child)
    assert parent(child) == forks.pids["fork_server"]
    assert about["pid"] == about["session"] == child.pid
    assert "fractions" in about["modules"]
    assert len(about["descriptors"]) == 5  # three, the one given, and that of the listing
    assert "-m " + PROBE + " wait" in " ".join(psutil.Process(child.pid).cmdline())
    server = psutil.Process(forks.pids["fork_server"])
    assert FORK_SERVER_MODULE in server.cmdline() and PROBE not in server.cmdline()
    child.request_exit()
    assert exit_status(child) == 7
    assert child.exit_description == "status 7"


def test_the_fork_server_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROWDSTREAM_HTTP_TOKEN", "secret")
    reader, writer = os.pipe()
    with started([PROBE]) as forks:
        child = Child(forks, PROBE, "wait", reader, "probe")
        assert report(child)["secret"] is None
        child.stop()
    close_all([reader, writer])


def test_how_a_child_ended_is_known(make: MakeChild) -> None:
    killed = make()
    report(killed)
    os.kill(killed.pid, signal.SIGSEGV)
    assert exit_status(killed) == -signal.SIGSEGV
    assert killed.exit_description == f"signal {int(signal.SIGSEGV)}"
    assert exit_status(make("raise")) == 1
    assert exit_status(make(module="no.such.module")) == 1


def test_why_a_child_failed_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with started(["no.such.module"]) as forks:  # a child reports it, not the fork server
        reader, writer = os.pipe()
        for module in (PROBE, "no.such.module"):
            child = Child(forks, module, "raise", reader, "probe")
            assert exit_status(child) == 1
            child.stop()
        close_all([reader, writer])
    errors = capfd.readouterr().err
    assert "raised by the probe" in errors
    assert errors.count("No module named 'no'") == 1


def test_a_running_child_has_no_status(make: MakeChild) -> None:
    child = make()
    report(child)
    assert child.status is None and not child.exited
    with pytest.raises(TimeoutError):
        child._process.wait(0.0)


def test_children_outlive_the_fork_server_which_is_replaced(
    make: MakeChild, forks: ForkServer
) -> None:
    first = make()
    report(first)
    before = forks.pids["fork_server"]
    os.kill(before, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(before) or psutil.Process(before).status() == "zombie")
    second = make()  # directly
    report(second)
    assert parent(second) == os.getpid()
    assert not first.exited
    restart(forks)
    assert forks.pids["fork_server"] != before
    third = make()
    report(third)
    assert parent(third) == forks.pids["fork_server"]
    for child in (first, second, third):
        child.request_exit()
    assert exit_status(first) is None  # nobody has seen it
    assert exit_status(second) == exit_status(third) == 7


def test_a_fork_server_that_hangs_is_replaced(make: MakeChild, forks: ForkServer) -> None:
    hung = psutil.Process(forks.pids["fork_server"])
    hung.suspend()
    child = make()
    report(child)
    assert parent(child) == os.getpid()
    assert not hung.is_running() or hung.status() == psutil.STATUS_ZOMBIE
    restart(forks)
    assert forks.pids["fork_server"] != hung.pid


def test_a_successor_of_control_takes_it_over(make: MakeChild) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b'{"deaths": 0, "reason": ""}')
    first = ForkServer(FdStore(theirs))
    first.begin([PROBE])
    first.await_ready(WAIT_SECONDS)
    child = make(by=first)
    report(child)
    heir = FdStore()
    for name in (NAME, "probe"):
        message, fds = receive(ours) or ({}, [])
        assert message["keep"] == name
        heir.kept[name] = StoredDescriptor(fds, message["note"])
    second = ForkServer(heir)
    assert second.pids == first.pids
    adopted = Child.adopt(second, "probe")
    report(another := make(by=second))
    assert parent(another) == second.pids["fork_server"]
    os.kill(child.pid, signal.SIGKILL)
    assert exit_status(adopted) == -signal.SIGKILL
    adopted.stop()
    another.stop()
    second.close()
    first.close()
    ours.close()
    theirs.close()


def test_a_refused_fork_is_an_error_and_an_answer_to_another_control_is_none() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(["sleep", "100"])
    kept = [theirs.detach(), os.pidfd_open(process.pid)]
    store = FdStore()
    note = {"pid": process.pid, "modules": [], "root": str(PROJECT)}
    store.kept[NAME] = StoredDescriptor(kept, note)
    forks = ForkServer(store)
    reader, writer = os.pipe()

    def play() -> None:  # the fork server
        message, fds = receive(ours) or ({}, [])
        close_all(fds)
        late = json.dumps({"id": "1.1", "forked": 1}).encode()
        socket.send_fds(ours, [late], [reader])
        refusal = {"id": message["id"], "errno": errno.EAGAIN, "error": "too many processes"}
        ours.send(json.dumps(refusal).encode())

    open_before = len(os.listdir("/proc/self/fd"))
    thread = threading.Thread(target=play)
    thread.start()
    with pytest.raises(OSError, match="too many processes") as raised:
        forks.start(PROBE, "wait", [reader, writer, reader])
    assert raised.value.errno == errno.EAGAIN
    thread.join()
    assert len(os.listdir("/proc/self/fd")) == open_before
    forks.close(0.0)
    assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
    ours.close()
    close_all([reader, writer])


def test_a_fork_server_of_another_version_is_killed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(["sleep", "100"])
    store = FdStore()
    note = {"pid": process.pid, "modules": [], "root": "/another/version"}
    store.kept[NAME] = StoredDescriptor([theirs.detach(), os.pidfd_open(process.pid)], note)
    forks = ForkServer(store)
    assert not forks.ready and forks.pids == {} and NAME not in store.kept
    assert receive(ours) is None
    assert process.wait(WAIT_SECONDS) == -signal.SIGKILL, "it may not read its connection yet"
    ours.close()
