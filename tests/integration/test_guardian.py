"""Control is killed while the server plays: nothing is heard, and a new one knows everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from tests.support.offline_server import RATE, count, place, write
from tests.support.server import PROJECT, Running, server, until

NULL = ("--driver", "null", "--buffer-size", "256", "--limiter-lookahead", "0", "--ceiling", "0")
BACK_SECONDS = 2.0  # within which a new control has to answer

# What differs from one look to the next, whoever looks.
MOVING = (
    "frame", "position", "beat", "phase", "peak", "cpu_", "_ms", "messages", "restarts_control",
    "record_seconds", "pages_", "load_percent", "lufs", "over_budget", "underruns", "waiting",
)


@pytest.fixture
def track(tmp_path: Path) -> str:
    return str(write(tmp_path / "numbers.wav", count(60)))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with server(tmp_path, *NULL) as made:
        until(lambda: made.client.status()["standby"] != "none")  # it has settled
        yield made


def kill(running: Running, number: int = signal.SIGKILL) -> int:
    """Kill control; which process it was."""
    time.sleep(0.05)  # what was said last has been noted by then
    control = running.child_named("control")
    control.send_signal(number)
    return int(control.pid)


def controls(running: Running) -> list[int]:
    """The control processes there are."""
    return [int(one.pid) for one in running.children_named("control")]


def status_again(running: Running, seconds: float = BACK_SECONDS) -> dict[str, Any]:
    """The status that a new control gives, within that time of now."""
    begin = time.monotonic()
    status = running.client.status()
    assert time.monotonic() - begin < seconds
    return status


def standing(status: dict[str, Any]) -> dict[str, Any]:
    """What of a status does not move by itself."""
    return {name: value for name, value in status.items()
            if not any(word in name for word in MOVING)}


def test_nothing_is_heard_and_everything_is_known(
    running: Running, track: str, tmp_path: Path
) -> None:
    client = running.client
    for deck in "AB":
        client.request(f"/deck/{deck}/load", track, answer="/done")
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
    assert len(others) == 4  # engine, standby, loader, recorder
    # One change is in the engine's hands when control dies, one in control's.
    client.bundle(time.time() + 0.4, ("/deck/A/level", 0.5, 0.0))
    client.bundle(time.time() + 2.5, ("/deck/A/level", 0.0, 0.0))
    client.status()
    old = kill(running)
    client.send("/deck/C/level", 0.25)  # while nobody is there
    client.bundle(time.time() + 1.5, ("/deck/A/level", 0.75, 0.0))
    after = status_again(running)
    assert after["restarts_control"] == 1
    until(lambda: client.status()["deck.C.level"] == 0.25)
    kept = standing(before) | {"deck.A.level": 0, "deck.C.level": 0, "deck.B.loop": 0}
    assert standing(after) | {"deck.A.level": 0, "deck.C.level": 0, "deck.B.loop": 0} == kept
    assert after["deck.B.loop"] == "2.000-3.000"
    assert after["deck.A.cues"] == "4:1.250" and after["deck.B.fx"] == "- echo - -"
    assert running.child_named("control").pid != old
    assert others == {one.pid for one in running.children()} - set(controls(running))
    assert "control had died (signal 9): a new one has taken over" in running.log()
    time.sleep(2.5)
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
    """Every frame of the track is there, at the levels 1, then 0.5, then 0.75, then 0."""
    # Between two levels there is a ramp of 4 ms, and none at all while control was away.
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
    assert changes == [1.0, 0.5, 0.75, 0.0]


def test_what_was_to_happen_happens_on_its_frame(running: Running, track: str) -> None:
    client = running.client
    for deck in "ABC":
        client.request(f"/deck/{deck}/load", track, answer="/done")
    client.send("/deck/A/play")
    until(lambda: client.status()["deck.A.state"] == "playing")
    # B starts half a second after A would be asked, C on the same tag: sent before and after.
    tag = time.time() + 2.0
    client.bundle(tag, ("/deck/B/play",))
    client.status()
    kill(running)
    status_again(running)
    client.bundle(tag, ("/deck/C/play",))
    until(lambda: client.status()["deck.C.state"] == "playing")
    status = client.status()
    assert status["deck.B.state"] == "playing"
    # The tag's frame was worked out anew: it may have moved by a fraction of a millisecond.
    assert abs(status["deck.B.position"] - status["deck.C.position"]) * RATE < 2
    assert status["late_commands"] == 0 and status["failed"] == 0


def test_it_may_be_killed_again_and_again(running: Running, track: str) -> None:
    client = running.client
    client.request("/notify", answer="/done")
    client.request("/deck/A/load", track, answer="/done")
    client.send("/deck/A/play")
    until(lambda: client.status()["deck.A.state"] == "playing")
    before = client.status()
    for life in range(1, 4):
        old = kill(running)
        if life == 2:  # in the middle of its start
            until(lambda old=old: old not in controls(running) and controls(running))
            kill(running)
        heard: list[str] = []
        while "/restarted" not in heard:
            heard.append(client.receive(2 * BACK_SECONDS)[0])
    after = client.status()
    assert after["restarts_control"] == 4
    assert standing(after) == standing(before)
    moved = (after["frame"] - before["frame"]) / RATE
    assert after["deck.A.position"] - before["deck.A.position"] == pytest.approx(moved, abs=1e-4)


def test_one_that_hangs_is_replaced(running: Running, track: str) -> None:
    client = running.client
    client.request("/deck/A/load", track, answer="/done")
    client.send("/deck/A/play")
    until(lambda: client.status()["deck.A.state"] == "playing")
    old = kill(running, signal.SIGSTOP)
    client.send("/deck/A/level", 0.5)
    until(lambda: not psutil.pid_exists(old), 20)
    status = status_again(running)
    assert status["restarts_control"] == 1 and status["deck.A.state"] == "playing"
    until(lambda: client.status()["deck.A.level"] == 0.5)


def test_engine_and_loader_may_die_while_control_is_away(running: Running, track: str) -> None:
    client = running.client
    client.request("/deck/A/load", track, answer="/done")
    client.send("/deck/A/play")
    until(lambda: client.status()["standby"] != "none")
    before = client.status()
    victims = [int(one.pid) for one in running.children_named("library")]
    victims += [int(one.pid) for one in running.children_named("engine", '"role": "first"')]
    assert len(victims) == 2
    kill(running)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    status_again(running, 2 * BACK_SECONDS)
    until(lambda: client.status()["standby"] != "none" and client.status()["restarts_loader"] == 1)
    after = client.status()
    assert (after["takeovers"], after["restarts_control"]) == (1, 1)
    assert after["deck.A.state"] == "playing" and after["missing_pages"] == 0
    assert after["deck.A.position"] > before["deck.A.position"]
    client.request("/deck/B/load", track, answer="/done")
    client.request("/deck/A/unload", answer="/done")
    assert client.status()["failed"] == 0


def test_killed_before_it_is_up_it_is_begun_anew(tmp_path: Path) -> None:
    # The guardian is there long before the server is.
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "audio_server.py"), "--port", "0", *NULL],
            stdout=file, stderr=subprocess.STDOUT,
        )
    try:
        guardian = psutil.Process(process.pid)
        until(lambda: "preset" in log.read_text())
        guardian.children()[0].kill()
        until(lambda: "ready:" in log.read_text(), 100)
        assert len(guardian.children(recursive=True)) == 3
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "Traceback" not in log.read_text()


def test_a_stopped_control_does_not_outlive_its_guardian(running: Running) -> None:
    below = running.children()
    kill(running, signal.SIGSTOP)
    running.process.kill()
    running.process.wait()
    _gone, alive = psutil.wait_procs(below, 3)
    assert not alive


def test_a_signal_ends_it_after_a_restart_too(running: Running, track: str) -> None:
    running.client.request("/deck/A/load", track, answer="/done")
    kill(running)
    status_again(running)
    below = running.children()
    begin = time.monotonic()
    running.process.terminate()
    assert running.process.wait(5) == 0
    assert time.monotonic() - begin < 1.0
    assert not any(one.is_running() for one in below)


def test_leavings_of_files_and_memory_do_not_grow(running: Running, track: str) -> None:
    client = running.client
    client.request("/deck/A/load", track, answer="/done")
    guardian = psutil.Process(running.process.pid)

    def once() -> tuple[int, int]:
        kill(running)
        status_again(running)
        return guardian.num_fds(), running.child_named("control").num_fds()

    first = once()
    time.sleep(0.1)
    assert [once(), once()] == [first, first]
    assert os.path.exists(f"/proc/{running.process.pid}")
