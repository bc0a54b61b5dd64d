"""A running server notifies systemd as long as its frames move on, and no longer."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from pathlib import Path

import psutil

from tests.support.server import Running, server, until
from tests.support.service_manager import Manager

WATCHDOG_SECONDS = 0.2
TICK_SECONDS = 0.01  # control looks at the watchdog so often
STILL_TICKS = 150  # fifteen times as long as it takes to the next notification


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
        """Stop no more, and let those that were stopped run again."""
        self._done.set()
        self._thread.join()
        for child in self._stopped.values():
            with contextlib.suppress(psutil.Error):
                child.send_signal(signal.SIGCONT)


def heard_while_still(running: Running, manager: Manager) -> list[str]:
    """What is notified while the frame stays the same in `STILL_TICKS` ticks of control."""
    frame, ticks, heard = -1, 0, list[str]()
    deadline = time.monotonic() + 120
    while ticks < STILL_TICKS:
        assert time.monotonic() < deadline, "the frames do not stand still"
        now = int(running.client.status()["frame"])
        new = manager.heard()
        if now == frame:
            ticks, heard = ticks + 1, heard + new
        else:  # an engine that had just been started rendered a few blocks before it was stopped
            frame, ticks, heard = now, 0, []
        time.sleep(TICK_SECONDS)  # control, which has just answered, makes a tick meanwhile or next
    return heard


def test_a_running_server_notifies_until_its_engines_stand_still(tmp_path: Path) -> None:
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
            # What moved before they stood counts once at most.
            assert len(heard_while_still(running, manager)) <= 1
        finally:
            stopper.let_go()
        manager.heard()
        until(lambda: any("WATCHDOG=1" in said for said in manager.heard()))
        running.process.terminate()
        assert running.process.wait(60) == 0
        manager.heard()
        assert manager.all[-1] == "STOPPING=1"
