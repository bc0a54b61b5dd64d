"""Loudness of resident audio: the sum of the stems, in slices, also of streamed tracks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.opcodes import PLAYING
from crowdstream.loader.loader import Loader
from tests.support.offline_server import RATE, write

Made = tuple[Desk, Loader, list[dict[str, Any]]]


@pytest.fixture
def loader() -> Iterator[Made]:
    desk = Desk.create(400 * PAGE_BYTES, RATE)
    events: list[dict[str, Any]] = []
    made = Loader(desk, events.append)
    yield desk, made, events
    made.close()
    desk.close()


def _noise(seconds: float, channels: int, seed: int, level: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-level, level, (round(seconds * RATE), channels)).astype(np.float32)


def _loudness(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "loudness"]


def test_the_sum_of_all_stems_is_measured_when_all_are_resident(
    loader: Made, tmp_path: Path
) -> None:
    _desk, it, events = loader
    parts = [_noise(5, 2, 1), _noise(4, 1, 2), _noise(3, 2, 3)]
    names = [write(tmp_path / "a.wav", parts[0]), write(tmp_path / "b.wav", parts[1]),
             write(tmp_path / "c.wav", parts[2], subtype="FLOAT")]
    it.load(1, [(number, str(name)) for number, name in enumerate(names)], 0.5)
    assert not it.measure()
    while it.work():
        pass
    slices = 0
    while it.measure():
        slices += 1
    assert slices == -(-5 * RATE // 16384)
    total = np.zeros((5 * RATE, 2))
    for part in parts:
        total[: len(part)] += part
    [event] = _loudness(events)
    assert event["lufs"] == pytest.approx(
        pyloudnorm.Meter(RATE).integrated_loudness(total), abs=0.1
    )
    assert event["peak"] == pytest.approx(np.abs(total).max(), abs=1e-3)
    assert event["seconds"] == 5.0
    assert not it.measure()


def test_a_streamed_track_is_measured_as_far_as_it_is_played(
    loader: Made, tmp_path: Path
) -> None:
    desk, it, events = loader
    samples = np.concatenate([_noise(100, 2, 1, 0.2), _noise(100, 2, 2, 0.02)])
    it.load(1, [(0, str(write(tmp_path / "long.wav", samples, subtype="FLOAT")))], 0.0)
    assert events[0]["streamed"]
    voice = desk.voices[0]
    voice["stems"], voice["end"], voice["length"] = 1, len(samples), len(samples)
    voice["state"] = PLAYING
    for second in range(0, 60, 5):
        voice["cursor"] = second * RATE
        for _page in range(200):
            desk.clock["epoch"] += 2
            if not it.work():
                break
        while it.measure():
            pass
    found = _loudness(events)
    assert [round(event["seconds"] / 10) for event in found] == [1, 2, 4]
    loud = pyloudnorm.Meter(RATE).integrated_loudness(samples[: 40 * RATE].astype(np.float64))
    assert found[-1]["lufs"] == pytest.approx(loud, abs=0.1)
    # After a jump it continues at the new position.
    voice["cursor"] = 150 * RATE
    for _page in range(400):
        desk.clock["epoch"] += 2
        if not it.work():
            break
    seconds = 0
    while it.measure():
        seconds += 1
    assert seconds > 10


def test_an_unloaded_track_is_no_longer_measured(loader: Made, tmp_path: Path) -> None:
    _desk, it, events = loader
    it.load(1, [(0, str(write(tmp_path / "a.wav", _noise(5, 2, 1))))], 0.0)
    while it.work():
        pass
    assert it.measure()
    it.unload(1)
    assert not it.measure()
    assert not _loudness(events)
