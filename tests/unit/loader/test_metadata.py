"""Tags and sidecars are read in parallel with the loop that fills pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.loader.loader import Loader
from crowdstream.loader.metadata import MAX_THREADS, PATIENCE_SECONDS, TIMED_OUT, Describer
from tests.support.offline_server import RATE, write

STEREO = np.full((RATE, 2), 0.25, np.float32)


class Reading:
    """Replaces `describe_track`, and returns on demand."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.done = threading.Semaphore(0)
        self.now = 0.0

    def __call__(self, stems: Sequence[Path], _roots: Sequence[Path]) -> dict[str, Any]:
        self.go.wait(60)
        self.done.release()
        return {"tags": {"title": stems[0].stem}}


@pytest.fixture
def reading() -> Iterator[Reading]:
    made = Reading()
    yield made
    made.go.set()


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def test_pages_are_read_while_tags_are_read(tmp_path: Path, reading: Reading) -> None:
    desk = Desk.create(64 * PAGE_BYTES, RATE)
    events: list[dict[str, Any]] = []
    loader = Loader(desk, events.append)
    for name in ("first", "second"):
        write(tmp_path / f"{name}.wav", STEREO)
    loader.load(1, [(0, str(tmp_path / "first.wav"))], 0.0)
    loader._describe = Describer(reading)
    loader.load(2, [(1, str(tmp_path / "second.wav"))], 0.0)
    assert loader.opening
    while loader.work():
        pass
    assert kinds(events) == ["opened", "ready", "complete"], "those of the first track"
    reading.go.set()
    assert reading.done.acquire(timeout=60)
    while loader.opening:
        loader.work()
    while loader.work():
        pass
    assert kinds(events)[3:] == ["opened", "ready", "complete"]
    assert events[3]["track"] == 2
    assert events[3]["tags"] == {"title": "second"}
    loader.close()


def test_a_track_is_opened_without_tags_after_a_time_out(tmp_path: Path, reading: Reading) -> None:
    describe = Describer(reading, lambda: reading.now)
    pending = describe([tmp_path / "a.wav"], ())
    assert pending.result() is None
    reading.now = PATIENCE_SECONDS
    assert pending.result() == TIMED_OUT
    for _ in range(MAX_THREADS - 1):
        assert describe([tmp_path / "a.wav"], ()).result() is None
    assert describe([tmp_path / "a.wav"], ()).result() == TIMED_OUT, "no thread is left for it"


def test_closing_the_loader_while_tags_are_read_closes_the_file(
    tmp_path: Path, reading: Reading
) -> None:
    write(tmp_path / "a.wav", STEREO)
    events: list[dict[str, Any]] = []
    loader = Loader(Desk.create(64 * PAGE_BYTES, RATE), events.append)
    loader._describe = Describer(reading)
    loader.load(1, [(0, str(tmp_path / "a.wav"))], 0.0)
    loader.close()
    assert not loader.opening
    assert kinds(events) == ["unloaded"]
