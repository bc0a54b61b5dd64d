"""The server as processes: it starts, survives any input, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from audio_server import PythonAudioServer
from crowdstream.logs.throttle import BURST_OF_A_KIND
from crowdstream.osc.codec import build, parse
from crowdstream.osc.socket import PortTaken
from tests.support.environment import child_environment
from tests.support.offline_server import count, level, write
from tests.support.server import (
    PROJECT,
    WAIT_SECONDS,
    Running,
    SharedServer,
    ended,
    until,
)

NULL = ("--driver", "null", "--buffer-size", "256", "--cache-mb", "16", "--stats-interval", "0")


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("track") / "test.wav", level(5)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *NULL) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer) -> Running:
    """A server shared with other tests of this file."""
    return shared.get()


# From Python ---------------------------------------------------------------------------------

SCRIPT = """
from audio_server import PythonAudioServer
import os, sys, threading, time
import psutil

me = psutil.Process()
before = None
for size in [128, 2048]:
    server = PythonAudioServer(osc_port=0, chunk_size=size, driver="null")
    server.start()
    assert server.osc_load_buffer("", 100, sys.argv[1], "Test")
    assert server.osc_play_stem("", 100, 1.0, 0.8, 1, 0.0)
    deadline = time.monotonic() + 120
    while server.status()["deck.A.state"] != "playing":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    status = server.status()
    assert status["buffer_size"] == size and status["voices"] == 1
    assert len(me.children(recursive=True)) >= 3  # fork server, engine, loader; later a standby
    server.stop()
    while threading.active_count() > 1:  # a look at the disks may be under way
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)
    left = (me.children(recursive=True), threading.active_count(), me.num_fds())
    before = before or left
    assert left == before == ([], 1, left[2]), (before, left)
print("done")
"""


def test_a_script_for_the_python_api_runs_unchanged(tmp_path: Path, track: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    # A module in the caller's folder that must not shadow one of Python's in child processes.
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong module')", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "script.py", track],
        cwd=tmp_path, env=child_environment(), capture_output=True, text=True,
        timeout=2 * WAIT_SECONDS, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


@contextlib.contextmanager
def python_server(**settings: Any) -> Iterator[PythonAudioServer]:
    made = PythonAudioServer(osc_port=0, chunk_size=256, driver="null", **settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_the_python_server_answers_and_refuses(track: str) -> None:
    with python_server() as made:
        said: list[tuple[Any, ...]] = []
        assert made.send("/version", reply=lambda *values: said.append(values))
        assert said[0][:2] == ("/version.reply", "crowdstream")
        assert not made.osc_deck_eq("", "A", "treble", 1.0)
        assert not made.send("/no/such")
        assert made.osc_deck_eq_low("/deck/A/eq/low", 0.5)
        with pytest.raises(Exception, match="needs the address of a deck, such as /deck/A/eq/low"):
            made.osc_deck_eq_low("", 0.5)
        with pytest.raises(AttributeError, match="osc_nonsense"):
            made.osc_nonsense("")
        with pytest.raises(RuntimeError, match="already running"):
            made.start()
        # A reply function that raises affects nothing else; neither does one that calls the server.
        def faulty(*_values: Any) -> None:
            raise ZeroDivisionError

        made.send("/sync", 1, reply=faulty)
        inner: list[Any] = []
        made.send("/version", reply=lambda *_values: inner.append(made.status()))
        assert inner[0]["driver"] == "null"
        assert made.osc_cue("", "A", track)
        until(lambda: made.status()["deck.A.state"] == "ready")
    with pytest.raises(RuntimeError, match="not running"):
        made.status()
    made.stop()


def test_many_threads_may_call_while_the_server_stops() -> None:
    made = PythonAudioServer(osc_port=0, chunk_size=256, driver="null")
    made.start()
    wrong: list[BaseException] = []
    begun = threading.Semaphore(0)

    def ask() -> None:
        while True:
            try:
                made.status()
                made.osc_deck_levels("", random.random())
                begun.release()
            except RuntimeError:  # not running, or ended
                return
            except BaseException as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(10 * len(threads)):
        assert begun.acquire(timeout=WAIT_SECONDS)
    stops = [threading.Thread(target=made.stop) for _ in range(3)]
    for stop in stops:
        stop.start()
    for thread in (*threads, *stops):
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()
    assert not wrong


def own_children() -> set[int]:
    """IDs of this process's children, including zombies."""
    own = os.getpid()
    return {one.pid for one in psutil.process_iter(["ppid"]) if one.info["ppid"] == own}


def test_a_failed_start_leaves_nothing_behind() -> None:
    # Servers that other tests share may run beside it; servers that earlier tests forgot to close
    # must not be closed in between.
    gc.collect()
    files, others = psutil.Process().num_fds(), own_children()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        made = PythonAudioServer(osc_port=taken.getsockname()[1], driver="null")
        with pytest.raises(PortTaken, match="in use by process"):
            made.start()
        made.stop()
    assert psutil.Process().num_fds() == files
    assert own_children() <= others


# The program ---------------------------------------------------------------------------------


