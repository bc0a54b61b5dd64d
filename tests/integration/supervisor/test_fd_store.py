"""The guardian and its store, with small programs in the place of control."""

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

# Notes each of its lives, and does what the life's word says.
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
    store.leave(5)
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
    store.beat()
    time.sleep(0.05)
"""


class Life:
    """A guardian that runs, and what its controls have written down."""

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
        """What each control has found."""
        files = sorted(self.folder.iterdir(), key=lambda path: int(path.name))
        return [path.read_text(encoding="utf-8") for path in files]

    def wait(self, count: int) -> None:
        """Wait until so many controls have come up."""
        until(lambda: len(self.lives()) >= count and self.lives()[-1])


def test_what_is_kept_comes_back_and_its_processes_live_on(tmp_path: Path) -> None:
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


def test_a_status_before_it_is_ready_is_the_programs(tmp_path: Path) -> None:
    assert Life(tmp_path, "status").process.wait(WAIT_SECONDS) == 3


def test_a_start_that_is_killed_is_begun_anew_with_the_port_alone(tmp_path: Path) -> None:
    life = Life(tmp_path, "early", "serve")
    life.wait(2)
    assert life.lives()[1].split(" ", 1)[1] == "1 signal 9 []"
    life.process.send_signal(signal.SIGINT)
    assert life.process.wait(WAIT_SECONDS) == 5


def test_one_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    life = Life(tmp_path, "kill")
    assert life.process.wait(WAIT_SECONDS) == 1
    assert len(life.lives()) == 6
    assert "control has died 6 times within 60 s (signal 9)" in life.log.read_text()


def test_one_that_hangs_is_replaced(tmp_path: Path) -> None:
    life = Life(tmp_path, "hang", "serve")
    life.wait(2)
    assert "1 signal 9" in life.lives()[1]
    life.process.terminate()
    assert life.process.wait(WAIT_SECONDS) == 5


def test_the_guardians_end_is_the_end_of_all(tmp_path: Path) -> None:
    life = Life(tmp_path, "kill", "serve")
    life.wait(2)
    below = psutil.Process(life.process.pid).children(recursive=True)
    assert len(below) == 2
    life.process.kill()
    life.process.wait()
    until(lambda: all(ended(one) for one in below))


@pytest.mark.parametrize("gone", [True, False])
def test_a_control_that_comes_up_after_its_guardian_has_ended_ends_too(gone: bool) -> None:
    """What the guardian has sent before, with the descriptors, would be enough to play on."""
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
    assert ("EOFError: the guardian has ended" in done.stderr) is gone
    assert done.returncode == int(gone)


def test_the_guardian_is_small(tmp_path: Path) -> None:
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


def test_a_store_without_a_guardian_keeps_nothing() -> None:
    store = FdStore()
    assert not store.guarded
    store.keep("osc", [0], {})
    store.ready()
    store.beat()
    store.drop("osc")
    store.leave(0)
    assert store.kept == {}


def test_a_guardian_that_is_stopped_or_gone_holds_nobody_up() -> None:
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
    for _ in range(10_000):  # nobody reads: the buffer fills up, and this comes to an end
        store._beat_at = 0.0
        store.beat()
    assert receive(ours) == ({"alive": True}, [])
    ours.close()
    store.keep("c", [0], {})
    theirs.close()


def test_a_store_whose_guardian_ends_first_says_so() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs, pytest.raises(EOFError):
        FdStore(theirs)
