"""A dead loader's successor adopts its pages exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.processes.loader_log import LoaderLog
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.opcodes import FREE, PLAYING
from crowdstream.desk.pages import Arena
from crowdstream.engine.render import render
from crowdstream.loader.loader import Loader
from tests.support.offline_server import RATE, count, write

PAGE = 16384
PAGES = 128


class Succession:
    """A desk with one loader after another, and control's log of requests."""

    def __init__(self) -> None:
        self.desk = Desk.create(PAGES * PAGE_BYTES, RATE)
        self.loader_log = LoaderLog()
        self.events: list[dict[str, Any]] = []
        self.loader = Loader(self.desk, self._tell)

    def _tell(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.loader_log.heard(event)

    def ask(self, **request: Any) -> None:
        """Send a request."""
        self.loader_log.sent(request)
        self.loader.handle(request)

    def load(self, number: int, source: int, path: str, cue: float = 0.0) -> None:
        """Load a track of one stem."""
        self.ask(do="load", track=number, stems=[(source, path)], cue=cue)

    def die(self, told: bool = True) -> None:
        """The loader dies silently; another one starts."""
        self.events.clear()
        self.loader = Loader(self.desk, self._tell)
        if told:
            for event in self.loader_log.gone():
                self.loader_log.heard(event)
            for request in self.loader_log.again():
                self.loader.handle(request)

    def blocks(self, number: int = 3) -> None:
        """Render a number of blocks; no voice moves."""
        states = self.desk.voices["state"].copy()
        self.desk.voices["state"] = FREE
        for _ in range(number):
            render(self.desk, np.zeros((64, 2), np.float32))
        self.desk.voices["state"] = states

    def play(self, source: int, frame: int) -> None:
        """Place a voice at this frame of a source."""
        voice = self.desk.voices[0]
        voice["stems"], voice["sources"][0], voice["cursor"] = 1, source, frame
        voice["state"] = PLAYING

    def work(self, pages: int = 1000) -> None:
        """Let the loader read requested pages."""
        for _ in range(pages):
            if not self.loader.work():
                self.blocks()
                if not self.loader.work():
                    return

    def resident(self, source: int) -> dict[int, int]:
        """Resident pages of a source, and their places."""
        table = self.desk.page_table[source, :4096]
        return {int(page): int(table[page]) for page in np.flatnonzero(table)}

    def said(self, event: str) -> list[dict[str, Any]]:
        """Events of that name since the last death."""
        return [entry for entry in self.events if entry["event"] == event]


@pytest.fixture
def line() -> Iterator[Succession]:
    made = Succession()
    yield made
    made.loader.close()
    made.desk.close()


@pytest.fixture
def song(tmp_path: Path) -> str:
    """20 s, 54 pages."""
    return str(write(tmp_path / "song.wav", count(20)))


@pytest.fixture
def long(tmp_path: Path) -> str:
    """2 minutes, 323 pages: more than the budget."""
    return str(write(tmp_path / "long.wav", count(120)))


def test_a_new_loader_continues_reading_where_the_old_one_stopped(
    line: Succession, song: str
) -> None:
    line.load(1, 5, song, 0.5)
    line.work(20)
    before = line.resident(5)
    reserved = line.loader.status()["reserved"]
    assert 0 < len(before) < 54
    line.die()
    line.blocks()
    assert line.loader.status()["reserved"] == reserved == 54
    assert line.loader.status()["used"] == len(before)
    line.work()
    after = line.resident(5)
    assert len(after) == 54
    assert {page: after[page] for page in before} == before, "what was there is not moved"
    assert len(set(after.values())) == 54
    assert len(line.said("complete")) == 1
    sound = np.concatenate([line.desk.arena[after[p] - 1].view(np.int16) for p in range(54)])
    expected = (count(20) * 32768).astype(np.int16).reshape(-1)
    assert np.array_equal(sound[: len(expected)], expected)


def test_pages_without_an_entry_are_free_two_blocks_later(line: Succession, song: str) -> None:
    line.load(1, 5, song)
    line.work(10)
    arena = Arena(line.desk)
    assert arena.take() is None, "one that was evicted last may be read by the block under way"
    line.blocks(2)
    held = {entry - 1 for entry in line.resident(5).values()}
    taken = {arena.take() for _ in range(PAGES - len(held))}
    assert taken == set(range(PAGES)) - held
    assert arena.take() is None
    for place in taken:
        assert place is not None
        arena.give_back(place)
    arena.forget(5)
    line.blocks(2)
    assert arena.in_use() == 0


def test_invalid_page_table_entries_are_ignored(line: Succession, song: str) -> None:
    line.load(1, 5, song)
    line.work(3)
    line.desk.page_table[5, 10] = PAGES + 1
    line.desk.page_table[5, 11] = -3
    arena = Arena(line.desk)
    line.blocks()
    assert arena.in_use() == 3


def test_an_adopted_streamed_track_keeps_its_window_and_jump_targets(
    line: Succession, long: str
) -> None:
    line.load(1, 5, long)
    line.ask(do="keep", track=1, frames=[200 * PAGE])
    line.ask(do="cue", track=1, frame=300 * PAGE)
    line.play(5, 100 * PAGE)
    line.work()
    known, reserved = line.resident(5), line.loader.status()["reserved"]
    line.die()
    line.blocks()
    line.work()
    assert line.resident(5) == known
    assert line.loader.status()["reserved"] == reserved
    assert [event["cue"] for event in line.said("ready")] == [300 * PAGE]
    for frame in range(100, 160):
        line.play(5, frame * PAGE)
        line.work(4)
    assert {160, 170, 200, 201, 300, 301, 0} <= set(line.resident(5))
    line.ask(do="unload", track=1)
    assert line.loader.status()["reserved"] == 0
    line.blocks()
    assert line.loader.status()["used"] == 0


def test_a_file_that_has_changed_is_broken_but_its_resident_pages_stay(
    line: Succession, long: str
) -> None:
    line.load(1, 5, long)
    line.play(5, 0)
    line.work(20)
    known = line.resident(5)
    write(Path(long), count(119))
    line.die()
    line.work()
    assert "changed" in line.said("broken")[0]["reason"]
    assert line.resident(5) == known
    line.die()
    line.work()
    assert line.said("broken") == [], "it is known already"
    assert line.resident(5) == known
    assert line.loader.inventory()[0]["state"] == "broken"


def test_a_completely_resident_track_is_not_reopened(line: Succession, song: str) -> None:
    line.load(1, 5, song)
    line.work()
    assert len(line.said("complete")) == 1
    Path(song).unlink()
    line.die()
    line.work()
    assert line.said("broken") == []
    assert len(line.said("complete")) == 1
    assert line.loader.inventory()[0]["state"] == "complete"


def test_unopened_tracks_are_loaded_and_orphaned_pages_are_freed(
    line: Succession, song: str
) -> None:
    line.load(1, 5, song)
    line.work(4)
    line.loader_log.sent({"do": "load", "track": 2, "stems": [(6, song)], "cue": 0.25})
    del line.loader_log.entries[1]  # control had released it, but the loader died first
    line.die()
    assert not line.resident(5)
    assert not line.desk.sources["used"][5]
    assert [event["track"] for event in line.said("opened")] == [2]
    line.work()
    assert len(line.resident(6)) == 54
    assert line.loader.status()["reserved"] == 54


def test_interrupted_unloads_are_completed(line: Succession, song: str) -> None:
    line.load(1, 5, song)
    line.work(4)
    line.loader_log.sent({"do": "unload", "track": 1})
    line.loader_log.sent({"do": "load", "track": 2, "stems": [(6, song)], "cue": 0.0})
    line.loader_log.sent({"do": "unload", "track": 2})
    line.die()
    assert [event["track"] for event in line.said("unloaded")] == [1]
    assert line.loader_log.entries == {}
    line.blocks()
    assert line.loader.status()["used"] == line.loader.status()["reserved"] == 0


def test_onset_detection_continues_after_adoption(line: Succession, song: str) -> None:
    line.load(1, 5, song)
    line.ask(do="attacks", track=0)
    line.work(10)
    line.die()
    line.work()
    arena = Arena(line.desk)
    assert not any(arena.unmarked(5, page) for page in range(54))


def test_an_inventory_suffices_for_another_control_process(line: Succession, long: str) -> None:
    line.load(7, 5, long, 0.5)
    line.ask(do="keep", track=7, frames=[200 * PAGE])
    line.work(10)
    other = LoaderLog()
    line.loader.handle({"do": "inventory"})
    other.heard(line.said("inventory")[0])
    assert other.again() == line.loader_log.again()
    entry = line.said("inventory")[0]["tracks"][0]
    assert entry["track"] == 7
    assert entry["stems"] == [(5, long)]
    assert entry["state"] == "ready"
    assert entry["frames"] == 120 * RATE


def test_a_bad_file_is_not_opened_again_by_the_next_loader(line: Succession, long: str) -> None:
    line.load(1, 5, long)
    line.work(10)
    known = line.resident(5)
    [event] = line.loader_log.fail(long, "it crashed the decoder")
    assert event == {"event": "broken", "track": 1, "reason": "it crashed the decoder"}
    line.loader_log.heard(event)
    assert line.loader_log.fail(long, "again") == []
    line.die()
    line.play(5, 0)
    line.work()
    assert line.resident(5) == known
    assert line.said("broken") == []
    assert int(line.desk.loader["busy"]) == 0


def test_the_desk_shows_which_file_the_loader_is_reading(
    line: Succession, song: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def note(*_arguments: object) -> None:
        seen.append((int(line.desk.loader["busy"]), int(line.desk.loader["source"])))
        raise RuntimeError("no codec for it")

    monkeypatch.setattr("crowdstream.loader.loader.open_stem", note)
    line.load(4, 9, song)
    monkeypatch.undo()
    line.load(5, 3, song)
    monkeypatch.setattr("crowdstream.audiofile.reader.StemReader.read", note)
    line.work(1)
    assert seen == [(4, 9), (5, 3)]
    assert int(line.desk.loader["busy"]) == 0
