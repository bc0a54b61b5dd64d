"""Control is killed during playback: playback is not affected, and its successor has all state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from crowdstream.control.scheduler import HORIZON_SECONDS
from crowdstream.supervisor.main import MAX_DEATHS
from tests.support.offline_server import RATE, count, place, write
from tests.support.server import PROJECT, WAIT_SECONDS, Running, SharedServer, ended, until

NULL = (
    "--driver", "null", "--buffer-size", "256", "--limiter-lookahead", "0",
    "--limiter-ceiling", "0",
)  # fmt: skip

# Fields that differ between any two reads.
MOVING = (
    "frame", "position", "beat", "phase", "peak", "cpu_", "_ms", "messages", "restarts_control",
    "record_seconds", "pages_", "load_percent", "lufs", "over_budget", "underruns", "waiting",
    "late", "quality", "buffered",
)


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("track") / "numbers.wav", count(60)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *NULL) as made:
        yield made


@pytest.fixture
def serve(shared: SharedServer) -> Callable[[int], Running]:
    """`serve(2)`: a server with a standby whose control may still die twice."""

    def get(deaths: int) -> Running:
        running = shared.get()
        if running.client.status()["restarts_control"] + deaths > MAX_DEATHS:
            shared.close()
            running = shared.get()
        until(lambda: running.client.status()["standby"] != "none")
        return running

    return get


def load(running: Running, decks: str, track: str) -> None:
    """Load a track on decks and wait until all of it is in memory."""
    for deck in decks:
        running.client.request(f"/deck/{deck}/load", track, answer="/done")

    def whole() -> bool:
        status = running.client.status()
        return bool(status["pages_used_mb"] >= status["pages_reserved_mb"] > 0.0)

    until(whole)


def kill(running: Running, number: int = signal.SIGKILL) -> int:
    """Kill control once it has saved all commands sent; returns its process ID."""
    running.client.await_noted()
    control = running.child_named("control")
    control.send_signal(number)
    if number == signal.SIGKILL:
        until(lambda: ended(control))
    elif number == signal.SIGSTOP:  # each thread stops by itself, and may read a packet before
        until(lambda: threads(int(control.pid)) == {"T"})
    return int(control.pid)


def threads(pid: int) -> set[str]:
    """The states of a process's threads, as /proc has them."""
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    return {task.read_text().rpartition(")")[2].split()[0] for task in tasks}


def controls(running: Running) -> list[int]:
    """The control processes."""
    return [int(one.pid) for one in running.children_named("control")]


def standing(status: dict[str, Any]) -> dict[str, Any]:
    """The fields of a status that don't change by themselves."""
    return {name: value for name, value in status.items()
            if not any(word in name for word in MOVING)}


