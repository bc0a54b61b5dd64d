"""The loader is killed, crashed and stopped while decks play: nothing is heard of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from crowdstream.desk.block import Desk
from tests.support.offline_server import RATE, count, write
from tests.support.server import Running, server, until

NULL = ("--driver", "null", "--buffer-size", "256", "--memory", "64", "--log-level", "info")
STREAMED = (*NULL, "--max-preload", "15")


def loader_of(running: Running) -> psutil.Process:
    """The loader process."""
    until(lambda: len(running.children_named("library")) == 1)
    return running.children_named("library")[0]


@contextmanager
def desk_of(process: psutil.Process) -> Iterator[Desk]:
    """The desk that a process has open."""
    folder = Path(f"/proc/{process.pid}/fd")
    link = next(fd for fd in folder.iterdir() if "crowdstream-desk" in os.readlink(fd))
    desk = Desk(os.open(link, os.O_RDWR))
    try:
        yield desk
    finally:
        desk.close()


def stop_it_while_busy(loader: psutil.Process, desk: Desk, track: int = 1) -> None:
    """Leave the loader standing still in the midst of opening or reading a track's file."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if int(desk.loader["busy"]) == track:
            loader.suspend()
            if int(desk.loader["busy"]) == track:
                return
            loader.resume()
    raise AssertionError("it was never busy")


def restarts(running: Running) -> int:
    """How often the loader has been started anew."""
    return int(running.client.status()["restarts_loader"])


def playing(running: Running, deck: str, path: str) -> None:
    """Load a track on a deck and start it."""
    running.client.request(f"/deck/{deck}/load", path, answer="/done")
    running.client.send(f"/deck/{deck}/play")
    until(lambda: running.client.status()[f"deck.{deck}.state"] == "playing")


@pytest.fixture
def song(tmp_path: Path) -> str:
    """10 s: read whole."""
    return str(write(tmp_path / "song.wav", count(10)))


@pytest.fixture
def long(tmp_path: Path) -> str:
    """2 minutes: streamed, as it is longer than `--max-preload`."""
    return str(write(tmp_path / "long.wav", count(120)))


@pytest.fixture
def slow(tmp_path: Path) -> str:
    """Takes a second and more to open: its head does not say how long it is."""
    path = tmp_path / "slow.flac"
    noise = np.random.default_rng(1).integers(-3000, 3000, (60 * RATE, 2), "int16")
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16", format="FLAC") as file:
        for _ in range(6):
            file.write(noise)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_decks_play_on_and_what_is_streamed_goes_on(
    tmp_path: Path, song: str, long: str, number: int
) -> None:
    with server(tmp_path, *STREAMED) as running:
        running.client.request("/notify", 1, answer="/done")
        playing(running, "A", song)
        playing(running, "B", long)
        for turn in range(1, 3):
            loader = loader_of(running)
            until(lambda: int(running.client.status()["pages_used_mb"] * 1e6) > 0)
            loader.send_signal(number)
            until(lambda: restarts(running) == turn)  # noqa: B023
            assert loader_of(running).pid != loader.pid
        # It goes where only the new loader can have read.
        running.client.send("/deck/B/seek", 100.0)
        until(lambda: running.client.status()["deck.B.position"] > 101)
        status = running.client.status()
        assert status["deck.A.state"] == status["deck.B.state"] == "playing"
        assert status["missing_pages"] == 0
        playing(running, "C", song)
        assert "the loader has died" in running.log()
        loaders = running.children_named("library")
        assert len(loaders) == 1
        assert loaders[0].status() != psutil.STATUS_ZOMBIE


def test_a_crash_while_a_file_is_opened_makes_only_that_file_bad(
    tmp_path: Path, song: str, slow: str
) -> None:
    with server(tmp_path, *NULL) as running:
        running.client.request("/notify", 1, answer="/done")
        playing(running, "A", song)
        loader = loader_of(running)
        with desk_of(loader) as desk:
            running.client.send("/deck/B/load", slow)
            stop_it_while_busy(loader, desk, track=2)
        running.client.send("/deck/C/load", song)
        loader.send_signal(signal.SIGSEGV)
        loader.resume()
        heard: dict[str, list[object]] = {}
        while not {"/fail", "/done", "/restarted"} <= heard.keys():
            address, values = running.client.receive(20)
            heard[address] = values
        assert heard["/fail"][0] == "/deck/B/load"
        assert "slow.flac: the decoder crashed on it (SIGSEGV)" in str(heard["/fail"][1])
        assert heard["/done"][0] == "/deck/C/load", "the other load goes on by itself"
        assert heard["/restarted"] == ["loader"]
        reason = running.client.request("/deck/B/load", slow, answer="/fail")[1]
        assert "not tried again until it changes" in reason
        assert restarts(running) == 1
        os.utime(slow)
        running.client.request("/deck/B/load", slow, answer="/done", seconds=30)
        status = running.client.status()
        assert (status["missing_pages"], status["restarts_loader"]) == (0, 1)


