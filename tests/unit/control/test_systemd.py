"""What systemd hears of the server, on a socket as systemd makes it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from crowdstream.control.systemd import STATUS_SECONDS, Notifier
from tests.support.server import server, until


class Manager:
    """The service manager's end: `heard` are the datagrams so far, with their times."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)
        self.all: list[str] = []

    def heard(self) -> list[str]:
        """What has come since the last call."""
        new = []
        with contextlib.suppress(BlockingIOError):
            while True:
                new.append(self._socket.recv(4096).decode())
        self.all += new
        return new

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def test_ready_then_life_at_half_the_time_and_only_while_frames_move(
    manager: Manager, tmp_path: Path
) -> None:
    now = 0.0
    notifier = Notifier(str(tmp_path / "notify"), 10.0, lambda: now)
    notifier.tick(100, lambda: "early")
    assert manager.heard() == []
    notifier.ready(100, "fine")
    assert manager.heard() == ["READY=1\nSTATUS=fine"]
    frame = 100
    said = []
    for _ in range(2020):  # a little more than twenty seconds
        notifier.tick(frame, lambda: "fine")
        said += [(round(now, 2), text) for text in manager.heard()]
        now += 0.01
        frame += 441
    assert [text for _, text in said] == ["WATCHDOG=1"] * 4
    assert [moment for moment, _ in said] == pytest.approx([5, 10, 15, 20], abs=0.06)
    for _ in range(2000):  # the frames stand
        notifier.tick(frame, lambda: "fine")
        now += 0.01
    # What moved before they stood counts once at most.
    assert manager.heard() in ([], ["WATCHDOG=1"])
    now += 10
    notifier.tick(frame, lambda: "fine")
    assert manager.heard() == []
    notifier.tick(frame + 1, lambda: "it plays again")
    assert manager.heard() == ["WATCHDOG=1\nSTATUS=it plays again"]


def test_without_a_watchdog_only_changes_are_told(manager: Manager, tmp_path: Path) -> None:
    now = 0.0
    notifier = Notifier(str(tmp_path / "notify"), 0.0, lambda: now)
    notifier.ready(0, "a")
    for frame, status in enumerate("abbcc", 1):
        now += STATUS_SECONDS + 0.1
        notifier.tick(frame, lambda said=status: said)  # type: ignore[misc]
    notifier.stopping()
    now += 100
    notifier.tick(99, lambda: "late")
    assert manager.heard() == ["READY=1\nSTATUS=a", "STATUS=b", "STATUS=c", "STOPPING=1"]


def test_an_address_without_a_file_is_reached() -> None:
    name = f"crowdstream-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    Notifier.of_environment({"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1000"}).ready(0, "x")
    assert manager.heard() == ["READY=1\nSTATUS=x"]
    manager.close()


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "vsock:2:1", "@nobody"])
def test_where_nobody_listens_nothing_happens(address: str) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "no number"}
    notifier = Notifier.of_environment(environ)
    notifier.ready(0, "x")
    notifier.tick(1, lambda: "y")
    notifier.stopping()


def test_a_manager_that_does_not_read_holds_nothing_up(manager: Manager, tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "notify"), 1.0)
    for _ in range(5000):
        notifier.ready(0, "x" * 100)
    assert 0 < len(manager.heard()) < 5000


class Stopper:
    """Stops every engine process below a process, and each that is started, until let go."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stopped: dict[int, psutil.Process] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(0.02):
            with contextlib.suppress(psutil.Error):
                for child in self._root.children(recursive=True):
                    if child.pid not in self._stopped and any(
                        word.startswith("crowdstream.engine") for word in child.cmdline()
                    ):
                        child.send_signal(signal.SIGSTOP)
                        self._stopped[child.pid] = child

    def let_go(self) -> None:
        self._done.set()
        self._thread.join()
        for child in self._stopped.values():
            with contextlib.suppress(psutil.Error):
                child.send_signal(signal.SIGCONT)


def test_a_running_server_speaks_until_its_engines_stand_still(
    manager: Manager, tmp_path: Path
) -> None:
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with server(tmp_path, "--driver", "null", env=env) as running:
        until(lambda: manager.heard() or manager.all)
        assert manager.all[0].startswith("READY=1\nSTATUS=0 voices sound on built-in clock")
        until(lambda: manager.heard() and sum("WATCHDOG=1" in said for said in manager.all) > 5)
        stopper = Stopper(running.process.pid)
        try:
            time.sleep(0.7)
            manager.heard()
            time.sleep(1.0)
            assert manager.heard() == []
        finally:
            stopper.let_go()
        until(lambda: any("WATCHDOG=1" in said for said in manager.heard()))
        running.process.terminate()
        assert running.process.wait(10) == 0
    manager.heard()
    assert manager.all[-1] == "STOPPING=1"
