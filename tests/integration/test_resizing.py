"""The buffer size changes during playback without losing a frame."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import soundfile

from crowdstream.desk.block import Desk
from crowdstream.desk.lease import Lease
from crowdstream.desk.opcodes import CAUSE_RESIZED, CAUSES
from tests.support.environment import PROJECT, child_environment
from tests.support.offline_server import RATE
from tests.support.resizing import (
    PLAIN,
    await_resized,
    await_standby,
    counts_on,
    play,
    resize,
)
from tests.support.server import WAIT_SECONDS, OscClient, Running, SharedServer, until

NULL = (*PLAIN, "--driver", "null", "--buffer-size", "256")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *NULL) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer, tmp_path: Path) -> Running:
    """A server whose deck A plays, with any buffer size."""
    it = shared.get()
    play(it, tmp_path)
    return it


def failure(it: Running, *message: Any) -> str:
    """The reason of a failed command."""
    return str(it.client.request(*message, answer="/fail")[1])


def test_resizing_loses_no_frame_of_the_mix(running: Running, tmp_path: Path) -> None:
    client, listener = running.client, OscClient(running.port)
    listener.request("/notify", 1, answer="/done")
    before = client.status()
    client.request("/record/start", str(tmp_path / "mix.wav"), answer="/done")
    for old, frames in pairwise((before["buffer_size"], 1024, 64, 4096, 256)):
        silence = resize(running, frames)
        status = client.status()
        # Announced before the change: the expected silence, which is the shorter block.
        expected = [frames, pytest.approx(1000 * min(old, frames) / RATE)]
        assert listener.receive_until("/buffer_size")[:2] == expected
        assert listener.receive_until("/engine")[:2] == ["resized", pytest.approx(silence)]
        assert status["buffer_size"] == frames
        assert status["budget_ms"] == pytest.approx(1000 * frames / RATE)
        assert status["latency_ms"] == pytest.approx(2000 * frames / RATE, abs=3)
        assert status["deck.A.state"] == "playing" and status["guarded"] == 0
    until(lambda: client.status()["frame"] > before["frame"] + 2 * RATE)
    client.request("/record/stop", answer="/done")
    listener.close()
    until(lambda: client.status()["recording"] == 0)
    samples, _rate = soundfile.read(tmp_path / "mix.wav", always_2d=True)
    assert counts_on(samples)
    assert client.status()["takeovers"] == before["takeovers"]
    assert client.status()["failed"] == before["failed"]
    await_standby(running)  # no earlier engine is left
    assert running.log().count("ERROR") == 0


def test_later_engines_use_the_new_buffer_size(running: Running) -> None:
    resize(running, 1024)
    await_standby(running)
    before = running.client.status()
    running.children_named("engine")[0].kill()
    until(lambda: running.client.status()["takeovers"] > before["takeovers"])
    assert running.client.status()["buffer_size"] == 1024
    running.client.await_noted()
    running.child_named("control").kill()
    restarts = before["restarts_control"] + 1
    until(lambda: running.client.status()["restarts_control"] >= restarts)
    await_standby(running)
    takeovers = running.client.status()["takeovers"]
    running.children_named("engine")[0].kill()
    until(lambda: running.client.status()["takeovers"] > takeovers)
    status = running.client.status()
    assert status["buffer_size"] == 1024 and status["deck.A.state"] == "playing"
    assert resize(running, 1024) == 0.0  # it has that size already


def test_only_one_buffer_size_change_runs_at_a_time(running: Running) -> None:
    await_standby(running)  # no earlier change is in progress
    wanted = 512 if running.client.status()["buffer_size"] == 1024 else 1024
    running.client.send("/buffer_size", wanted)
    assert f"is being changed to {wanted}" in failure(running, "/buffer_size", 128)
    await_resized(running, wanted)
    assert "8192" in failure(running, "/buffer_size", 8193)
    assert "16" in failure(running, "/buffer_size", 15)
    resize(running, 128)
    assert running.client.status()["buffer_size"] == 128


@pytest.mark.parametrize("victim", ["first", "resize", "control"])
def test_playback_continues_when_a_process_dies_during_resizing(
    running: Running, victim: str
) -> None:
    client = running.client
    await_standby(running)
    known = set(running.children_named("engine"))
    client.send("/buffer_size", 1024)
    until(lambda: set(running.children_named("engine")) - known)
    if victim == "control":
        running.child_named("control").kill()
    elif victim == "first":
        running.children_named("engine")[0].kill()
    else:
        running.children_named("engine", '"role": "resize"')[-1].kill()
    client.status()
    await_standby(running)
    client.await_frames(RATE // 10)
    assert client.status()["deck.A.state"] == "playing"

    def changed() -> bool:
        # The earlier change may still be completed and answered.
        client.send("/buffer_size", 2048)
        client.await_frames(RATE // 10)
        return bool(client.status()["buffer_size"] == 2048)

    until(changed)


# A card that one program can use at a time, with a maximum block size.
EXCLUSIVE = """
import fcntl, json, sys
from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.engine import main
from crowdstream.engine.drivers.internal_clock import InternalClockDriver

