"""Reports of long reads: waiting for a medium counts as a stall, decoding does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.reader import StemReader, open_stem
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.loader import heartbeat
from crowdstream.loader.heartbeat import Heartbeat
from crowdstream.loader.loader import Loader
from tests.support.offline_server import RATE, count, write


class Clocks:
    """Replaces the module `time`: elapsed seconds, and CPU seconds among them."""

    def __init__(self) -> None:
        self.passed = 100.0
        self.worked = 10.0

    def monotonic(self) -> float:
        return self.passed

    def monotonic_ns(self) -> int:
        return round(self.passed * 1e9)

    def thread_time(self) -> float:
        return self.worked

    def work(self, seconds: float) -> None:
        self.passed += seconds
        self.worked += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks with which the loader measures reads."""
    made = Clocks()
    monkeypatch.setattr(heartbeat, "time", made)
    return made


def test_waiting_counts_as_a_stall_and_decoding_does_not(clocks: Clocks) -> None:
    desk = Desk.create(4 * PAGE_BYTES)
    events: list[dict[str, Any]] = []
    marker = Heartbeat(desk, events.append)
    with marker.reading(3, 7, "worked.wav"):
        assert (int(desk.loader["busy"]), int(desk.loader["source"])) == (3, 7)
        begin = int(desk.loader["since_ns"])
        clocks.work(20.0)
        marker.progress()
        assert int(desk.loader["since_ns"]) == begin + 20_000_000_000
    assert int(desk.loader["busy"]) == 0
    with marker.reading(4, 8, "waited a little.wav"):
        clocks.passed += 0.9 * heartbeat.STALL_SECONDS
    assert marker.stalls == 0 and not events
    with marker.reading(4, 8, "waited.wav"):
        clocks.work(5.0)
        clocks.passed += 1.1 * heartbeat.STALL_SECONDS
    assert marker.stalls == 1
    [reported] = events
    assert (reported["event"], reported["track"], reported["path"]) == ("stall", 4, "waited.wav")
    assert reported["seconds"] == marker.longest == pytest.approx(1.1 * heartbeat.STALL_SECONDS)
    desk.close()


def test_a_blocked_read_is_reported_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clocks: Clocks
) -> None:
    path = str(write(tmp_path / "song.wav", count(2)))
    desk = Desk.create(16 * PAGE_BYTES, RATE)
    events: list[dict[str, Any]] = []
    loader = Loader(desk, events.append)
    loader.load(1, [(5, path)], 0.0)
    read = StemReader.read

    def blocks(*arguments: Any) -> Any:
        clocks.passed += 2.0 * heartbeat.STALL_SECONDS
        return read(*arguments)

    monkeypatch.setattr(StemReader, "read", blocks)
    loader.work()
    monkeypatch.undo()
    stalls = [event for event in events if event["event"] == "stall"]
    assert stalls and {event["path"] for event in stalls} == {path}
    status = loader.status()
    assert status["stalls"] == len(stalls)
    assert status["longest_read"] == pytest.approx(2.0 * heartbeat.STALL_SECONDS)
    loader.close()
    desk.close()


def test_a_long_decode_shows_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "unknown.flac"
    noise = np.random.default_rng(1).integers(-99, 99, (5 * 65536, 2), "int16")
    soundfile.write(path, noise, RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # its header has no length
    path.write_bytes(data)
    steps: list[int] = []
    with open_stem(path, RATE, lambda: steps.append(1)) as reader:
        assert reader.frames == len(noise)
        assert len(steps) >= 5
