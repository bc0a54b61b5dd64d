"""The recorder of a running server: files are complete, whichever process is killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from tests.support.offline_server import RATE, count, write
from tests.support.server import WAIT_SECONDS, OscClient, Running, SharedServer, ended, until

NULL = ("--driver", "null", "--buffer-size", "256")


LIMIT_BYTES = 200_001  # less than a second


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("track") / "numbers.wav", count(60)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *NULL) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer, track: str) -> Running:
    """A server shared with other tests, with a track on deck A."""
    made = shared.get()
    if made.client.status()["recording"]:  # an earlier test has failed
        shared.close()
        made = shared.get()
    made.client.request("/deck/A/load", track, answer="/done")
    return made


def recorder(running: Running) -> psutil.Process:
    """The server's recorder process."""
    found: list[psutil.Process] = []

    def there() -> bool:
        found[:] = running.children_named("recorder")
        return bool(found)

    until(there)
    return found[0]


def record(client: OscClient, path: Path, *what: str) -> int:
    """Play deck A and record; the first frame of the recording."""
    client.send("/deck/A/play")
    client.send("/record/start", str(path), *what)
    begin: int | None = None
    while begin is None:
        address, values = client.receive()
        assert address == "/done", values
        if values[0] == "/record/start":
            begin = values[2]
    until(lambda: client.status()["record_seconds"] > 0.3)
    return begin


def stop(client: OscClient) -> tuple[list[Any], int]:
    """Stop recording: the arguments of `/done`, and the number of frames reported lost."""
    client.send("/record/stop")
    lost = 0
    while True:
        address, values = client.receive()
        if address == "/record/lost":
            lost = values[1]
        else:
            assert (address, values[0]) == ("/done", "/record/stop"), values
            return values, lost


def saved_seconds(path: Path) -> float:
    """Seconds of a file in progress that could be read if nothing more were written."""
    try:
        about = soundfile.info(path)
    except soundfile.LibsndfileError:
        return 0.0
    seconds = float(about.frames / RATE)
    return seconds if seconds < 3600.0 else 0.0  # the header of FLAC has no count yet


def check(path: Path, least: float, lost: int = 0) -> int:
    """Check that the file has the track's count without a gap, for at least `least` seconds.

    `lost`: number of frames that the recorder has reported as lost and that are silent.
    """
    samples, _ = soundfile.read(path, dtype="int16")
    assert len(samples) >= round(least * RATE)
    sounding = samples[np.flatnonzero(samples[:, 0])[0] :, 0].astype(int)
    places = (np.arange(len(sounding)) + sounding[0] - 1) % 8192 + 1
    wrong = np.flatnonzero(sounding != places)
    silent = np.flatnonzero(sounding == 0)
    found = f"of {len(sounding)} {len(wrong)} are wrong, at {wrong[:3]}: {sounding[wrong[:3]]}"
    assert np.array_equal(wrong, silent), found
    assert len(silent) <= lost, f"{found}; {lost} were reported lost"
    return len(samples)


@pytest.mark.parametrize("name", ["mix.wav", "mix.flac"])
def test_a_killed_recorder_leaves_a_readable_file_and_a_playing_server(
    running: Running, tmp_path: Path, name: str
) -> None:
    client = running.client
    record(client, tmp_path / name)
    until(lambda: saved_seconds(tmp_path / name) > 0.5)
    saved = saved_seconds(tmp_path / name)
    lost = client.status()["record_lost"]
    recorder(running).kill()
    values = client.receive_until("/record/failed")
    assert values[0] == str(tmp_path / name)
    assert "signal 9" in values[1]
    check(tmp_path / name, saved, lost)
    until(lambda: client.status()["recording"] == 0)
    assert client.status()["deck.A.state"] == "playing"
    record(client, tmp_path / f"again-{name}")
    stop(client)


