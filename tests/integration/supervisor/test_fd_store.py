"""The supervisor and its store, with small programs in place of control."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from crowdstream.supervisor.fd_store import FdStore, StoredDescriptor, close_all, receive
from tests.support.environment import PROJECT, child_environment
from tests.support.server import WAIT_SECONDS, ended, until

RUN = """
import sys
from crowdstream.supervisor.main import Supervisor
sys.exit(Supervisor(sys.argv[1], sys.argv[2:]).run())
"""

# Records each of its runs, and acts as the word for that run says.
CONTROL = """
import os, signal, socket, subprocess, sys, time
from crowdstream.supervisor.fd_store import FdStore, end_with_parent

connection = socket.socket(fileno=int(sys.argv[1]))
end_with_parent(connection)
store = FdStore(connection)
folder, *words = sys.argv[2:]
lives = len(os.listdir(folder))
word = words[min(lives, len(words) - 1)]
kept = {name: one.note for name, one in store.kept.items()}
def end(*_):
    store.report_exit(5)
    sys.exit(5)
signal.signal(signal.SIGTERM, end)  # before anybody can see this life
if store.kept.get("pipe"):
    os.write(store.kept["pipe"].fds[1], b"%d" % lives)
with open(f"{folder}/{lives}", "w") as file:
    file.write(f"{os.getpid()} {store.deaths} {store.reason} {sorted(kept.items())}")
if word == "status":
    sys.exit(3)
if word == "early":
    os.kill(os.getpid(), signal.SIGKILL)
if lives == 0:
    reader, writer = os.pipe()
    child = subprocess.Popen(["cat"], stdin=reader, stdout=subprocess.DEVNULL)
    os.close(reader)
    store.keep("pipe", [os.dup(writer), writer], {"pid": child.pid})
    store.keep("osc", [writer], {"port": 1})
    store.keep("gone", [writer], {})
    store.drop("gone")
store.ready()
if word == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if word == "break":
    sys.exit(0)
if word == "hang":
    os.kill(os.getpid(), signal.SIGSTOP)
while True:
    store.send_heartbeat()
    time.sleep(0.05)
"""


class Life:
    """A running supervisor, and the records of its control processes."""

    def __init__(self, folder: Path, *words: str) -> None:
        (folder / "small_control.py").write_text(CONTROL, encoding="utf-8")
        (folder / "lives").mkdir()
        self.folder = folder / "lives"
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, "small_control", str(self.folder), *words],
                env=child_environment(PYTHONPATH=f"{PROJECT}{os.pathsep}{folder}"), stderr=log,
            )

    def lives(self) -> list[str]:
        """The record of each control process."""
        files = sorted(self.folder.iterdir(), key=lambda path: int(path.name))
        return [path.read_text(encoding="utf-8") for path in files]

    def wait(self, count: int) -> None:
        """Wait until `count` control processes have started."""
        until(lambda: len(self.lives()) >= count and self.lives()[-1])


def test_stored_descriptors_return_and_their_processes_survive(tmp_path: Path) -> None:
    life = Life(tmp_path, "kill", "break", "serve")
    life.wait(3)
    first, second, third = life.lives()
    assert first.endswith("0  []")
    found = second.split(" ", 1)[1]
    assert found.startswith("1 signal 9 [('osc', {'port': 1}), ('pipe', {'pid': ")
    assert third.split(" ", 1)[1].startswith("2 status 0 ")
    child = int(found.split("'pid': ")[1].split("}")[0])
    assert psutil.Process(child).ppid() == life.process.pid
    life.process.terminate()
    assert life.process.wait(WAIT_SECONDS) == 5
    assert not psutil.pid_exists(child)


def test_an_exit_status_before_readiness_is_that_of_the_program(tmp_path: Path) -> None:
    assert Life(tmp_path, "status").process.wait(WAIT_SECONDS) == 3


def test_a_killed_start_is_repeated_with_the_port_only(tmp_path: Path) -> None:
    life = Life(tmp_path, "early", "serve")
    life.wait(2)
    assert life.lives()[1].split(" ", 1)[1] == "1 signal 9 []"
    life.process.send_signal(signal.SIGINT)
    assert life.process.wait(WAIT_SECONDS) == 5


def test_a_control_process_that_keeps_dying_is_not_restarted_indefinitely(tmp_path: Path) -> None:
    life = Life(tmp_path, "kill")
    assert life.process.wait(WAIT_SECONDS) == 1
    assert len(life.lives()) == 6
    assert "control has died 6 times within 60 s (signal 9)" in life.log.read_text()


def test_a_hung_control_process_is_replaced(tmp_path: Path) -> None:
    life = Life(tmp_path, "hang", "serve")
    life.wait(2)
    assert "1 signal 9" in life.lives()[1]
    life.process.terminate()
    assert life.process.wait(WAIT_SECONDS) == 5


def test_everything_ends_with_the_supervisor(tmp_path: Path) -> None:
    life = Life(tmp_path, "kill", "serve")
    life.wait(2)
    below = psutil.Process(life.process.pid).children(recursive=True)
    assert len(below) == 2
    life.process.kill()
    life.process.wait()
    until(lambda: all(ended(one) for one in below))


@pytest.mark.parametrize("gone", [True, False])
def test_a_control_process_that_starts_after_its_supervisor_has_ended_exits(gone: bool) -> None:
    """The messages sent before, with the descriptors, would suffice to play on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(b'{"deaths": 1, "reason": "signal 9"}')
        if gone:
            ours.close()
        code = (
            "import socket, sys; from crowdstream.supervisor.fd_store import end_with_parent\n"
            "end_with_parent(socket.socket(fileno=int(sys.argv[1])))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(theirs.fileno())], pass_fds=[theirs.fileno()],
            cwd=PROJECT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert ("EOFError: the supervisor has ended" in done.stderr) is gone
    assert done.returncode == int(gone)


def test_the_supervisor_imports_little(tmp_path: Path) -> None:
    life = Life(tmp_path, "serve")
    life.wait(1)
    used = psutil.Process(life.process.pid).memory_full_info().uss
    life.process.terminate()
    life.process.wait(WAIT_SECONDS)
    assert used < 16 << 20
    code = "import sys, crowdstream.supervisor.main; print('\\n'.join(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT,
    ).stdout.split()
    assert not [name for name in modules if name.startswith(("numpy", "crowdstream.control"))]


def test_a_store_without_a_supervisor_keeps_nothing() -> None:
    store = FdStore()
    assert not store.connected
    store.keep("osc", [0], {})
    store.ready()
    store.send_heartbeat()
    store.drop("osc")
    store.report_exit(0)
    assert store.kept == {}


def test_a_stopped_or_dead_supervisor_does_not_block_control() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    socket.send_fds(ours, [b'{"keep": "a", "note": {"b": 1}}'], [0, 1])
    ours.send(b'{"deaths": 2, "reason": "signal 9"}')
    store = FdStore(theirs)
    fds = store.kept["a"].fds
    assert store.kept == {"a": StoredDescriptor(fds, {"b": 1})} and len(fds) == 2
    # A child that inherited them would keep the others alive.
    assert not any(os.get_inheritable(fd) for fd in fds)
    close_all(fds)
    assert (store.deaths, store.reason) == (2, "signal 9")
    for _ in range(10_000):  # nothing reads: the buffer fills up, and this must return
        store._beat_at = 0.0
        store.send_heartbeat()
    assert receive(ours) == ({"alive": True}, [])
    ours.close()
    store.keep("c", [0], {})
    theirs.close()


def test_a_store_raises_when_its_supervisor_has_ended() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs, pytest.raises(EOFError):
        FdStore(theirs)
