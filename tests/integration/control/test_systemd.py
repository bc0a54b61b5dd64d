"""A running server notifies systemd's watchdog only as long as its frames advance."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from pathlib import Path

import psutil

from crowdstream.control.dispatcher import REST_SECONDS
from tests.support.server import Running, server, until
from tests.support.service_manager import Manager

WATCHDOG_SECONDS = 0.2
STALLED_TICKS = 15


class Stopper:
    """Stops all engine processes below a process, including new ones, until `release`."""

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

    def release(self) -> None:
        """End stopping, and resume the stopped processes."""
        self._done.set()
        self._thread.join()
        for child in self._stopped.values():
            with contextlib.suppress(psutil.Error):
                child.send_signal(signal.SIGCONT)


def notifications_while_stalled(running: Running, manager: Manager) -> list[str]:
    """Return the notifications while the frame is constant for `STALLED_TICKS` of control."""
    frame, ticks, received = -1, 0, list[str]()
    deadline = time.monotonic() + 120
    while ticks < STALLED_TICKS:
        assert time.monotonic() < deadline, "the frames keep advancing"
        now = int(running.client.status()["frame"])
        new = manager.heard()
        if now == frame:
            ticks, received = ticks + 1, received + new
        else:  # a newly started engine has rendered a few blocks before it was stopped
            frame, ticks, received = now, 0, []
        time.sleep(REST_SECONDS)  # control, which has just replied, does one tick in this time
    return received


def test_a_running_server_notifies_until_its_engines_stop_rendering(tmp_path: Path) -> None:
    env = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": str(round(WATCHDOG_SECONDS * 1e6)),
    }
    with (
        contextlib.closing(Manager(env["NOTIFY_SOCKET"])) as manager,
        server(tmp_path, "--driver", "null", env=env) as running,
    ):
        until(lambda: manager.heard() or manager.all)
        assert manager.all[0].startswith("READY=1\nSTATUS=0 voices play on built-in clock")
        until(lambda: manager.heard() and sum("WATCHDOG=1" in said for said in manager.all) > 5)
        stopper = Stopper(running.process.pid)
        try:
            # Frames that advanced before the stop count for at most one notification.
            assert len(notifications_while_stalled(running, manager)) <= 1
        finally:
            stopper.release()
        manager.heard()
        until(lambda: any("WATCHDOG=1" in said for said in manager.heard()))
        running.process.terminate()
        assert running.process.wait(60) == 0
        manager.heard()
        assert manager.all[-1] == "STOPPING=1"
