"""The pipes of control's children, without processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from crowdstream.control.processes import child as child_module
from crowdstream.control.processes import fork_server
from crowdstream.control.processes.child import Child
from crowdstream.control.processes.fork_server import NAME, ForkServer
from crowdstream.supervisor.fd_store import FdStore, StoredDescriptor, close_all, receive
from crowdstream.system.process import PROJECT


def closed_pipe() -> int:
    """A descriptor that looks like that of a process that has ended."""
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def test_a_process_that_is_forked_too_late_gets_no_messages_of_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two engines with one number would both play."""
    monkeypatch.setattr(fork_server, "ANSWER_SECONDS", 0.05)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    store = FdStore()
    note = {"pid": 1, "modules": [], "root": str(PROJECT)}
    store.kept[NAME] = StoredDescriptor([theirs.detach(), closed_pipe()], note)
    forks = ForkServer(store)
    direct: list[int] = []

    def start_directly(_module: str, _argument: str, fds: Sequence[int]) -> Any:
        direct.extend(map(os.dup, fds))
        return fork_server.ChildProcess(2, closed_pipe(), forks)

    monkeypatch.setattr(forks, "_start_directly", start_directly)
    child = Child(forks, "engine", "", ours.fileno(), "engine/1")
    _request, late = receive(ours) or ({}, [])
    child.send({"go": 1})
    assert os.read(late[0], 100) == b"", "it exits"
    assert os.read(direct[0], 100) == b'{"go": 1}\n'
    with pytest.raises(BrokenPipeError):
        os.write(late[1], b"x")
    child.stop(0.0)
    close_all([*late, *direct])
    ours.close()


@pytest.mark.parametrize("root", [str(PROJECT), "/another/version"])
def test_control_does_not_wait_for_a_status_that_nobody_reports(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FdStore()
    reader, writer = os.pipe()
    note = {"pid": 1, "module": "loader", "root": root}
    store.kept["loader"] = StoredDescriptor([writer, reader, closed_pipe()], note)
    forks = ForkServer(store)
    waited: list[int] = []
    monkeypatch.setattr(forks, "status", waited.append)
    child = Child.adopt(forks, "loader")
    assert child.exited and child.status is None
    assert bool(waited) is not child.is_foreign
    child.stop(0.0)


def test_a_child_that_the_kernel_can_not_end_does_not_block_control(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_module, "KILLED_SECONDS", 0.01)
    killed: list[int] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *given: killed.append(given[1]))
    store = FdStore()
    reader, writer = os.pipe()
    lives, end = os.pipe()  # its end of file would be that of the process
    note = {"pid": 1, "module": "loader", "root": "/another/version"}
    store.kept["loader"] = StoredDescriptor([writer, reader, lives], note)
    child = Child.adopt(ForkServer(store), "loader")
    child.stop(0.0)
    assert killed == [signal.SIGKILL] and not child.exited and child.out == -1
    os.close(end)
    assert child.exited
