"""What the loader says of long reads: a medium that does not answer, not a decoder at work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.desk.block import Desk
from crowdstream.desk.sizes import PAGE_BYTES
from crowdstream.library import busy
from crowdstream.library.busy import Busy
from crowdstream.library.loader import Loader
from crowdstream.library.reader import StemReader, open_stem
from tests.support.offline_server import RATE, count, write


def test_waiting_is_a_stall_and_working_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "STALL_SECONDS", 0.2)
    desk = Desk.create(4 * PAGE_BYTES)
    said: list[dict[str, Any]] = []
    marker = Busy(desk, said.append)
    with marker.reading(3, 7, "worked.wav"):
        assert (int(desk.loader["busy"]), int(desk.loader["source"])) == (3, 7)
        begin = int(desk.loader["since_ns"])
        until = time.thread_time() + 0.3
        while time.thread_time() < until:
            marker.progress()
    assert int(desk.loader["since_ns"]) > begin
    assert int(desk.loader["busy"]) == 0
    known = marker.stalls  # of a machine that is busy with other things
    with marker.reading(4, 8, "waited.wav"):
        time.sleep(0.25)
    assert marker.stalls == known + 1
    assert said[-1]["event"] == "stall"
    assert (said[-1]["track"], said[-1]["path"]) == (4, "waited.wav")
    assert 0.2 < said[-1]["seconds"] <= marker.longest
    desk.close()


def test_a_read_that_blocks_is_told_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy, "STALL_SECONDS", 0.05)
    path = str(write(tmp_path / "song.wav", count(2)))
    desk = Desk.create(16 * PAGE_BYTES, RATE)
    said: list[dict[str, Any]] = []
    loader = Loader(desk, said.append)
    loader.load(1, [(5, path)], 0.0)
    read = StemReader.read

    def blocks(*arguments: Any) -> Any:
        time.sleep(0.1)
        return read(*arguments)

    monkeypatch.setattr(StemReader, "read", blocks)
    loader.work()
    monkeypatch.undo()
    stalls = [event for event in said if event["event"] == "stall"]
    assert [event["path"] for event in stalls][-1] == path
    status = loader.status()
    assert status["stalls"] == len(stalls)
    assert status["longest_read"] >= 0.1
    loader.close()
    desk.close()


def test_a_long_decode_shows_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "unknown.flac"
    noise = np.random.default_rng(1).integers(-99, 99, (5 * 65536, 2), "int16")
    soundfile.write(path, noise, RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # its head does not say how long it is
    path.write_bytes(data)
    steps: list[int] = []
    with open_stem(path, RATE, lambda: steps.append(1)) as reader:
        assert reader.frames == len(noise)
        assert len(steps) >= 5