class Card:
    def __init__(self, callback, device, rate, frames, cue):
        self._clock = InternalClockDriver(callback, rate, frames)
        self._about = StreamInfo("pyaudio", "card", rate, frames, frames / rate)
        self._held = None

    def open(self):
        held = open(sys.argv[2])
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DeviceError("another program has it") from error
        if self._about.buffer_size > int(sys.argv[3]):
            raise DeviceError("so many frames are too many")
        self._held = held
        return self._about

    def start(self):
        return self._clock.start()

    def stop(self):
        if self._held is not None:
            self._held.close()

    def alive(self):
        return True

main.PortAudioDriver = Card
sys.exit(main.main(sys.argv[1:]))
"""


class Card:
    """Engines on that card, without control."""

    def __init__(self, desk: Desk, folder: Path, most: int) -> None:
        self._desk, self._lock, self._most = desk, folder / "card", most
        self._lock.touch()
        self.processes: list[subprocess.Popen[bytes]] = []

    def launch(self, role: str, frames: int, lost: str = "play") -> subprocess.Popen[bytes]:
        """Start an engine."""
        request = {
            "fd": self._desk.fd, "number": len(self.processes) + 1, "role": role,
            "driver": "pyaudio", "device": "card", "sample_rate": RATE, "buffer_size": frames,
            "cue_channels": "0", "standby": "running", "lost": lost, "fallback": False,
        }  # fmt: skip
        arguments = [json.dumps(request), str(self._lock), str(self._most)]
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", EXCLUSIVE, *arguments], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, pass_fds=[self._desk.fd], cwd=PROJECT,
            env=child_environment(),
        )  # fmt: skip
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Stop all engines."""
        for process in self.processes:
            process.kill()
            process.communicate()


def receive(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next message of an engine. An empty line only wakes control."""
    assert process.stdout
    line = next(line for line in process.stdout if line.strip())
    message: dict[str, Any] = json.loads(line)
    return message


@pytest.mark.parametrize(
    ("wanted", "most", "becomes"), [(1024, 4096, 1024), (2048, 1024, 256), (1024, 0, 0)]
)
def test_resizing_on_a_card_that_accepts_one_program(
    tmp_path: Path, wanted: int, most: int, becomes: int
) -> None:
    """The old engine stops first. If the size is refused, the old size or the clock remains."""
    desk = Desk.create(0)
    card = Card(desk, tmp_path, max(most, 256))
    try:
        first = card.launch("first", 256)
        assert "ready" in receive(first)
        until(lambda: desk.frame > 2000)
        card._most = most
        new = card.launch("resize", wanted)
        assert receive(new) == {"prepared": None}
        assert new.stdin and first.poll() is None
        new.stdin.write(b'{"go": 1}\n')
        new.stdin.flush()
        took = receive(new)
        first.wait(WAIT_SECONDS)
        assert took["why"] == "resized" and took["lost"] == (becomes == 0)
        assert took["took"]["driver"] == ("pyaudio" if becomes else "null")
        frames = becomes or 256
        assert took["took"]["buffer_size"] == int(desk.header["block_frames"]) == frames
        frame = desk.frame
        until(lambda: desk.frame > frame + RATE // 4)
        assert int(desk.ledger["blocks"]) > 0 and int(desk.ledger["guarded"]) == 0
        lease, gaps = desk.lease, desk.ledger["gaps"]
        assert int(lease["owner"]) == 2 and Lease(desk, 2).pid == new.pid
        cause = CAUSE_RESIZED if becomes else CAUSES.index("device_lost")
        assert int(gaps[cause]) == 1
        assert (int(lease["silence_ns"]) > 0) == bool(becomes)
    finally:
        card.end()
        desk.close()
