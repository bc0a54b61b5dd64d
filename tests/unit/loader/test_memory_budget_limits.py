"""The memory budget: streaming, read-ahead, statistics, and complete release."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import MAX_PAGES, PAGE_BYTES
from crowdstream.desk.opcodes import PLAYING
from crowdstream.desk.pages import Arena
from crowdstream.effects import MODULES
from crowdstream.loader.loader import Loader
from tests.support.held_resources import added, held
from tests.support.offline_server import RATE, Rig, count, write

PAGE = 16384


def filled(desk: Desk) -> int:
    """Bytes of memory used by the desk."""
    return os.fstat(desk.fd).st_blocks * 512


def loaded(
    desk: Desk, path: str, pages: int = 1000, **options: Any
) -> tuple[Loader, list[dict[str, Any]]]:
    """A loader that has read its pages of one track, and its events."""
    events: list[dict[str, Any]] = []
    loader = Loader(desk, events.append, **options)
    loader.load(1, [(5, path)], 0.0)
    for _ in range(pages):
        loader.work()
    return loader, events


@pytest.fixture
def song(tmp_path: Path) -> str:
    """40 s, 108 pages."""
    return str(write(tmp_path / "song.wav", count(40)))


@pytest.mark.parametrize(("most", "streamed"), [(math.inf, False), (41.0, False), (40.0, True)])
def test_max_preload_is_the_length_from_which_a_track_is_streamed(
    song: str, most: float, streamed: bool
) -> None:
    desk = Desk.create(128 * PAGE_BYTES, RATE)
    loader, events = loaded(desk, song, max_preload=most)
    assert events[0]["streamed"] is streamed
    assert (loader.status()["used"] == 108) is not streamed
    loader.close()
    desk.close()


@pytest.mark.parametrize("seconds", [2.0, 10.0, 25.0])
def test_read_ahead_determines_resident_and_reserved_pages(song: str, seconds: float) -> None:
    desk = Desk.create(128 * PAGE_BYTES, RATE)
    loader, _ = loaded(desk, song, read_ahead=seconds, max_preload=0.0)
    voice = desk.voices[0]
    voice["stems"], voice["sources"][0], voice["cursor"], voice["state"] = 1, 5, 10 * PAGE, PLAYING
    for _ in range(200):
        loader.work()
    there = np.flatnonzero(desk.page_table[5, :200])
    assert there.max() == min(107, 10 + math.ceil(seconds * RATE / PAGE))
    assert loader.status()["used"] <= loader.status()["reserved"]
    desk.voices["state"] = 0
    loader.close()
    desk.close()


def test_hits_pins_and_evictions_are_counted(song: str) -> None:
    desk = Desk.create(64 * PAGE_BYTES, RATE)
    loader, _ = loaded(desk, song)
    first = loader.status()
    start = 4  # pages needed for a start
    assert (first["wanted"], first["hits"], first["pinned"]) == (start, 0, start)
    loader.cue(1, PAGE)
    for _ in range(9):
        loader.work()
    second = loader.status()
    assert (second["wanted"] - start, second["hits"]) == (1, 0), "its last page is new"
    loader.cue(1, 0)
    loader.work()
    loader.cue(1, PAGE)
    loader.work()
    again = loader.status()
    assert (again["wanted"], again["hits"]) == (start + 1, 0), "nothing new"
    loader.cue(1, 0)
    loader.status()
    loader.cue(1, PAGE)
    assert loader.status()["hits"] == 1, "it had not been taken back"
    assert again["evicted"] == 0
    voice = desk.voices[0]
    voice["stems"], voice["sources"][0], voice["state"] = 1, 5, PLAYING
    for frame in range(0, 100 * PAGE, PAGE):
        voice["cursor"] = frame
        desk.clock["epoch"] += 2
        for _ in range(5):
            loader.work()
    last = loader.status()
    assert last["evicted"] > 40
    assert last["hits"] < 10 < last["wanted"]
    assert last["pinned"] <= last["used"] <= last["total"] == 64
    desk.voices["state"] = 0
    loader.close()
    desk.close()


def test_the_status_has_the_page_statistics(tmp_path: Path, song: str) -> None:
    with Rig(memory_mb=4) as rig:
        rig.send("/load_buffer", 100, song)
        rig.send("/play_stem", 100, 1.0, 1.0, 0)
        rig.run(20 * RATE)
        rig.core.loader_event(rig.loader.status())
        status = rig.status()
    assert status["pages_evicted"] > 0
    assert 0 < status["pages_pinned_mb"] <= status["pages_used_mb"] <= status["pages_total_mb"] < 4
    assert 0.0 <= status["pages_hit_rate"] < 1.0
    assert status["pages_wanted"] > 10
    assert (status["stalls"], status["restarts_loader"]) == (0, 0)


def test_a_track_too_large_to_stream_is_refused_with_the_calculation(song: str) -> None:
    with Rig(memory_mb=4) as rig:
        rig.send("/load_buffer", 100, song)
        rig.send("/load_buffer", 1100, song)
        rig.run(512)
        assert rig.fails() == [
            "/load_buffer no memory left: 2.8 MB wanted, 2.8 of 4.0 MB taken (unload a track, or "
            "raise --cache-mb)"
        ]


def test_many_loads_and_unloads_leak_no_pages(tmp_path: Path) -> None:
    short = str(write(tmp_path / "short.wav", count(0.2)))
    folder = tmp_path / "stems"
    folder.mkdir()
    for name in ("drums", "bass", "vocals", "other"):
        write(folder / f"{name}.wav", count(0.2), 48000)
    dice = random.Random(1)

    def state() -> tuple[Any, ...]:
        pages = rig.loader.status()
        buffers = rig.core.track_table
        return (
            pages["used"], pages["reserved"], buffers.free_sources, buffers.numbers(),
            rig.desk.sources["used"].sum(),
        )  # fmt: skip

    with Rig(memory_mb=16) as rig:
        for cycle in range(200):
            deck = "ABCD"[cycle % 4]
            rig.send(f"/deck/{deck}/load", dice.choice((short, str(folder))))
            if dice.random() < 0.5:
                rig.send(f"/deck/{deck}/play")
            rig.run(256)
            rig.send(f"/deck/{deck}/unload")
            rig.run(768)
            if cycle == 10:
                begin, memory, resources = state(), filled(rig.desk), held()
        assert rig.fails() == []
        assert state() == begin
        assert added(resources) == []
        assert filled(rig.desk) < memory + 16_000_000, "no more than the budget"


def test_the_page_table_of_a_long_file_is_freed() -> None:
    desk = Desk.create(16 * PAGE_BYTES)
    arena = Arena(desk)
    before = filled(desk)
    for source in range(50):
        arena.describe(source, (MAX_PAGES - 1) * PAGE, 2, True)
        desk.page_table[source] = 0  # reading it does so, too
        place = arena.take()
        assert place is not None
        arena.publish(source, MAX_PAGES - 2, place, np.ones((5, 2), np.int16))
        arena.release_source(source)
        desk.clock["epoch"] += 2
    # A row of the table takes half a megabyte.
    assert filled(desk) - before < 50 * 2 * 4096 + 16 * PAGE_BYTES + 65536
    assert not desk.page_table[:50].any()
    desk.close()


def test_removed_effects_use_no_memory() -> None:
    with Rig() as rig:
        rig.run(4096)
        empty = filled(rig.desk)
        for name in MODULES:
            rig.send("/deck/A/fx/insert", 1, name)
            rig.run(4096)
            rig.send("/deck/A/fx/remove", 1)
            rig.run(8192)
        assert rig.fails() == []
        rig.run(35 * RATE)  # until the last tail has ended
        used = filled(rig.desk)
        assert used - empty < 4_000_000
