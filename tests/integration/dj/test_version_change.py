"""The DJ follows an upgraded server, and returns if the other version's DJ ends early."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from crowdstream.dj.setfile.writer import write_set
from crowdstream.system.installation import Installation, read_record, record_path, write_record
from tests.support.environment import PROJECT, child_environment
from tests.support.server import Running, server, until
from tests.support.simulated_dj import tone_set
from tests.support.upgrades import NEXT, Patch, installation, upgrade

BPM = 400.0
TIMING = ("engine/main.py", "TIMING_SECONDS = 20.0", "TIMING_SECONDS = 0")
TRIAL: Patch = ("dj/autopilot/version_change.py", "TRIAL_SECONDS = 60.0", "TRIAL_SECONDS = 3.0")


class Dj:
    """`crowdstream dj` as a process; `log()` returns its output so far."""

    def __init__(self, folder: Path, port: int, root: Path) -> None:
        tones = tone_set(folder, "ab", beats=2400, leave=2392.0, bpm=BPM, rate=8000)
        path = folder / "set.toml"
        path.write_text(write_set(tones, folder), encoding="utf-8")
        self._log = folder / "dj.log"
        own = Installation(sys.executable, str(root), "")
        command = own.command("crowdstream", "dj", str(path), "--port", str(port), "--no-crowd")
        with self._log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**child_environment(), "PYTHONPATH": str(root)},
            )  # fmt: skip

    def log(self) -> str:
        """Return standard output and error."""
        return self._log.read_text(encoding="utf-8")

    def successors(self) -> list[psutil.Process]:
        """DJs of other versions that it has started."""
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.process.pid).children()
            return [one for one in children if "dj" in one.cmdline()]
        return []


@contextlib.contextmanager
def playing(folder: Path, root: Path = PROJECT) -> Iterator[tuple[Running, Dj]]:
    """A server, and a DJ of the package in `root` whose first track plays."""
    options = ("--driver", "null", "--base-bpm", str(BPM))
    with server(folder, *options) as running:
        dj = Dj(folder, running.port, root)
        try:
            until(lambda: running.client.status()["deck.A.state"] == "playing")
            yield running, dj
        finally:
            dj.process.terminate()
            dj.process.wait()


def registered(running: Running) -> bool:
    """Whether the server has a DJ."""
    return bool(running.client.request("/dj/status", answer="/dj/status.reply")[0])


def test_the_dj_follows_the_server_and_keeps_its_place(tmp_path: Path) -> None:
    here = installation(tmp_path / "here", "0.1.1", [TRIAL])
    new = installation(tmp_path / "new", patches=[TIMING])
    with playing(tmp_path, here) as (running, dj):
        status, output = upgrade(running, new)
        assert status == 0, output
        until(lambda: bool(dj.successors()))
        [other] = dj.successors()
        assert other.environ()["PYTHONPATH"].split(":")[0] == str(new)
        # A small process stays in the place of the earlier DJ.
        until(lambda: "crowdstream.system.stand_in" in psutil.Process(dj.process.pid).cmdline())
        assert registered(running) and other.is_running()
        assert running.client.status()["deck.A.state"] == "playing", "on the same deck"
        dj.process.terminate()
        assert dj.process.wait(60) == 0, "it passes the signal on"
        assert not other.is_running()
        state = Path(child_environment()["XDG_STATE_HOME"]) / "crowdstream"
        path = record_path(state, running.port)
        assert read_record(path) == Installation(sys.executable, str(new), NEXT)
    assert not path.exists(), "the next server on this port was not upgraded"


def test_the_dj_returns_if_the_other_version_ends_early(tmp_path: Path) -> None:
    new = installation(tmp_path / "new", patches=[TIMING])
    with playing(tmp_path) as (running, dj):
        assert upgrade(running, new)[0] == 0
        until(lambda: bool(dj.successors()))
        until(lambda: "another DJ" in dj.log() or registered(running))
        for one in dj.successors():
            one.kill()
        until(lambda: "resuming" in dj.log() or "playing on" in dj.log())
        until(lambda: registered(running))
        assert dj.process.poll() is None and dj.successors() == []
        assert running.client.status()["deck.A.state"] == "playing"


def test_a_record_of_another_user_is_not_followed(tmp_path: Path) -> None:
    path = record_path(tmp_path, 57120)
    running = Installation("/new/python", "/new", NEXT)
    write_record(path, running)
    assert read_record(path) == running
    path.chmod(0o666)
    assert read_record(path) is None
    path.chmod(0o600)
    for text in ("", "{}", "[1, 2, 3]", '["a", "b"]', "[" * 5000):
        path.write_text(text)
        assert read_record(path) is None
    write_record(path, None)
    assert not path.exists() and read_record(path) is None
