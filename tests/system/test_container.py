"""The server as the first process of a container: its signals, and the orphans that it inherits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.environment import PROJECT
from tests.support.server import until

# Everything that a container has of this: process numbers of its own, /proc, and a first process.
CONTAINER = ("unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
OPTIONS = ("--driver", "null", "--port", "0", "--http-port", "0", "--stats-interval", "0")
ORPHAN = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(0.2)"


class Container:
    """A server in a space of process numbers of its own."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.outside = subprocess.Popen(
                [*CONTAINER, str(PROJECT / "start-crowdstream.sh"), *OPTIONS],
                stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip
        until(lambda: "page on" in self.log.read_text())
        [self.first] = psutil.Process(self.outside.pid).children()

    def processes(self) -> list[psutil.Process]:
        """All processes in it besides the first."""
        found: list[psutil.Process] = self.first.children(recursive=True)
        return found


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    if made.outside.poll() is None:
        made.outside.kill()  # with it goes the first process, and with that all others
        made.outside.wait()


def number_inside(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"^NSpid:.*\t(\d+)$", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def command(process: psutil.Process) -> list[str]:
    """Its command line; none when it has just ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def zombie(process: psutil.Process) -> bool:
    """Whether it has ended, and nobody has taken notice."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_process_ends_in_order_when_it_is_told_to(
    container: Container, number: signal.Signals
) -> None:
    assert number_inside(container.first) == 1
    others = container.processes()
    assert len(others) >= 4  # control, loader, engine, standby, web
    os.kill(container.first.pid, number)
    assert container.outside.wait(60) == 0
    assert not [one for one in others if one.is_running()]
    assert "killed" not in container.log.read_text()


def test_the_first_process_leaves_no_zombies(container: Container) -> None:
    before = {one.pid for one in container.processes()}
    engine = next(
        one for one in container.processes() if "crowdstream.engine.main" in command(one)
    )
    engine.kill()

    def replaced() -> bool:
        now = {one.pid for one in container.processes()}
        return engine.pid not in now and bool(now - before)

    until(replaced)
    # Its parent gone, a process belongs to the first one, which has to see it off.
    # An ordinary user may not change groups in there.
    inside = (
        "nsenter", "--target", str(container.first.pid), "--preserve-credentials",
        "--user", "--pid", "--mount",
    )  # fmt: skip
    subprocess.run([*inside, "python3", "-c", ORPHAN], check=True)
    until(lambda: not any(zombie(one) for one in container.processes()))
    assert container.outside.poll() is None