def test_messages_sent_while_it_starts_are_kept_in_order(tmp_path: Path, track: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = PythonAudioServer(osc_port=port, driver="null")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(WAIT_SECONDS)
        starter = threading.Thread(target=made.start)
        starter.start()
        # The port is opened first; until then, sending is refused.
        until(lambda: _taken(port))
        packets = [build("/deck_levels", (n / 1000,)) for n in range(1000)]
        packets += [build("/cue", ("A", track)), build("/start_group", (0.0, "A"))]
        for packet in (*packets, build("/sync", (42,))):
            client.send(packet)
        starter.join()
        heard: list[str] = []
        while not heard or heard[-1] != "/synced":
            heard.append(parse(client.recv(65536))[0][1].address)
    assert heard == ["/done", "/synced"]
    until(lambda: made.status()["deck.A.level"] == pytest.approx(0.999))
    status = made.status()
    made.stop()
    assert status["messages"] == 1003
    assert status["failed"] == 0
    assert status["deck.A.state"] == "playing"


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_a_server_flooded_with_faults_survives_and_counts_them(
    running: Running, track: str
) -> None:
    dice = random.Random(3)
    client = running.client
    before = client.status()
    begin = time.monotonic()
    client.request("/load_buffer", 100, track, answer="/done")
    client.send("/play_stem", 100)
    good = build("/deck_levels", (1.0, 0.5, 0.2, 0.1))
    malformed = 0
    for number in range(3000):
        if number % 3 == 0:
            noise = b"/" * (number % 2) + dice.randbytes(dice.randrange(0, 200)) + b"x"
            noise += b"y" * (1 - len(noise) % 4 if len(noise) % 4 == 0 else 0)
            client.send_raw(noise)
            malformed += 1
        elif number % 3 == 1:
            client.send_raw(good)
        else:
            client.send("/no/such", float("nan"))
        if number % 100 == 0:  # at most what fits into the socket's buffer at once
            client.synchronize()
    client.synchronize()
    status = client.status()
    assert status["malformed"] == before["malformed"] + malformed
    assert status["failed"] == before["failed"] + 1000
    assert status["lost"] == before["lost"]
    assert status["deck.A.state"] == "playing"
    assert running.process.poll() is None
    # Lines are limited per second; there were 2000 faults.
    seconds = time.monotonic() - begin
    assert len(running.log().splitlines()) < 20 + 2 * BURST_OF_A_KIND * (seconds + 1.0)


def test_no_web_process_runs_without_http(running: Running) -> None:
    until(lambda: running.client.status()["standby"] != "none")
    assert running.children_named("engine") and not running.children_named("web")


def test_a_file_that_changes_during_playback_is_reported_as_broken(
    running: Running, tmp_path: Path
) -> None:
    file = write(tmp_path / "long.wav", count(200), subtype="FLOAT")
    client = running.client
    client.request("/load_buffer", 100, str(file), answer="/done")
    client.send("/play_stem", 100, 1.0, 1.0, 0)
    until(lambda: client.status()["deck.A.state"] == "playing")
    os.truncate(file, 1000)
    client.send("/deck/A/seek", 100.0)
    received = [client.receive() for _ in range(2)]
    # Loading succeeded, so its sender gets the report; the command that fails is the seek.
    assert sorted(address for address, _ in received) == ["/broken", "/fail"]
    assert all("changed" in values[1] for _, values in received)
    until(lambda: "the part in memory keeps playing" in running.log())
    assert client.status()["voices"] == 1
    assert running.process.poll() is None


def test_child_processes_end_with_a_killed_server(running: Running) -> None:
    children = running.children()
    running.process.kill()
    running.process.wait()
    until(lambda: all(ended(child) for child in children))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_its_children(
    running: Running, track: str, number: int
) -> None:
    client = running.client
    client.request("/deck/A/load", track, answer="/done")
    client.send("/start_group", 0.0, "A")
    until(lambda: client.status()["deck.A.state"] == "playing")
    children = running.children()
    assert len(children) >= 3  # control, engine and loader; later a standby
    running.process.send_signal(number)
    assert running.process.wait(WAIT_SECONDS) == 0
    assert all(ended(child) for child in children)
    assert "Traceback" not in running.log()


# A signal may arrive at any moment of the start, recognized by log and processes.
MOMENTS: dict[str, Callable[[str, list[psutil.Process]], bool]] = {
    "at once": lambda log, _below: "preset" in log,
    "with children": lambda _log, below: len(below) >= 2,
    "with an engine": lambda _log, below: any(_runs(one, "engine") for one in below),
}


def _runs(process: psutil.Process, name: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return f"crowdstream.{name}.main" in process.cmdline()
    return False


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_during_the_start_ends_the_server(tmp_path: Path, moment: str) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "audio_server.py"), "--port", "0", *NULL],
            stdout=file, stderr=subprocess.STDOUT,
        )
    below: list[psutil.Process] = []

    def come() -> bool:
        # Python needs a moment before it can receive a signal; the first line of the log shows
        # that the server handles it.
        below[:] = psutil.Process(process.pid).children(recursive=True)
        text = log.read_text(encoding="utf-8")
        return "preset" in text and MOMENTS[moment](text, below)

    try:
        until(come)
        process.send_signal(signal.SIGINT)
        status = process.wait(WAIT_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert status == 0, log.read_text(encoding="utf-8")
    assert all(ended(one) for one in below)
