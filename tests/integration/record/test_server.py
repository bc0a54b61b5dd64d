"""The recorder beside a running server: what is played is in the file, whatever is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from tests.support.offline_server import RATE, count, write
from tests.support.server import Client, Running, server, until

NULL = ("--driver", "null", "--buffer-size", "256")


@pytest.fixture
def track(tmp_path: Path) -> str:
    return str(write(tmp_path / "numbers.wav", count(60)))


def recorder(running: Running) -> psutil.Process:
    """The server's recorder process."""
    return running.child_named("record")


def record(client: Client, path: Path, *what: str, seconds: float) -> int:
    """Play deck A and record for a while; the frame that the recording begins at."""
    client.send("/deck/A/play")
    client.send("/record/start", str(path), *what)
    begin: int | None = None
    deadline = time.monotonic() + 20
    while begin is None and time.monotonic() < deadline:
        address, values = client.receive()
        assert address == "/done", values
        if values[0] == "/record/start":
            begin = values[2]
    assert begin is not None
    until(lambda: client.status()["record_seconds"] > seconds)
    return begin


def check(path: Path, least: float) -> int:
    """The file holds the track's count without a gap, at least so many seconds of it."""
    samples, _ = soundfile.read(path, dtype="int16")
    assert len(samples) > least * RATE
    sounding = samples[np.flatnonzero(samples[:, 0])[0] :, 0].astype(int)
    places = (np.arange(len(sounding)) + sounding[0] - 1) % 8192 + 1
    assert np.array_equal(sounding, places)
    return len(samples)


def test_a_server_that_stops_finishes_its_recording(tmp_path: Path, track: str) -> None:
    with server(tmp_path, *NULL) as running:
        running.client.request("/deck/A/load", track, answer="/done")
        record(running.client, tmp_path / "mix.flac", seconds=1.5)
        played = running.client.status()
    check(tmp_path / "mix.flac", played["record_seconds"])
    assert running.process.returncode == 0


@pytest.mark.parametrize("name", ["mix.wav", "mix.flac"])
def test_a_killed_recorder_leaves_a_readable_file_and_a_playing_server(
    tmp_path: Path, track: str, name: str
) -> None:
    with server(tmp_path, *NULL) as running:
        client = running.client
        client.request("/deck/A/load", track, answer="/done")
        record(client, tmp_path / name, seconds=2.5)
        before = client.status()["record_seconds"]
        recorder(running).kill()
        address, values = client.receive()
        assert address == "/record/failed" and values[0] == str(tmp_path / name)
        assert "signal 9" in values[1]
        # The last second may be lost, and a block of the encoder's.
        check(tmp_path / name, before - 1.2)
        status = client.status()
        assert status["deck.A.state"] == "playing" and status["recording"] == 0
        record(client, tmp_path / f"again-{name}", seconds=0.3)
        client.send("/record/stop")
        assert client.receive()[1][0] == "/record/stop"


def test_when_everything_is_killed_the_file_can_be_read(tmp_path: Path, track: str) -> None:
    with server(tmp_path, *NULL) as running:
        running.client.request("/deck/A/load", track, answer="/done")
        record(running.client, tmp_path / "mix.wav", seconds=2.5)
        before = running.client.status()["record_seconds"]
        children = running.children()
        for process in (*children, psutil.Process(running.process.pid)):
            process.kill()
        psutil.wait_procs(children, 10)
    check(tmp_path / "mix.wav", before - 1.2)


def test_a_recorder_outlives_a_killed_server_to_finish_the_file(
    tmp_path: Path, track: str
) -> None:
    with server(tmp_path, *NULL) as running:
        running.client.request("/deck/A/load", track, answer="/done")
        record(running.client, tmp_path / "mix.wav", seconds=1.2)
        before = running.client.status()["record_seconds"]
        process = recorder(running)
        running.process.kill()
        psutil.wait_procs([process], 10)
        assert not process.is_running()
    check(tmp_path / "mix.wav", before)


def test_a_recorder_that_stood_still_loses_its_part_and_no_music(
    tmp_path: Path, track: str
) -> None:
    # As on a disk that takes nothing for a while, and worse.
    with server(tmp_path, *NULL) as running:
        client = running.client
        client.request("/deck/A/load", track, answer="/done")
        begin = record(client, tmp_path / "mix.wav", seconds=0.5)
        process = recorder(running)
        os.kill(process.pid, signal.SIGSTOP)
        frame = client.status()["frame"]
        until(lambda: client.status()["frame"] > frame + 5 * RATE)
        assert client.status()["deck.A.state"] == "playing"
        os.kill(process.pid, signal.SIGCONT)
        address, values = client.receive()
        assert address == "/record/lost" and values[0] == str(tmp_path / "mix.wav")
        lost = values[1]
        assert RATE < lost < 6 * RATE
        client.send("/record/stop")
        address, values = client.receive()
        assert values[0] == "/record/stop", (address, values)
        assert client.status()["missing_frames"] == 0
    samples, _ = soundfile.read(tmp_path / "mix.wav", dtype="int16")
    assert len(samples) == values[2] and begin > 0
    left = samples[:, 0].astype(int)
    silent = left == 0
    start = int(np.flatnonzero(~silent)[0])
    assert int(silent[start:].sum()) == lost
    # The time of the file is the time of the music, behind the gap too.
    places = (np.arange(len(left)) - start + left[start] - 1) % 8192 + 1
    assert np.array_equal(left[start:][~silent[start:]], places[start:][~silent[start:]])


def test_a_full_disk_ends_the_recording_alone(tmp_path: Path, track: str) -> None:
    # The limit is the recorder's own: what it can't write is as on a disk that is full.
    with server(tmp_path, *NULL) as running:
        client = running.client
        client.request("/deck/A/load", track, answer="/done")
        record(client, tmp_path / "mix.wav", seconds=0.3)
        limits: Any = psutil.RLIMIT_FSIZE
        recorder(running).rlimit(limits, (500_001, 500_001))
        address, values = client.receive(20)
        assert (address, *values) == (
            "/record/failed", str(tmp_path / "mix.wav"), "File too large"
        )
        status = client.status()
        assert status["deck.A.state"] == "playing" and status["recording"] == 0
        client.send("/record/stop")
        assert client.receive()[1][1] == "nothing is being recorded"
        frames = check(tmp_path / "mix.wav", 1.5)
        assert frames == (500_001 - 80) // 6
