"""A server loads files that need transcoding without affecting playback."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from crowdstream.audiofile.transcode import Source
from tests.support.offline_server import RATE, count, write
from tests.support.osc_client import until
from tests.support.server import Running, server
from tests.support.transcoding import encode, noise


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "crowdstream" / "transcoded"
    folder.mkdir(parents=True, mode=0o700)
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Running]:
    env = {"XDG_CACHE_HOME": str(cache.parent.parent)}
    options = ("--driver", "null", "--log-level", "info", "--max-preload", "5", "--standby", "off")
    with server(tmp_path_factory.mktemp("server"), *options, env=env) as made:
        yield made


@pytest.fixture
def running(shared: Running) -> Running:
    shared.renew()
    return shared


def hold(cache: Path, path: Path) -> int:
    """Block the transcoding of a file until the returned descriptor is closed."""
    status = path.stat()
    source = Source(path, -1, status.st_size, status.st_mtime_ns)
    lock = os.open(cache / f".{source.place}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def transcoders(running: Running) -> list[psutil.Process]:
    """The transcoder processes."""
    found = []
    for one in running.children():
        with contextlib.suppress(psutil.Error):  # it has just exited
            if "crowdstream.audiofile.transcoder" in one.cmdline():
                found.append(one)
    return found


def plays_without_a_gap(running: Running) -> bool:
    """Whether a quarter of a second of deck A is rendered without a missing page."""
    before = running.client.status()
    running.client.await_frames(RATE // 4)
    after = running.client.status()
    moved = after["deck.A.position"] - before["deck.A.position"]
    return bool(after["missing_pages"] == before["missing_pages"] and moved > 0.2)


def test_other_files_load_and_play_while_one_is_transcoded(
    running: Running, tmp_path: Path, cache: Path
) -> None:
    client = running.client
    write(tmp_path / "song.wav", count(20))
    path = encode(tmp_path / "tune.m4a", "aac", noise(3 * RATE + 7))
    other = encode(tmp_path / "other.m4a", "aac", noise(RATE, 2))
    locks = [hold(cache, path), hold(cache, other)]
    client.request("/deck/A/load", str(tmp_path / "song.wav"), answer="/done")  # streamed
    client.send("/deck/A/play")
    until(lambda: client.status()["deck.A.state"] == "playing")
    client.send("/deck/B/load", str(path))
    client.send("/deck/C/load", str(other))
    until(lambda: len(transcoders(running)) == 2)
    client.request("/deck/D/load", str(tmp_path / "song.wav"), answer="/done")
    client.send("/deck/A/seek", 15.0)  # to a part that was not read before
    until(lambda: plays_without_a_gap(running), what="deck A gets what it plays")
    # A transcoding that is no longer needed is cancelled.
    client.send("/deck/C/unload")
    until(lambda: len(transcoders(running)) == 1)
    os.close(locks[0])
    while client.receive_until("/done")[0] != "/deck/B/load":
        pass
    client.send("/deck/B/play")
    until(lambda: client.status()["deck.B.state"] == "playing")
    assert client.status()["deck.B.length"] == pytest.approx((3 * RATE + 7) / RATE, abs=1e-4)
    os.close(locks[1])


def test_a_dead_transcoder_fails_only_its_own_load(
    running: Running, tmp_path: Path, cache: Path
) -> None:
    client = running.client
    write(tmp_path / "song.wav", np.zeros((RATE, 2)))
    path = encode(tmp_path / "tune.m4a", "aac", noise(RATE))
    lock = hold(cache, path)
    client.send("/deck/B/load", str(path))
    until(lambda: len(transcoders(running)) == 1)
    transcoders(running)[0].kill()
    fail = client.receive_until("/fail")
    assert fail[0] == "/deck/B/load" and "its transcoding process was killed" in fail[1]
    os.close(lock)
    client.request("/deck/B/load", str(path), answer="/done")
    path.write_bytes(path.read_bytes()[:2000])
    client.send("/deck/C/load", str(path))
    assert "tune.m4a: it is damaged, or was cut off" in client.receive_until("/fail")[1]
    assert client.status()["restarts_loader"] == 0