def test_a_kill_while_a_file_is_opened_is_forgiven_once(tmp_path: Path, slow: str) -> None:
    with server(tmp_path, *NULL) as running:
        running.client.send("/deck/B/load", slow)
        for _ in range(2):
            loader = loader_of(running)
            before = restarts(running)
            with desk_of(loader) as desk:
                stop_it_while_busy(loader, desk)
            loader.kill()
            until(lambda: restarts(running) > before)  # noqa: B023
        reason = running.client.request("/deck/C/load", slow, answer="/fail")[1]
        assert "slow.flac: the loader was ended twice while it was read" in reason


def test_what_streams_is_broken_by_a_crash_and_plays_what_it_has(
    tmp_path: Path, song: str, long: str
) -> None:
    with server(tmp_path, *STREAMED) as running:
        running.client.request("/notify", 1, answer="/done")
        playing(running, "B", long)
        loader = loader_of(running)
        with desk_of(loader) as desk:
            stop_it_while_busy(loader, desk)
        loader.send_signal(signal.SIGSEGV)
        loader.resume()
        heard = ""
        while heard != "/broken":
            heard, values = running.client.receive(20)
        assert "long.wav: the decoder crashed on it" in values[1]
        before = running.client.status()["deck.B.position"]
        assert running.client.status()["deck.B.state"] == "broken"
        until(lambda: running.client.status()["deck.B.position"] > before + 1.0)
        assert running.client.status()["missing_pages"] == 0, "its read-ahead is still there"
        playing(running, "C", song)


def test_a_medium_that_stalls_for_5_seconds_is_not_heard_and_told(
    tmp_path: Path, long: str
) -> None:
    with server(tmp_path, *STREAMED, "--read-ahead", "8") as running:
        running.client.request("/notify", 1, answer="/done")
        playing(running, "B", long)
        loader = loader_of(running)
        time.sleep(0.5)  # for its read-ahead
        with desk_of(loader) as desk:
            stop_it_while_busy(loader, desk)
        time.sleep(5.0)
        status = running.client.status()
        assert status["missing_pages"] == 0
        assert status["stalled_s"] > 4.0
        loader.resume()
        heard = ""
        while heard != "/stall":
            heard, values = running.client.receive(20)
        assert values[0] == long
        assert 4.9 < values[1] < 15.0
        until(lambda: running.client.status()["stalls"] == 1)
        status = running.client.status()
        assert status["read_max_ms"] > 4900
        assert status["restarts_loader"] == 0
        assert f"{long}: the medium stalled for" in running.log()


def test_a_gap_after_the_read_ahead_is_put_down_to_the_stall(tmp_path: Path, long: str) -> None:
    with server(tmp_path, *STREAMED, "--read-ahead", "1") as running:
        running.client.request("/notify", 1, answer="/done")
        playing(running, "B", long)
        loader = loader_of(running)
        with desk_of(loader) as desk:
            stop_it_while_busy(loader, desk)
        cause = ""
        while cause != "missing_page":
            heard, values = running.client.receive(20)
            cause = str(values[0]) if heard == "/underrun" else ""
        until(lambda: "gaps for want of a page: the medium stalled for" in running.log())
        assert "raise --read-ahead" in running.log()
        loader.resume()
        until(lambda: running.client.status()["stalled_s"] == 0.0)
        known = running.client.status()["missing_pages"]
        assert known > 0
        before = running.client.status()["deck.B.position"]
        until(lambda: running.client.status()["deck.B.position"] > before + 1.0)
        assert running.client.status()["deck.B.state"] == "playing"


def test_control_and_loader_killed_together_leave_what_plays_alone(
    tmp_path: Path, song: str, long: str
) -> None:
    with server(tmp_path, *STREAMED) as running:
        playing(running, "A", song)
        playing(running, "B", long)
        control, loader = running.child_named("control"), loader_of(running)
        until(lambda: running.client.status()["pages_used_mb"] > 3.0)
        control.suspend()  # so that it does not see the loader's death
        loader.kill()
        control.kill()
        until(lambda: answers(running))
        until(lambda: running.client.status()["restarts_loader"] > 0)
        running.client.send("/deck/B/seek", 100.0)
        until(lambda: running.client.status()["deck.B.position"] > 101)
        status = running.client.status()
        assert status["deck.A.track"] == "song"
        assert status["deck.B.state"] == "playing"
        assert status["missing_pages"] == 0


def answers(running: Running) -> bool:
    """Whether the server answers."""
    try:
        running.client.status()
    except (TimeoutError, OSError):
        return False
    return True