def test_killing_control_is_inaudible_and_loses_no_state(
    serve: Callable[[int], Running], track: str, tmp_path: Path
) -> None:
    running = serve(1)
    client = running.client
    load(running, "AB", track)
    for address, *arguments in (
        ("/notify", 1), ("/deck/B/grid", 120.0, 0.0), ("/deck/B/level", 0.0), ("/set_meter", 3),
        ("/deck/A/hotcue/set", 4, 1.25), ("/deck/B/fx/insert", 2, "echo"),
        ("/deck/C/quantize", "bar"), ("/deck/B/kill", "low", 1), ("/start_group", 0.0, "A", "B"),
    ):
        client.send(address, *arguments)
    until(lambda: client.status()["deck.B.state"] == "playing")
    client.send("/deck/B/loop/set", 2.0, 3.0)
    client.request("/record/start", str(tmp_path / "mix.wav"), "wav24", answer="/done")
    until(lambda: client.status()["standby"] != "none")
    before = client.status()
    others = {one.pid for one in running.children()} - set(controls(running))
    assert len(others) == 5  # fork server, engine, standby, loader, recorder
    # When control dies, one change has reached the engine, and one is still in control.
    client.bundle(time.time() + 0.9 * HORIZON_SECONDS, ("/deck/A/level", 0.5, 0.0))
    client.bundle(time.time() + 3.0 * HORIZON_SECONDS, ("/deck/D/level", 0.5, 0.0))
    old = kill(running)
    client.send("/deck/C/level", 0.25)  # while no control process runs
    client.bundle(time.time() + 3.0 * HORIZON_SECONDS, ("/deck/A/level", 0.75, 0.0))
    after = client.status()
    assert after["restarts_control"] == before["restarts_control"] + 1
    until(lambda: client.status()["deck.C.level"] == 0.25)
    changed = dict.fromkeys(
        ("deck.A.level", "deck.C.level", "deck.D.level", "deck.B.loop"), "changed meanwhile"
    )
    assert standing(after) | changed == standing(before) | changed
    assert after["deck.B.loop"] == "2.000-3.000"
    assert after["deck.A.cues"] == "4:1.250" and after["deck.B.fx"] == "- echo - -"
    assert running.child_named("control").pid != old
    assert others == {one.pid for one in running.children()} - set(controls(running))
    until(lambda: "control has died (signal 9): its replacement has taken over" in running.log())
    until(lambda: client.status()["deck.D.level"] == 0.5)
    until(lambda: client.status()["deck.A.level"] == 0.75)
    client.await_frames(RATE // 4)
    answer = client.request("/record/stop", answer="/done")
    assert answer[1] == str(tmp_path / "mix.wav")
    sound, rate = soundfile.read(tmp_path / "mix.wav", dtype="float32")
    assert rate == RATE and len(sound) == answer[2]
    check_contiguous(sound[:, 0])
    status = client.status()
    assert (status["failed"], status["missing_pages"], status["record_lost"]) == (0, 0, 0)
    client.send("/deck/B/kill", "low", 0)
    until(lambda: client.status()["deck.B.low"] == 1.0)


def check_contiguous(sound: np.ndarray) -> None:
    """Every frame of the track is present, at the levels 1, then 0.5, then 0.75."""
    # Between two levels there is a ramp of 4 ms, and none while control was down.
    size = 2048
    gains = []
    first = None
    for begin in range(0, len(sound) - size, size):
        part = sound[begin : begin + size].astype(np.float64)
        for gain in (1.0, 0.5, 0.75):
            where = place(part[0] / gain)
            ideal = ((where + np.arange(size)) % 8192 + 1) / 32768 * gain
            if np.abs(ideal - part).max() < 0.1 / 32768:
                first = where - begin if first is None else first
                assert (where - begin - first) % 8192 == 0
                gains.append(gain)
                break
        else:
            gains.append(0.0 if not part.any() else -1.0)
    steady = [gain for gain in gains if gain >= 0]
    assert len(gains) - len(steady) <= 4
    changes = [steady[0], *(b for a, b in pairwise(steady) if a != b)]
    assert changes == [1.0, 0.5, 0.75]


def test_scheduled_commands_run_on_their_frame_after_a_restart(
    serve: Callable[[int], Running], track: str
) -> None:
    running = serve(3)
    client = running.client
    # A busy machine takes longer to start control: schedule further ahead.
    for ahead in (2.0, 20.0, 100.0):
        for deck in "ABC":
            client.request(f"/deck/{deck}/load", track, answer="/done")
        client.send("/deck/A/play")
        until(lambda: client.status()["deck.A.state"] == "playing")
        # B and C start with the same time tag, sent before and after the death.
        tag = time.time() + ahead
        client.bundle(tag, ("/deck/B/play",))
        before = client.status()
        kill(running)
        client.status()
        client.bundle(tag, ("/deck/C/play",))
        client.synchronize()
        if time.time() < tag - HORIZON_SECONDS:
            break
    until(lambda: client.status()["deck.C.state"] == "playing")
    status = client.status()
    assert status["deck.B.state"] == "playing"
    # The tag's frame was recalculated: it may differ by a fraction of a millisecond.
    assert abs(status["deck.B.position"] - status["deck.C.position"]) * RATE < 2
    assert status["late_commands"] == before["late_commands"]
    assert status["failed"] == before["failed"]


def test_a_hung_control_process_is_replaced(serve: Callable[[int], Running], track: str) -> None:
    running = serve(1)
    client = running.client
    client.request("/deck/A/load", track, answer="/done")
    client.send("/deck/A/play")
    until(lambda: client.status()["deck.A.state"] == "playing")
    before = client.status()
    old = kill(running, signal.SIGSTOP)
    client.send("/deck/A/level", 0.5)
    until(lambda: not psutil.pid_exists(old))
    status = client.status()
    assert status["restarts_control"] == before["restarts_control"] + 1
    assert status["deck.A.state"] == "playing"
    until(lambda: client.status()["deck.A.level"] == 0.5)


def test_engine_and_loader_may_die_while_control_is_down(
    serve: Callable[[int], Running], track: str
) -> None:
    running = serve(1)
    client = running.client
    load(running, "A", track)
    client.send("/deck/A/play")
    until(lambda: client.status()["deck.A.state"] == "playing")
    before = client.status()
    victims = [int(one.pid) for one in running.children_named("loader")]
    victims += [int(one.pid) for one in running.children_named("engine", '"role": "first"')]
    assert len(victims) == 2
    kill(running)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)

    def counts(status: dict[str, Any]) -> list[int]:
        return [status[name] for name in ("takeovers", "restarts_control", "restarts_loader")]

    until(lambda: counts(client.status()) == [one + 1 for one in counts(before)])
    until(lambda: client.status()["standby"] != "none")
    after = client.status()
    assert after["deck.A.state"] == "playing"
    assert after["missing_pages"] == before["missing_pages"]
    assert after["deck.A.position"] > before["deck.A.position"]
    client.request("/deck/B/load", track, answer="/done")
    client.request("/deck/A/unload", answer="/done")
    assert client.status()["failed"] == before["failed"]


