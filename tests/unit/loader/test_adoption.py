"""A dead loader's successor adopts its pages exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.control.processes.loader_client import LoaderLog
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
        self.loader_log.record_event(event)

    def send(self, **request: Any) -> None:
        """Send a request."""
        self.loader_log.record_request(request)
        self.loader.handle(request)

    def load(self, number: int, source: int, path: str, cue: float = 0.0) -> None:
        """Load a track of one stem."""
        self.send(do="load", track=number, stems=[(source, path)], cue=cue)

    def replace_loader(self, told: bool = True) -> None:
        """The loader dies silently; another one starts."""
        self.events.clear()
        self.loader = Loader(self.desk, self._tell)
        if told:
            for event in self.loader_log.unload_events():
                self.loader_log.record_event(event)
            for request in self.loader_log.requests_for_successor():
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

    def events_named(self, event: str) -> list[dict[str, Any]]:
        """Events of that name since the last death."""
        return [entry for entry in self.events if entry["event"] == event]


@pytest.fixture
def succession() -> Iterator[Succession]:
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
    succession: Succession, song: str
) -> None:
    succession.load(1, 5, song, 0.5)
    succession.work(20)
    before = succession.resident(5)
    reserved = succession.loader.status()["reserved"]
    assert 0 < len(before) < 54
    succession.replace_loader()
    succession.blocks()
    assert succession.loader.status()["reserved"] == reserved == 54
    assert succession.loader.status()["used"] == len(before)
    succession.work()
    after = succession.resident(5)
    assert len(after) == 54
    assert {page: after[page] for page in before} == before, "what was there is not moved"
    assert len(set(after.values())) == 54
    assert len(succession.events_named("complete")) == 1
    sound = np.concatenate([succession.desk.arena[after[p] - 1].view(np.int16) for p in range(54)])
    expected = (count(20) * 32768).astype(np.int16).reshape(-1)
    assert np.array_equal(sound[: len(expected)], expected)


def test_pages_without_an_entry_are_free_two_blocks_later(
    succession: Succession, song: str
) -> None:
    succession.load(1, 5, song)
    succession.work(10)
    arena = Arena(succession.desk)
    assert arena.take() is None, "one that was evicted last may be read by the block under way"
    succession.blocks(2)
    held = {entry - 1 for entry in succession.resident(5).values()}
    taken = {arena.take() for _ in range(PAGES - len(held))}
    assert taken == set(range(PAGES)) - held
    assert arena.take() is None
    for place in taken:
        assert place is not None
        arena.return_page(place)
    arena.release_source(5)
    succession.blocks(2)
    assert arena.in_use() == 0


def test_invalid_page_table_entries_are_ignored(succession: Succession, song: str) -> None:
    succession.load(1, 5, song)
    succession.work(3)
    succession.desk.page_table[5, 10] = PAGES + 1
    succession.desk.page_table[5, 11] = -3
    arena = Arena(succession.desk)
    succession.blocks()
    assert arena.in_use() == 3


def test_an_adopted_streamed_track_keeps_its_window_and_jump_targets(
    succession: Succession, long: str
) -> None:
    succession.load(1, 5, long)
    succession.send(do="keep", track=1, frames=[200 * PAGE])
    succession.send(do="cue", track=1, frame=300 * PAGE)
    succession.play(5, 100 * PAGE)
    succession.work()
    known, reserved = succession.resident(5), succession.loader.status()["reserved"]
    succession.replace_loader()
    succession.blocks()
    succession.work()
    assert succession.resident(5) == known
    assert succession.loader.status()["reserved"] == reserved
    assert [event["cue"] for event in succession.events_named("ready")] == [300 * PAGE]
    for frame in range(100, 160):
        succession.play(5, frame * PAGE)
        succession.work(4)
    assert {160, 170, 200, 201, 300, 301, 0} <= set(succession.resident(5))
    succession.send(do="unload", track=1)
    assert succession.loader.status()["reserved"] == 0
    succession.blocks()
    assert succession.loader.status()["used"] == 0


def test_a_file_that_has_changed_is_broken_but_its_resident_pages_stay(
    succession: Succession, long: str
) -> None:
    succession.load(1, 5, long)
    succession.play(5, 0)
    succession.work(20)
    known = succession.resident(5)
    write(Path(long), count(119))
    succession.replace_loader()
    succession.work()
    assert "changed" in succession.events_named("broken")[0]["reason"]
    assert succession.resident(5) == known
    succession.replace_loader()
    succession.work()
    assert succession.events_named("broken") == [], "it is known already"
    assert succession.resident(5) == known
    assert succession.loader.inventory()[0]["state"] == "broken"


def test_a_completely_resident_track_is_not_reopened(succession: Succession, song: str) -> None:
    succession.load(1, 5, song)
    succession.work()
    assert len(succession.events_named("complete")) == 1
    Path(song).unlink()
    succession.replace_loader()
    succession.work()
    assert succession.events_named("broken") == []
    assert len(succession.events_named("complete")) == 1
    assert succession.loader.inventory()[0]["state"] == "complete"


def test_unopened_tracks_are_loaded_and_orphaned_pages_are_freed(
    succession: Succession, song: str
) -> None:
    succession.load(1, 5, song)
    succession.work(4)
    succession.loader_log.record_request(
        {"do": "load", "track": 2, "stems": [(6, song)], "cue": 0.25}
    )
    del succession.loader_log.entries[1]  # control had released it, but the loader died first
    succession.replace_loader()
    assert not succession.resident(5)
    assert not succession.desk.sources["used"][5]
    assert [event["track"] for event in succession.events_named("opened")] == [2]
    succession.work()
    assert len(succession.resident(6)) == 54
    assert succession.loader.status()["reserved"] == 54


def test_interrupted_unloads_are_completed(succession: Succession, song: str) -> None:
    succession.load(1, 5, song)
    succession.work(4)
    succession.loader_log.record_request({"do": "unload", "track": 1})
    succession.loader_log.record_request(
        {"do": "load", "track": 2, "stems": [(6, song)], "cue": 0.0}
    )
    succession.loader_log.record_request({"do": "unload", "track": 2})
    succession.replace_loader()
    assert [event["track"] for event in succession.events_named("unloaded")] == [1]
    assert succession.loader_log.entries == {}
    succession.blocks()
    assert succession.loader.status()["used"] == succession.loader.status()["reserved"] == 0


def test_onset_detection_continues_after_adoption(succession: Succession, song: str) -> None:
    succession.load(1, 5, song)
    succession.send(do="attacks", track=0)
    succession.work(10)
    succession.replace_loader()
    succession.work()
    arena = Arena(succession.desk)
    assert not any(arena.needs_attacks(5, page) for page in range(54))


def test_an_inventory_suffices_for_another_control_process(
    succession: Succession, long: str
) -> None:
    succession.load(7, 5, long, 0.5)
    succession.send(do="keep", track=7, frames=[200 * PAGE])
    succession.work(10)
    other = LoaderLog()
    succession.loader.handle({"do": "inventory"})
    other.record_event(succession.events_named("inventory")[0])
    assert other.requests_for_successor() == succession.loader_log.requests_for_successor()
    entry = succession.events_named("inventory")[0]["tracks"][0]
    assert entry["track"] == 7
    assert entry["stems"] == [(5, long)]
    assert entry["state"] == "ready"
    assert entry["frames"] == 120 * RATE


def test_a_bad_file_is_not_opened_again_by_the_next_loader(
    succession: Succession, long: str
) -> None:
    succession.load(1, 5, long)
    succession.work(10)
    known = succession.resident(5)
    [event] = succession.loader_log.fail(long, "it crashed the decoder")
    assert event == {"event": "broken", "track": 1, "reason": "it crashed the decoder"}
    succession.loader_log.record_event(event)
    assert succession.loader_log.fail(long, "again") == []
    succession.replace_loader()
    succession.play(5, 0)
    succession.work()
    assert succession.resident(5) == known
    assert succession.events_named("broken") == []
    assert int(succession.desk.loader["busy"]) == 0


def test_the_desk_shows_which_file_the_loader_is_reading(
    succession: Succession, song: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def note(*_arguments: object) -> None:
        seen.append((int(succession.desk.loader["busy"]), int(succession.desk.loader["source"])))
        raise RuntimeError("no codec for it")

    monkeypatch.setattr("crowdstream.loader.loader.open_stem", note)
    succession.load(4, 9, song)
    monkeypatch.undo()
    succession.load(5, 3, song)
    monkeypatch.setattr("crowdstream.audiofile.reader.StemReader.read", note)
    succession.work(1)
    assert seen == [(4, 9), (5, 3)]
    assert int(succession.desk.loader["busy"]) == 0
