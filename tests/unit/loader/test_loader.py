"""The loader: read order, eviction, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.opcodes import FREE, PLAYING
from crowdstream.engine.render import render
from crowdstream.loader.loader import Loader, budget_pages
from crowdstream.loader.prefetch import READ_AHEAD, READY_SECONDS, URGENT_SECONDS
from tests.support.offline_server import RATE, count, write

PAGE = 16384  # frames of a page of 16-bit stereo


class RenderHarness:
    """A loader on a desk whose playheads the test sets."""

    def __init__(self, pages: int) -> None:
        self.desk = Desk.create(pages * PAGE_BYTES, RATE)
        self.events: list[dict[str, Any]] = []
        self.loader = Loader(self.desk, self.events.append)
        self._out = np.zeros((64, 2), np.float32)

    def play(self, slot: int, source: int, frame: int, loop: tuple[int, int] = (0, 0)) -> None:
        """Place a voice at this frame of a source."""
        voice = self.desk.voices[slot]
        voice["stems"] = 1
        voice["sources"][0] = source
        voice["cursor"] = frame
        voice["loop"] = int(loop != (0, 0))
        voice["loop_in"], voice["loop_out"] = loop
        voice["state"] = PLAYING

    def stop(self, slot: int) -> None:
        """Silence the voice."""
        self.desk.voices[slot]["state"] = FREE

    def blocks(self, number: int = 3) -> None:
        """Render blocks, after which evicted pages are free."""
        states = self.desk.voices["state"].copy()
        self.desk.voices["state"] = FREE
        for _ in range(number):
            render(self.desk, self._out)
        self.desk.voices["state"] = states

    def work(self, pages: int) -> int:
        """Let the loader read up to `pages` pages; returns their number."""
        done = 0
        while done < pages:
            if not self.loader.work():
                self.blocks()
                if not self.loader.work():
                    break
            done += 1
        return done

    def resident(self, source: int) -> list[int]:
        """Resident pages of a source."""
        return [int(page) for page in np.flatnonzero(self.desk.page_table[source, :4096])]

    def events_named(self, event: str) -> list[dict[str, Any]]:
        """Events of that name."""
        return [entry for entry in self.events if entry["event"] == event]


@pytest.fixture
def harness() -> Iterator[RenderHarness]:
    made = RenderHarness(pages=128)
    yield made
    made.loader.close()
    made.desk.close()


@pytest.fixture
def song(tmp_path: Path) -> str:
    """45 s, 122 pages."""
    return str(write(tmp_path / "song.wav", count(45)))


@pytest.fixture
def long(tmp_path: Path) -> str:
    """2 minutes, 323 pages: more than the budget."""
    return str(write(tmp_path / "long.wav", count(120)))


def start_pages() -> int:
    return 1 + -(-int(READY_SECONDS * 4 * RATE) // PAGE)


def test_a_track_that_fits_is_read_completely_starting_at_its_cue(
    harness: RenderHarness, song: str
) -> None:
    harness.loader.load(1, [(5, song)], 0.5)
    file = Path(song).stat()
    assert harness.events_named("opened") == [
        {
            "event": "opened", "track": 1, "frames": 45 * RATE, "streamed": False, "channels": [2],
            "files": [(file.st_size, file.st_mtime_ns)],
        }
    ]  # fmt: skip
    cue = 45 * RATE // 2 // PAGE
    order = []
    for _ in range(122):
        known = set(harness.resident(5))
        assert harness.loader.work()
        order += sorted(set(harness.resident(5)) - known)
    assert order == [(cue + turn) % 122 for turn in range(122)]
    assert len(harness.events_named("ready")) == 1
    assert not harness.loader.work()
    assert len(harness.events_named("complete")) == 1
    assert not harness.loader.watching()


def test_a_track_is_ready_once_its_start_pages_are_resident(
    harness: RenderHarness, song: str
) -> None:
    harness.loader.load(1, [(5, song)], 0.0)
    harness.work(start_pages())
    assert not harness.events_named("ready")
    harness.work(1)
    assert [event["cue"] for event in harness.events_named("ready")] == [0]


def test_moving_the_cue_leaves_no_page_unread(harness: RenderHarness, song: str) -> None:
    harness.loader.load(1, [(5, song)], 0.0)
    harness.work(50)
    harness.loader.cue(1, 80 * PAGE)
    harness.work(1)
    assert 80 in harness.resident(5)
    harness.work(200)
    assert harness.resident(5) == list(range(122))
    assert len(harness.events_named("complete")) == 1
    assert len(harness.events_named("ready")) == 2


def test_start_pages_of_a_new_track_have_priority_over_the_rest_of_others(
    harness: RenderHarness, song: str, tmp_path: Path
) -> None:
    short = str(write(tmp_path / "short.wav", count(1)))
    harness.loader.load(1, [(5, song)], 0.0)
    harness.work(10)
    harness.loader.load(2, [(6, short)], 0.0)
    harness.work(3)
    assert harness.resident(6) == [0, 1, 2]
    assert len(harness.resident(5)) == 10


def test_the_stems_of_a_track_are_read_side_by_side(
    harness: RenderHarness, song: str, tmp_path: Path
) -> None:
    short = str(write(tmp_path / "short.wav", count(1)))
    harness.loader.load(1, [(5, song), (6, short)], 0.0)
    harness.work(4)
    assert harness.resident(5) == harness.resident(6) == [0, 1]


def test_a_long_track_is_streamed_within_the_budget(harness: RenderHarness, long: str) -> None:
    harness.loader.load(1, [(5, long)], 0.0)
    assert harness.events_named("opened")[0]["streamed"]
    harness.work(500)
    harness.blocks()
    for frame in range(0, 120 * RATE, PAGE):
        harness.play(0, 5, frame)
        harness.work(40)
        here = frame // PAGE
        near = set(range(here, min(323, here + int(READ_AHEAD * RATE) // PAGE)))
        assert near <= set(harness.resident(5))
        assert set(range(start_pages())) <= set(harness.resident(5)), "its beginning stays"
        assert harness.loader.status()["used"] <= 128
    assert not harness.events_named("complete")


def test_pages_near_a_playhead_are_never_evicted(harness: RenderHarness, long: str) -> None:
    for track in (1, 2, 3):
        harness.loader.load(track, [(track, long)], 0.0)
    assert len(harness.events_named("opened")) == 3
    dice = np.random.default_rng(1)
    at = {1: 0, 2: 0, 3: 0}
    for _ in range(300):
        for track in list(at):
            if dice.random() < 0.02:
                at[track] = int(dice.integers(0, 110 * RATE))
                harness.loader.cue(track, at[track])
            at[track] = (at[track] + PAGE // 2) % (110 * RATE)
            harness.play(track, track, at[track])
        held = {track: frame // PAGE for track, frame in at.items()}
        there = {track: held[track] in harness.resident(track) for track in at}
        harness.work(30)
        harness.blocks()
        for track, was in there.items():
            assert not was or held[track] in harness.resident(track)
            soon = range(held[track], held[track] + int(URGENT_SECONDS * RATE) // PAGE)
            assert set(soon) <= set(harness.resident(track))


def test_the_start_of_a_loop_is_never_evicted(harness: RenderHarness, long: str) -> None:
    harness.loader.load(1, [(5, long)], 0.0)
    harness.play(0, 5, 210 * PAGE, (100 * PAGE, 212 * PAGE))
    harness.work(400)
    expected = {210, 211, 100, 101, 102, 110, 120}
    assert expected <= set(harness.resident(5))
    assert {212, 213, 214} <= set(harness.resident(5)), "it may be left at any moment"
    assert 220 not in harness.resident(5)


def test_reverse_playback_reads_ahead_backward(
    harness: RenderHarness, long: str
) -> None:
    harness.loader.load(1, [(5, long)], 0.0)
    harness.desk.voices["direction"][0] = -1
    harness.play(0, 5, 200 * PAGE)
    harness.work(400)
    assert {180, 190, 199, 200} <= set(harness.resident(5))
    assert 202 not in harness.resident(5)
    harness.play(0, 5, 110 * PAGE, (100 * PAGE, 300 * PAGE))
    harness.work(400)
    assert {100, 105, 299, 290, 97} <= set(harness.resident(5))


def test_jump_targets_stay_in_memory_as_far_as_the_budget_allows(
    harness: RenderHarness, long: str
) -> None:
    harness.loader.load(1, [(5, long)], 0.0)
    harness.loader.handle({"do": "keep", "track": 1, "frames": [200 * PAGE, 250 * PAGE]})
    reserved = harness.loader.status()["reserved"]
    for frame in range(0, 120 * RATE, 20 * PAGE):
        harness.play(0, 5, frame)
        harness.work(100)
        assert {200, 201, 250, 251} <= set(harness.resident(5))
    harness.loader.handle({"do": "keep", "track": 1, "frames": []})
    assert harness.loader.status()["reserved"] < reserved
    assert not harness.events_named("crowded")
    harness.loader.handle({"do": "keep", "track": 1, "frames": [PAGE * n for n in range(100)]})
    assert "no memory left" in harness.events_named("crowded")[0]["reason"]
    assert harness.loader.status()["reserved"] <= 128
    harness.loader.unload(1)
    assert harness.loader.status()["reserved"] == 0


def test_loads_do_not_starve_playing_tracks(
    harness: RenderHarness, long: str, tmp_path: Path
) -> None:
    # Eight stems each, on a disk that reads 40 pages a second (2.6 MB/s): an old SD card.
    short = [str(write(tmp_path / f"{n}.wav", count(0.5))) for n in range(8)]
    harness.loader.load(1, [(500, long)], 0.0)
    position = 0
    harness.play(0, 500, position)
    harness.work(start_pages())
    for tick in range(800):
        if tick % 100 == 0 and tick < 500:
            number = 2 + tick // 100
            harness.loader.load(number, [(8 * number + n, short[n]) for n in range(8)], 0.0)
        position += RATE // 40
        harness.play(0, 500, position)
        assert position // PAGE in harness.resident(500), f"after {tick / 40} s"
        harness.work(1)
        harness.blocks(1)
    assert len(harness.events_named("ready")) == 6


def test_no_file_is_opened_while_an_urgent_page_is_missing(
    harness: RenderHarness, long: str
) -> None:
    harness.loader.load(1, [(5, long)], 0.0)
    assert not harness.loader.urgent()
    harness.play(0, 5, 200 * PAGE)
    assert harness.loader.urgent()
    harness.work(10)
    assert not harness.loader.urgent()


def test_a_track_that_does_not_fit_is_refused_with_the_calculation(
    harness: RenderHarness, long: str
) -> None:
    for track in range(1, 6):
        harness.loader.load(track, [(track, long)], 0.0)
    failed = harness.events_named("failed")
    assert failed
    assert "no memory left: 2.8 MB wanted" in failed[0]["reason"]
    assert "of 8.4 MB taken" in failed[0]["reason"]
    refused = [event["track"] for event in failed]
    for track in refused:
        assert not harness.desk.sources["used"][track]
        harness.loader.unload(track)
    assert not harness.events_named("unloaded")
    harness.loader.unload(1)
    harness.blocks()
    harness.loader.load(9, [(9, long)], 0.0)
    assert harness.events_named("opened")[-1]["track"] == 9


def test_a_changed_file_is_broken_and_its_resident_pages_stay(
    harness: RenderHarness, long: str
) -> None:
    harness.loader.load(1, [(5, long)], 0.0)
    harness.play(0, 5, 0)
    harness.work(20)
    known = harness.resident(5)
    Path(long).write_bytes(b"x" * 100)
    harness.work(50)
    [event] = harness.events_named("broken")
    assert "changed" in event["reason"]
    assert harness.resident(5) == known
    harness.stop(0)
    harness.loader.unload(1)
    harness.blocks()
    assert harness.loader.status()["used"] == 0


def test_a_deleted_file_is_read_to_its_end(harness: RenderHarness, song: str) -> None:
    harness.loader.load(1, [(5, song)], 0.0)
    Path(song).unlink()
    harness.work(200)
    assert len(harness.resident(5)) == 122
    assert not harness.events_named("broken")


@pytest.mark.parametrize(
    "error", [ValueError("odd"), OSError(5, "I/O error"), MemoryError(), RuntimeError("bug")]
)
def test_any_exception_while_reading_a_file_fails_only_its_track(
    harness: RenderHarness, song: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("crowdstream.loader.loader.open_stem", fails)
    harness.loader.load(1, [(5, song)], 0.0)
    assert "song.wav" in harness.events_named("failed")[0]["reason"]
    monkeypatch.undo()
    harness.loader.load(2, [(5, song)], 0.0)
    harness.work(2)
    monkeypatch.setattr("crowdstream.audiofile.reader.StemReader.read", fails)
    harness.work(1)
    assert "song.wav" in harness.events_named("broken")[0]["reason"]
    assert harness.loader.status()["used"] == 2
    monkeypatch.undo()
    harness.loader.unload(2)
    harness.loader.load(3, [(7, song)], 0.0)
    assert harness.events_named("failed")[1:] == [], "the loader goes on"


def test_spare_pages_are_kept_free_so_that_starts_need_not_wait(
    harness: RenderHarness, long: str
) -> None:
    harness.loader.load(1, [(5, long)], 0.0)
    for frame in range(0, 99 * PAGE, PAGE):  # until pages left behind almost fill the budget
        harness.play(0, 5, frame)
        harness.loader._eviction._spared = 0.0
        harness.blocks()
        for _ in range(30):
            harness.loader.work()
    harness.blocks()
    # A start elsewhere finds free pages immediately, without a block in between.
    harness.loader.cue(1, 300 * PAGE)
    for _ in range(start_pages()):
        assert harness.loader.work()
    assert set(range(300, 300 + start_pages())) <= set(harness.resident(5))


def test_the_budget_is_in_megabytes_of_10_to_the_6_bytes() -> None:
    assert budget_pages(1) == 15
    assert budget_pages(1000) == 15258
