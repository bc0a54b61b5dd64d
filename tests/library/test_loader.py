"""The loader's plan: what is read when, what is kept, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.desk.block import Desk
from crowdstream.desk.codes import FREE, PLAYING
from crowdstream.desk.sizes import PAGE_BYTES
from crowdstream.engine.render import render
from crowdstream.library.loader import Loader, budget_pages
from crowdstream.library.plan import READ_AHEAD, READY, URGENT
from tests.support_control import RATE, count, write

PAGE = 16384  # frames of a page of 16-bit stereo


class Bench:
    """A loader on a desk whose playheads the test sets by hand."""

    def __init__(self, pages: int) -> None:
        self.desk = Desk.create(pages * PAGE_BYTES, RATE)
        self.events: list[dict[str, Any]] = []
        self.loader = Loader(self.desk, self.events.append)
        self._out = np.zeros((64, 2), np.float32)

    def play(self, slot: int, source: int, frame: int, loop: tuple[int, int] = (0, 0)) -> None:
        """A voice stands at this frame of a source."""
        voice = self.desk.voices[slot]
        voice["stems"] = 1
        voice["sources"][0] = source
        voice["cursor"] = frame
        voice["loop"] = int(loop != (0, 0))
        voice["loop_in"], voice["loop_out"] = loop
        voice["state"] = PLAYING

    def stop(self, slot: int) -> None:
        """The voice is silent."""
        self.desk.voices[slot]["state"] = FREE

    def blocks(self, number: int = 3) -> None:
        """So many blocks are rendered, after which pages given back are free."""
        states = self.desk.voices["state"].copy()
        self.desk.voices["state"] = FREE
        for _ in range(number):
            render(self.desk, self._out)
        self.desk.voices["state"] = states

    def work(self, pages: int) -> int:
        """Let the loader bring in up to so many pages; how many it did."""
        done = 0
        while done < pages:
            if not self.loader.work():
                self.blocks()
                if not self.loader.work():
                    break
            done += 1
        return done

    def resident(self, source: int) -> list[int]:
        """Pages of a source that are in memory."""
        return [int(page) for page in np.flatnonzero(self.desk.page_table[source, :4096])]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Events of that name."""
        return [entry for entry in self.events if entry["event"] == event]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(pages=128)
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
    return 1 + -(-int(READY * 4 * RATE) // PAGE)


def test_a_track_that_fits_is_read_from_its_cue_round_and_told(bench: Bench, song: str) -> None:
    bench.loader.load(1, [(5, song)], 0.5)
    file = Path(song).stat()
    assert bench.said("opened") == [
        {
            "event": "opened", "track": 1, "frames": 45 * RATE, "streamed": False, "channels": [2],
            "files": [(file.st_size, file.st_mtime_ns)],
        }
    ]  # fmt: skip
    cue = 45 * RATE // 2 // PAGE
    order = []
    for _ in range(122):
        known = set(bench.resident(5))
        assert bench.loader.work()
        order += sorted(set(bench.resident(5)) - known)
    assert order == [(cue + turn) % 122 for turn in range(122)]
    assert len(bench.said("ready")) == 1
    assert not bench.loader.work()
    assert len(bench.said("complete")) == 1
    assert not bench.loader.watching()


def test_it_is_ready_with_its_start_pages(bench: Bench, song: str) -> None:
    bench.loader.load(1, [(5, song)], 0.0)
    bench.work(start_pages())
    assert not bench.said("ready")
    bench.work(1)
    assert [event["cue"] for event in bench.said("ready")] == [0]


def test_a_moved_cue_leaves_no_hole(bench: Bench, song: str) -> None:
    bench.loader.load(1, [(5, song)], 0.0)
    bench.work(50)
    bench.loader.cue(1, 80 * PAGE)
    bench.work(1)
    assert 80 in bench.resident(5)
    bench.work(200)
    assert bench.resident(5) == list(range(122))
    assert len(bench.said("complete")) == 1
    assert len(bench.said("ready")) == 2


def test_start_pages_of_a_new_track_come_before_the_rest_of_others(
    bench: Bench, song: str, tmp_path: Path
) -> None:
    short = str(write(tmp_path / "short.wav", count(1)))
    bench.loader.load(1, [(5, song)], 0.0)
    bench.work(10)
    bench.loader.load(2, [(6, short)], 0.0)
    bench.work(3)
    assert bench.resident(6) == [0, 1, 2]
    assert len(bench.resident(5)) == 10


def test_the_stems_of_a_track_are_read_side_by_side(
    bench: Bench, song: str, tmp_path: Path
) -> None:
    short = str(write(tmp_path / "short.wav", count(1)))
    bench.loader.load(1, [(5, song), (6, short)], 0.0)
    bench.work(4)
    assert bench.resident(5) == bench.resident(6) == [0, 1]


def test_a_long_track_is_streamed_within_the_budget(bench: Bench, long: str) -> None:
    bench.loader.load(1, [(5, long)], 0.0)
    assert bench.said("opened")[0]["streamed"]
    bench.work(500)
    bench.blocks()
    for frame in range(0, 120 * RATE, PAGE):
        bench.play(0, 5, frame)
        bench.work(40)
        here = frame // PAGE
        near = set(range(here, min(323, here + int(READ_AHEAD * RATE) // PAGE)))
        assert near <= set(bench.resident(5))
        assert set(range(start_pages())) <= set(bench.resident(5)), "its beginning stays"
        assert bench.loader.status()["used"] <= 128
    assert not bench.said("complete")


def test_pages_near_any_playhead_are_never_given_up(bench: Bench, long: str) -> None:
    for track in (1, 2, 3):
        bench.loader.load(track, [(track, long)], 0.0)
    assert len(bench.said("opened")) == 3
    dice = np.random.default_rng(1)
    at = {1: 0, 2: 0, 3: 0}
    for _ in range(300):
        for track in list(at):
            if dice.random() < 0.02:
                at[track] = int(dice.integers(0, 110 * RATE))
                bench.loader.cue(track, at[track])
            at[track] = (at[track] + PAGE // 2) % (110 * RATE)
            bench.play(track, track, at[track])
        held = {track: frame // PAGE for track, frame in at.items()}
        there = {track: held[track] in bench.resident(track) for track in at}
        bench.work(30)
        bench.blocks()
        for track, was in there.items():
            assert not was or held[track] in bench.resident(track)
            soon = range(held[track], held[track] + int(URGENT * RATE) // PAGE)
            assert set(soon) <= set(bench.resident(track))


def test_a_loop_keeps_the_place_it_jumps_to(bench: Bench, long: str) -> None:
    bench.loader.load(1, [(5, long)], 0.0)
    bench.play(0, 5, 210 * PAGE, (100 * PAGE, 212 * PAGE))
    bench.work(400)
    expected = {210, 211, 100, 101, 102, 110, 120}
    assert expected <= set(bench.resident(5))
    assert {212, 213, 214} <= set(bench.resident(5)), "it may be left at any moment"
    assert 220 not in bench.resident(5)


def test_a_playhead_that_runs_backward_finds_the_pages_before_it(bench: Bench, long: str) -> None:
    bench.loader.load(1, [(5, long)], 0.0)
    bench.desk.voices["direction"][0] = -1
    bench.play(0, 5, 200 * PAGE)
    bench.work(400)
    assert {180, 190, 199, 200} <= set(bench.resident(5))
    assert 202 not in bench.resident(5)
    bench.play(0, 5, 110 * PAGE, (100 * PAGE, 300 * PAGE))
    bench.work(400)
    assert {100, 105, 299, 290, 97} <= set(bench.resident(5))


def test_places_to_jump_to_stay_in_memory_as_far_as_it_goes(bench: Bench, long: str) -> None:
    bench.loader.load(1, [(5, long)], 0.0)
    bench.loader.handle({"do": "keep", "track": 1, "frames": [200 * PAGE, 250 * PAGE]})
    reserved = bench.loader.status()["reserved"]
    for frame in range(0, 120 * RATE, 20 * PAGE):
        bench.play(0, 5, frame)
        bench.work(100)
        assert {200, 201, 250, 251} <= set(bench.resident(5))
    bench.loader.handle({"do": "keep", "track": 1, "frames": []})
    assert bench.loader.status()["reserved"] < reserved
    assert not bench.said("crowded")
    bench.loader.handle({"do": "keep", "track": 1, "frames": [PAGE * n for n in range(100)]})
    assert "no memory left" in bench.said("crowded")[0]["reason"]
    assert bench.loader.status()["reserved"] <= 128
    bench.loader.unload(1)
    assert bench.loader.status()["reserved"] == 0


def test_loads_do_not_starve_what_plays(bench: Bench, long: str, tmp_path: Path) -> None:
    # Eight stems each, on a disk that gives 40 pages a second (2.6 MB/s): an old SD card.
    short = [str(write(tmp_path / f"{n}.wav", count(0.5))) for n in range(8)]
    bench.loader.load(1, [(500, long)], 0.0)
    position = 0
    bench.play(0, 500, position)
    bench.work(start_pages())
    for tick in range(800):
        if tick % 100 == 0 and tick < 500:
            number = 2 + tick // 100
            bench.loader.load(number, [(8 * number + n, short[n]) for n in range(8)], 0.0)
        position += RATE // 40
        bench.play(0, 500, position)
        assert position // PAGE in bench.resident(500), f"after {tick / 40} s"
        bench.work(1)
        bench.blocks(1)
    assert len(bench.said("ready")) == 6


def test_no_file_is_opened_while_what_plays_next_is_missing(bench: Bench, long: str) -> None:
    bench.loader.load(1, [(5, long)], 0.0)
    assert not bench.loader.urgent()
    bench.play(0, 5, 200 * PAGE)
    assert bench.loader.urgent()
    bench.work(10)
    assert not bench.loader.urgent()


def test_what_does_not_fit_is_refused_with_the_arithmetic(bench: Bench, long: str) -> None:
    for track in range(1, 6):
        bench.loader.load(track, [(track, long)], 0.0)
    failed = bench.said("failed")
    assert failed
    assert "no memory left: 2.8 MB wanted" in failed[0]["reason"]
    assert "of 8.4 MB taken" in failed[0]["reason"]
    refused = [event["track"] for event in failed]
    for track in refused:
        assert not bench.desk.sources["used"][track]
        bench.loader.unload(track)
    assert not bench.said("unloaded")
    bench.loader.unload(1)
    bench.blocks()
    bench.loader.load(9, [(9, long)], 0.0)
    assert bench.said("opened")[-1]["track"] == 9


def test_a_file_that_changes_gives_up_and_what_is_in_memory_stays(
    bench: Bench, long: str
) -> None:
    bench.loader.load(1, [(5, long)], 0.0)
    bench.play(0, 5, 0)
    bench.work(20)
    known = bench.resident(5)
    Path(long).write_bytes(b"x" * 100)
    bench.work(50)
    [event] = bench.said("broken")
    assert "changed" in event["reason"]
    assert bench.resident(5) == known
    bench.stop(0)
    bench.loader.unload(1)
    bench.blocks()
    assert bench.loader.status()["used"] == 0


def test_a_deleted_file_is_read_on(bench: Bench, song: str) -> None:
    bench.loader.load(1, [(5, song)], 0.0)
    Path(song).unlink()
    bench.work(200)
    assert len(bench.resident(5)) == 122
    assert not bench.said("broken")


@pytest.mark.parametrize(
    "error", [ValueError("odd"), OSError(5, "I/O error"), MemoryError(), RuntimeError("bug")]
)
def test_whatever_a_file_does_the_loader_lives(
    bench: Bench, song: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("crowdstream.library.loader.open_stem", fails)
    bench.loader.load(1, [(5, song)], 0.0)
    assert "song.wav" in bench.said("failed")[0]["reason"]
    monkeypatch.undo()
    bench.loader.load(2, [(5, song)], 0.0)
    bench.work(2)
    monkeypatch.setattr("crowdstream.library.reader.StemReader.read", fails)
    bench.work(1)
    assert "song.wav" in bench.said("broken")[0]["reason"]
    assert bench.loader.status()["used"] == 2
    monkeypatch.undo()
    bench.loader.unload(2)
    bench.loader.load(3, [(7, song)], 0.0)
    assert bench.said("failed")[1:] == [], "the loader goes on"


def test_spare_pages_are_kept_so_that_a_start_need_not_wait(bench: Bench, long: str) -> None:
    bench.loader.load(1, [(5, long)], 0.0)
    for frame in range(0, 99 * PAGE, PAGE):  # until pages left behind all but fill the budget
        bench.play(0, 5, frame)
        bench.loader._room._spared = 0.0
        bench.blocks()
        for _ in range(30):
            bench.loader.work()
    bench.blocks()
    # A start somewhere else finds its pages free at once, without a block in between.
    bench.loader.cue(1, 300 * PAGE)
    for _ in range(start_pages()):
        assert bench.loader.work()
    assert set(range(300, 300 + start_pages())) <= set(bench.resident(5))


def test_the_budget_is_in_megabytes_of_ten_to_the_six() -> None:
    assert budget_pages(1) == 15
    assert budget_pages(1000) == 15258