def test_a_stopped_recorder_loses_only_its_own_frames(
    running: Running, tmp_path: Path
) -> None:
    # As on a disk that accepts nothing for a while, and worse.
    client = running.client
    missing = client.status()["missing_frames"]
    begin = record(client, tmp_path / "mix.wav")
    process = recorder(running)
    os.kill(process.pid, signal.SIGSTOP)
    frame = client.status()["frame"]
    client.await_frames(4 * RATE)
    assert client.status()["deck.A.state"] == "playing"
    os.kill(process.pid, signal.SIGCONT)
    address, values = client.receive()
    assert address == "/record/lost" and values[0] == str(tmp_path / "mix.wav")
    first = values[1]
    values, more = stop(client)
    lost = max(first, more)
    assert RATE < lost < client.status()["frame"] - frame + RATE
    assert client.status()["missing_frames"] == missing
    samples, _ = soundfile.read(tmp_path / "mix.wav", dtype="int16")
    assert len(samples) == values[2] and begin > 0
    left = samples[:, 0].astype(int)
    silent = left == 0
    start = int(np.flatnonzero(~silent)[0])
    assert int(silent[start:].sum()) == lost
    # Times in the file match those of the playback, behind the gap too.
    places = (np.arange(len(left)) - start + left[start] - 1) % 8192 + 1
    assert np.array_equal(left[start:][~silent[start:]], places[start:][~silent[start:]])


def test_a_recording_that_reaches_the_maximum_file_size_continues_in_another_file(
    running: Running, tmp_path: Path
) -> None:
    client = running.client
    record(client, tmp_path / "before.wav")
    stop(client)
    process = recorder(running)
    process.rlimit(psutil.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))
    client.request("/record/start", str(tmp_path / "mix.wav"), answer="/done")
    full: list[tuple[str, int, str]] = []
    while len(full) < 2:
        values = client.receive_until("/record/continued")
        full.append((values[0], values[1], values[2]))
    client.send("/record/stop")
    files: list[tuple[str, int]] = []
    lost = 0
    while not files or Path(files[-1][0]).name != f"mix-{len(full) + 1}.wav":
        address, values = client.receive()
        if address == "/record/continued":
            full.append((values[0], values[1], values[2]))
        elif address == "/record/lost":
            lost += values[1]
        else:
            assert (address, values[0]) == ("/done", "/record/stop"), values
            files.append((values[1], values[2]))
    assert [path for path, _ in files[:-1]] == [path for path, _, _ in full]
    assert [frames for _, frames in files[:-1]] == [(LIMIT_BYTES - 80) // 6] * len(full)
    heard = np.concatenate([soundfile.read(path, dtype="int16")[0] for path, _ in files])
    assert len(heard) == sum(frames for _, frames in files)
    soundfile.write(tmp_path / "whole.wav", heard, RATE, "PCM_16")
    check(tmp_path / "whole.wav", 0.5, lost)
    assert client.status()["deck.A.state"] == "playing"
    process.kill()  # the next test gets a recorder without a limit, once control has noticed
    until(lambda: not psutil.pid_exists(process.pid))


def test_a_server_that_shuts_down_finishes_its_recording(running: Running, tmp_path: Path) -> None:
    record(running.client, tmp_path / "mix.flac")
    played = running.client.status()
    running.process.terminate()
    assert running.process.wait(WAIT_SECONDS) == 0
    check(tmp_path / "mix.flac", played["record_seconds"], played["record_lost"])


def test_the_file_is_readable_after_all_processes_are_killed(
    running: Running, tmp_path: Path
) -> None:
    record(running.client, tmp_path / "mix.wav")
    until(lambda: saved_seconds(tmp_path / "mix.wav") > 0.5)
    saved = saved_seconds(tmp_path / "mix.wav")
    lost = running.client.status()["record_lost"]
    supervisor = psutil.Process(running.process.pid)
    supervisor.suspend()  # it would start another control process, which nothing would kill
    children = running.children()
    for process in (*children, supervisor):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended with its parent
            process.kill()
    running.process.wait()
    until(lambda: all(ended(process) for process in children))
    check(tmp_path / "mix.wav", saved, lost)


def test_a_recorder_outlives_a_killed_server_to_finish_the_file(
    running: Running, tmp_path: Path
) -> None:
    record(running.client, tmp_path / "mix.wav")
    before = running.client.status()
    process = recorder(running)
    running.process.kill()
    running.process.wait()
    until(lambda: ended(process))
    check(tmp_path / "mix.wav", before["record_seconds"], before["record_lost"])
