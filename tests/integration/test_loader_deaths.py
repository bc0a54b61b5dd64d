"""The loader is killed, crashed and stopped while decks play: playback is not affected."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from tests.support.offline_server import RATE, count, write
from tests.support.osc_client import OscClient
from tests.support.server import (
    WAIT_SECONDS,
    Running,
    SharedServer,
    open_desk,
    server,
    until,
)

# Tracks longer than 15 s are streamed.
STREAMED = ("--driver", "null", "--buffer-size", "256", "--cache-mb", "64", "--log-level", "info",
            "--max-preload", "15", "--read-ahead", "30", "--standby", "off")  # fmt: skip
READ_AHEAD_SECONDS = 30.0  # pages must not be missing on a slow machine either
LONG_SECONDS = 1800
PROVOKE_SECONDS = 0.02
SONG_SECONDS = 10
SONG_MB, STREAMED_MB = (seconds * RATE * 4e-6 for seconds in (SONG_SECONDS, READ_AHEAD_SECONDS))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *STREAMED) as made:
        yield made


@pytest.fixture
def running(shared: SharedServer) -> Running:
    """A server shared with other tests, which have killed its loaders."""
    made = shared.get()
    made.client.request("/notify", 1, answer="/done")
    return made


def loader_of(running: Running) -> psutil.Process:
    """The loader process."""
    found: list[psutil.Process] = []

    def alone() -> bool:
        found[:] = running.children_named("loader")
        return len(found) == 1

    until(alone)
    return found[0]


def _target(fd: Path) -> str:
    with contextlib.suppress(OSError):  # it has just been closed
        return os.readlink(fd)
    return ""


def stop(
    loader: psutil.Process, likely: Callable[[], bool], sure: Callable[[], bool],
    provoke: Callable[[], None],
) -> None:  # fmt: skip
    """Stop the loader at a moment at which both conditions hold.

    `likely` is polled continuously, `sure` only while the loader is stopped. `provoke` is called
    occasionally to make the loader do something.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    provoked = time.monotonic()
    while time.monotonic() < deadline:
        if likely():
            loader.suspend()
            while loader.status() != psutil.STATUS_STOPPED:
                pass
            if likely() and sure():
                return
            loader.resume()
        if time.monotonic() > provoked + PROVOKE_SECONDS:
            provoked = time.monotonic()
            provoke()
    raise AssertionError("it never came to that")


def nothing() -> None:
    """No action is needed to meet the condition."""


def stop_it_while_busy(
    loader: psutil.Process, path: str, provoke: Callable[[], None] = nothing
) -> None:
    """Stop the loader while it opens or reads a file."""
    folder = Path(f"/proc/{loader.pid}/fd")

    def opened() -> bool:
        return any(_target(fd) == path for fd in folder.iterdir())

    with open_desk(loader.pid) as desk:
        stop(loader, lambda: int(desk.loader["busy"]) != 0, opened, provoke)


def stop_it_while_streaming(running: Running, deck: str, path: str) -> None:
    """Stop the loader while it reads a page of a streamed track.

    Reading a page takes only a moment, so moving hot cues, which pin pages, give it more to do.
    """
    cues = itertools.count(1)

    def provoke() -> None:
        running.client.send(f"/deck/{deck}/hotcue/set", 1, 30.0 * next(cues) % LONG_SECONDS)

    stop_it_while_busy(loader_of(running), path, provoke)


def stop_it_while_idle(loader: psutil.Process) -> None:
    """Stop the loader while it is reading no file that could be blamed."""
    with open_desk(loader.pid) as desk:
        stop(loader, lambda: int(desk.loader["busy"]) == 0, lambda: True, nothing)


def end(loader: psutil.Process, number: int) -> None:
    """Send a deadly signal to a stopped loader."""
    loader.send_signal(number)
    with contextlib.suppress(psutil.NoSuchProcess):
        loader.resume()


def restarts(running: Running) -> int:
    """Number of restarts of the loader."""
    return int(running.client.status()["restarts_loader"])


def missing(running: Running) -> int:
    """Number of pages that were missing."""
    return int(running.client.status()["missing_pages"])