def test_a_stopped_control_process_does_not_outlive_its_supervisor(
    serve: Callable[[int], Running]
) -> None:
    running = serve(1)
    below = running.children()
    kill(running, signal.SIGSTOP)
    running.process.kill()
    running.process.wait()
    until(lambda: all(ended(one) for one in below))


def test_a_starting_control_process_does_not_outlive_its_supervisor(
    serve: Callable[[int], Running]
) -> None:
    running = serve(1)
    old = running.child_named("control")
    below = running.children()
    old.kill()
    until(lambda: set(controls(running)) - {old.pid})  # it has not contacted the supervisor yet
    below += running.children()
    running.process.kill()
    running.process.wait()
    until(lambda: all(ended(one) for one in below))


def test_control_may_be_killed_repeatedly(serve: Callable[[int], Running], track: str) -> None:
    running = serve(4)
    client = running.client
    client.request("/notify", answer="/done")
    client.request("/deck/A/load", track, answer="/done")
    client.send("/deck/A/play")
    until(lambda: client.status()["deck.A.state"] == "playing")
    before = client.status()
    for life in range(1, 4):
        old = kill(running)
        if life == 2:  # in the middle of its start
            until(lambda old=old: controls(running) and old not in controls(running))
            running.child_named("control").kill()
        client.receive_until("/restarted")
    after = client.status()
    assert after["restarts_control"] == before["restarts_control"] + 4
    assert standing(after) == standing(before)
    moved = (after["frame"] - before["frame"]) / RATE
    assert after["deck.A.position"] - before["deck.A.position"] == pytest.approx(moved, abs=1e-4)


def test_a_signal_ends_the_server_after_a_restart(
    serve: Callable[[int], Running], track: str
) -> None:
    running = serve(1)
    running.client.request("/deck/A/load", track, answer="/done")
    kill(running)
    running.client.status()
    below = running.children()
    running.process.terminate()
    assert running.process.wait(WAIT_SECONDS) == 0
    assert all(ended(one) for one in below)


def test_restarts_leak_no_files_and_memory(
    serve: Callable[[int], Running], track: str
) -> None:
    running = serve(3)
    client = running.client
    client.request("/deck/A/load", track, answer="/done")
    supervisor = psutil.Process(running.process.pid)

    def once() -> tuple[int, int]:
        """Open files of supervisor and control after a restart, once they are stable."""
        kill(running)
        until(lambda: client.status()["standby"] != "none")
        seen = [(-1, -1), (0, 0)]
        while seen[-1] != seen[-2]:
            client.await_frames(RATE // 4)
            seen.append((supervisor.num_fds(), running.child_named("control").num_fds()))
        return seen[-1]

    first = once()
    assert [once(), once()] == [first, first]
    assert os.path.exists(f"/proc/{running.process.pid}")


def test_control_killed_during_the_start_is_restarted(tmp_path: Path) -> None:
    # The supervisor starts long before the server is ready.
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "audio_server.py"), "--port", "0", *NULL],
            stdout=file, stderr=subprocess.STDOUT,
        )
    try:
        supervisor = psutil.Process(process.pid)
        until(lambda: "preset" in log.read_text())
        supervisor.children()[0].kill()
        until(lambda: "ready:" in log.read_text())
        until(lambda: len(supervisor.children(recursive=True)) == 4)  # including the standby
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(WAIT_SECONDS)
    assert status == 0
    assert "Traceback" not in log.read_text()