def playing(running: Running, deck: str, path: str) -> None:
    """Load a track on a deck and start it."""
    running.client.request(f"/deck/{deck}/load", path, answer="/done")
    running.client.send(f"/deck/{deck}/play")
    until(lambda: running.client.status()[f"deck.{deck}.state"] == "playing")


def await_pages(running: Running, megabytes: float) -> None:
    """Wait until that many megabytes of the tracks are in memory."""
    until(lambda: running.client.status()["pages_used_mb"] > 0.9 * megabytes)


def play_on(running: Running, deck: str) -> None:
    """Wait until a deck has played one more second."""
    before = running.client.status()[f"deck.{deck}.position"]
    until(lambda: running.client.status()[f"deck.{deck}.position"] > before + 1.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tracks; bad files are remembered by path, so tests use copies."""
    folder = tmp_path_factory.mktemp("files")
    write(folder / "song.wav", count(SONG_SECONDS))
    noise = np.random.default_rng(1).integers(-3000, 3000, (30 * RATE, 2), "int16")
    path = folder / "slow.flac"
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16", format="FLAC") as file:
        for _ in range(6):
            file.write(noise)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    return folder


@pytest.fixture
def song(files: Path, tmp_path: Path) -> str:
    """A short track, read completely."""
    return str(shutil.copy(files / "song.wav", tmp_path))


@pytest.fixture
def long(tmp_path: Path) -> str:
    """Silence longer than `--max-preload`, therefore streamed; uses no disk space."""
    path = tmp_path / "long.wav"
    write(path, np.zeros((0, 2)))
    data = bytearray(path.read_bytes())
    size = LONG_SECONDS * RATE * 4
    data[4:8], data[-4:] = (len(data) - 8 + size).to_bytes(4, "little"), size.to_bytes(4, "little")
    path.write_bytes(data)
    os.truncate(path, len(data) + size)
    return str(path)


@pytest.fixture
def slow(files: Path, tmp_path: Path) -> str:
    """A file that takes long to open, because its header has no length."""
    return str(shutil.copy(files / "slow.flac", tmp_path))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_decks_play_on_and_streaming_resumes_after_the_loader_is_killed(
    running: Running, song: str, long: str, number: int
) -> None:
    playing(running, "A", song)
    playing(running, "B", long)
    before, known = missing(running), restarts(running)
    for turn in range(1, 3):
        loader = loader_of(running)
        await_pages(running, SONG_MB + STREAMED_MB)
        stop_it_while_idle(loader)
        end(loader, number)
        until(lambda: restarts(running) == known + turn)  # noqa: B023
        assert loader_of(running).pid != loader.pid
    assert missing(running) == before
    # It plays pages that only the new loader can have read.
    running.client.send("/deck/B/seek", 100.0)
    until(lambda: running.client.status()["deck.B.position"] > 101)
    assert running.client.status()["deck.B.state"] == "playing"
    assert running.client.status()["deck.A.track"] == "song"
    playing(running, "C", song)
    until(lambda: "the loader has died" in running.log())
    loaders = running.children_named("loader")
    assert len(loaders) == 1
    assert loaders[0].status() != psutil.STATUS_ZOMBIE


def test_a_crash_while_opening_a_file_quarantines_only_that_file(
    running: Running, song: str, slow: str
) -> None:
    playing(running, "A", song)
    before, known = missing(running), restarts(running)
    loader = loader_of(running)
    running.client.send("/deck/B/load", slow)
    stop_it_while_busy(loader, slow)
    running.client.send("/deck/C/load", song)
    end(loader, signal.SIGSEGV)
    received: dict[str, list[object]] = {}
    while not {"/fail", "/done", "/restarted"} <= received.keys():
        address, values = running.client.receive()
        received[address] = values
    assert received["/fail"][0] == "/deck/B/load"
    assert "slow.flac: the decoder crashed on it (SIGSEGV)" in str(received["/fail"][1])
    assert received["/done"][0] == "/deck/C/load", "the other load goes on by itself"
    assert received["/restarted"] == ["loader"]
    reason = running.client.request("/deck/B/load", slow, answer="/fail")[1]
    assert "not tried again until it changes" in reason
    assert restarts(running) == known + 1
    os.utime(slow)
    running.client.request("/deck/B/load", slow, answer="/done")
    assert (missing(running), restarts(running)) == (before, known + 1)


def test_a_file_is_quarantined_only_after_a_second_kill(running: Running, slow: str) -> None:
    running.client.send("/deck/B/load", slow)
    for _ in range(2):
        loader = loader_of(running)
        before = restarts(running)
        stop_it_while_busy(loader, slow)
        end(loader, signal.SIGKILL)
        until(lambda: restarts(running) > before)  # noqa: B023
    reason = running.client.request("/deck/C/load", slow, answer="/fail")[1]
    assert "slow.flac: the loader was killed twice while reading it" in reason


def test_a_crash_breaks_a_streamed_track_which_plays_its_resident_pages(
    running: Running, song: str, long: str
) -> None:
    playing(running, "B", long)
    await_pages(running, STREAMED_MB)
    known = missing(running)
    stop_it_while_streaming(running, "B", long)
    end(loader_of(running), signal.SIGSEGV)
    values = running.client.receive_until("/broken")
    assert "long.wav: the decoder crashed on it" in values[1]
    assert running.client.status()["deck.B.state"] == "broken"
    play_on(running, "B")
    assert missing(running) == known, "its read-ahead is still there"
    playing(running, "C", song)


def test_a_stalled_medium_is_reported_and_inaudible(running: Running, long: str) -> None:
    client = running.client
    with contextlib.closing(OscClient(running.port)) as listener:
        listener.request("/notify", 1, answer="/done")
        playing(running, "B", long)
        before = client.status()
        # A loader stopped at the very end of a read has not waited for it; and
        # on a busy machine its read-ahead may be incomplete when it is stopped.
        until(lambda: stalls_unheard(running, long), what="a stall that is not heard")
        values = listener.receive_until("/stall")
    assert values[0] == long and values[1] >= 3.0
    until(lambda: client.status()["read_max_ms"] >= 3000)
    assert client.status()["restarts_loader"] == before["restarts_loader"]
    until(lambda: f"{long}: the medium stalled for" in running.log())


def stalls_unheard(running: Running, path: str) -> bool:
    """Whether a stall of 3 s on deck B's file is noticed without a missing page."""
    client = running.client
    await_pages(running, STREAMED_MB)
    stop_it_while_streaming(running, "B", path)
    begin = status = client.status()
    heard = False
    while status["stalled_s"] < 3.0:
        # Part of the read-ahead was played before the loader was stopped.
        if status["frame"] < begin["frame"] + 0.5 * READ_AHEAD_SECONDS * RATE:
            heard = heard or status["missing_pages"] != begin["missing_pages"]
        status = client.status()
    loader_of(running).resume()
    until(lambda: client.status()["stalled_s"] == 0.0)
    return bool(client.status()["stalls"] > begin["stalls"] and not heard)


def test_a_gap_after_the_read_ahead_is_attributed_to_the_stall(tmp_path: Path, long: str) -> None:
    with server(tmp_path, *STREAMED, "--read-ahead", "1") as running:
        running.client.request("/notify", 1, answer="/done")
        playing(running, "B", long)
        stop_it_while_streaming(running, "B", long)
        loader = loader_of(running)
        cause = ""
        while cause != "missing_page":
            cause = str(running.client.receive_until("/underrun")[0])
        until(lambda: "gaps because a page was missing: the medium stalled for" in running.log())
        until(lambda: "raise --read-ahead" in running.log())
        loader.resume()
        until(lambda: running.client.status()["stalled_s"] == 0.0)
        assert missing(running) > 0
        play_on(running, "B")
        assert running.client.status()["deck.B.state"] == "playing"


def test_playback_continues_when_control_and_loader_are_killed_together(
    running: Running, song: str, long: str
) -> None:
    playing(running, "A", song)
    playing(running, "B", long)
    before, known = missing(running), restarts(running)
    control, loader = running.child_named("control"), loader_of(running)
    await_pages(running, SONG_MB + STREAMED_MB)
    running.client.await_noted()
    control.suspend()  # so that it does not notice the loader's death
    loader.kill()
    control.kill()
    until(lambda: restarts(running) > known)
    assert missing(running) == before
    running.client.send("/deck/B/seek", 100.0)
    until(lambda: running.client.status()["deck.B.position"] > 101)
    status = running.client.status()
    assert status["deck.A.track"] == "song"
    assert status["deck.B.state"] == "playing"
