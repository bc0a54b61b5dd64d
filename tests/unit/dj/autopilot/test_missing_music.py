"""Music on a stick that is pulled, returns or is replaced: the DJ plays on without a gap."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.audiofile.errors import FileUnreadable
from crowdstream.audiofile.reader import StemReader
from crowdstream.dj.autopilot import music_folder
from crowdstream.dj.autopilot.music_folder import MusicFolder, MusicSources
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.track_selector import (
    EndlessSelector,
    NothingToPlay,
    SelectionRequest,
)
from crowdstream.dj.planning.candidates import of_library
from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.dj.setfile.model import Set
from crowdstream.library.database import Library, LibraryError
from crowdstream.library.stick_library import FOLDER, NAME
from crowdstream.system.removable import Place, SystemPaths
from tests.support.analysed_folder import analyse, music
from tests.support.simulated_dj import SimulatedDj, current_track, next_track


class FakeAnalyst:
    """An analysis that runs as long as the test wants, and finds nothing by itself."""

    def __init__(self, root: Path, library: Path) -> None:
        self.root, self.library = root, library
        self.running = True
        self.progress: dict[str, Any] = {}

    def tick(self, now: float, soon: bool) -> None:
        """Do nothing."""

    def end(self) -> None:
        self.running = False


class Stage:
    """A stick, a fallback, and a DJ that plays them on a simulated server."""

    def __init__(self, sim: SimulatedDj, folder: Path, fallback: bool = True) -> None:
        self.sim = sim
        self.stick, self.library = folder / "stick", folder / "library.db"
        self.analysts: list[FakeAnalyst] = []
        other = None
        if fallback:
            analyse(self.library, music(folder / "fallback", "xyz"))
            other = self._folder(folder / "fallback")
        self.sources = MusicSources(self._folder(self.stick), other, self._now)
        self.looked = 0.0

    def _now(self) -> float:
        return self.sim.time

    def _folder(self, path: Path) -> MusicFolder:
        return MusicFolder(Place(path), self.library, self._analyst, monotonic=self._now)

    def _analyst(self, root: Path, library: Path) -> FakeAnalyst:
        self.analysts.append(FakeAnalyst(root, library))
        return self.analysts[-1]

    def start(self) -> Session:
        self.refresh()
        selector = EndlessSelector(
            lambda cards: Planner(cards, PlanOptions()), self.sources.candidates, lambda: 0.0,
            sources=self.sources,
        )  # fmt: skip
        self.dj = self.sim.start_dj(selector)
        return self.dj

    def refresh(self) -> None:
        """Look at the folders, as their threads do once a second."""
        self.looked = self.sim.time
        for folder in self.sources.folders:
            folder.refresh()

    def until(self, condition: Any, seconds: float = 120.0) -> None:
        def looked() -> bool:
            if self.sim.time >= self.looked + 1.0:
                self.refresh()
            return bool(condition())

        self.sim.until(looked, seconds)

    def pull(self) -> None:
        self.stick.rename(self.stick.with_name("away"))

    def plug(self) -> None:
        self.stick.with_name("away").rename(self.stick)


@pytest.fixture
def sim() -> Iterator[SimulatedDj]:
    with SimulatedDj() as sim:
        yield sim


@pytest.fixture
def stage(sim: SimulatedDj, tmp_path: Path) -> Stage:
    stage = Stage(sim, tmp_path)
    analyse(stage.library, music(stage.stick, "abcdefgh"))
    return stage


def skipped(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many tracks could not be loaded."""
    return sum(" is skipped: " in message for message in caplog.messages)


def test_a_pulled_stick_is_followed_by_the_fallback_and_returned_to(
    sim: SimulatedDj, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    dj = stage.start()
    stage.until(lambda: current_track(dj) in "abcdefgh" and current_track(dj))
    stage.pull()
    stage.until(lambda: current_track(dj) in "xyz")
    assert skipped(caplog) <= 1 and not dj.player.state.bad
    assert "stick" in dj.state()["problem"]
    stage.plug()
    back = sim.time
    stage.until(lambda: current_track(dj) in "abcdefgh")
    assert sim.time < back + 60.0 and dj.state()["problem"] == ""
    assert len(sim.gaps) == 1, "the only gap is before the first track"


def test_after_a_failed_load_the_tracks_of_a_missing_folder_are_not_tried(
    sim: SimulatedDj, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    dj = stage.start()
    stage.until(lambda: current_track(dj) and dj.player.state.stage == "ready")
    # Its folder is not looked at again before the next load.
    stage.pull()
    dj.player.reconsider()
    sim.until(lambda: next_track(dj) in tuple("xyz"), 20.0)
    assert skipped(caplog) == 1 and not dj.player.state.bad
    sim.until(lambda: current_track(dj) in "xyz")
    assert len(sim.gaps) == 1


def test_other_music_ends_within_a_minute_of_the_sticks_return(
    sim: SimulatedDj, tmp_path: Path
) -> None:
    stage = Stage(sim, tmp_path, fallback=False)
    stage.sources = MusicSources(
        stage.sources.main, stage._folder(tmp_path / "long"), stage._now
    )
    analyse(stage.library, music(tmp_path / "long", "x", 2000), 500)
    dj = stage.start()
    stage.until(lambda: current_track(dj) == "x")
    analyse(stage.library, music(stage.stick, "ab"))
    back = sim.time
    stage.until(lambda: current_track(dj) in ("a", "b"))
    assert sim.time < back + 60.0 and len(sim.gaps) == 1


def test_without_other_music_the_track_is_repeated_and_the_problem_is_reported_once(
    sim: SimulatedDj, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(sim, tmp_path, fallback=False)
    analyse(stage.library, music(stage.stick, "abc"))
    dj = stage.start()
    stage.until(lambda: current_track(dj) and dj.player.state.stage == "ready")
    stage.pull()
    dj.player.reconsider()
    stage.until(lambda: "there is nothing else to play" in dj.player.state.note)
    assert "stick" in dj.player.state.note
    sim.seconds(20.0)
    said = [one for one in caplog.messages if "nothing else to play" in one]
    assert len(said) == 1
    playing = current_track(dj)
    stage.plug()
    stage.until(lambda: current_track(dj) != playing)
    assert len(sim.gaps) == 1 and dj.state()["problem"] == ""


def test_a_dj_without_any_music_says_so_once_and_waits(
    sim: SimulatedDj, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(sim, tmp_path, fallback=False)
    dj = stage.start()
    stage.until(lambda: "there is nothing to play" in dj.player.state.note)
    assert "stick" in dj.state()["problem"] and "stick" in dj.state()["note"]
    sim.seconds(10.0)
    assert len([one for one in caplog.messages if "there is nothing to play" in one]) == 1
    analyse(stage.library, music(stage.stick, "a"))
    stage.until(lambda: current_track(dj) == "a", 20.0)


def test_the_fallback_plays_until_a_late_stick_appears(sim: SimulatedDj, tmp_path: Path) -> None:
    stage = Stage(sim, tmp_path)
    dj = stage.start()
    stage.until(lambda: current_track(dj) in "xyz" and current_track(dj), 20.0)
    analyse(stage.library, music(stage.stick, "ab"))
    back = sim.time
    stage.until(lambda: current_track(dj) in ("a", "b"))
    assert sim.time < back + 60.0 and len(sim.gaps) == 1


def test_an_empty_or_unplayable_folder_is_replaced_by_the_fallback(
    sim: SimulatedDj, stage: Stage
) -> None:
    dj = stage.start()
    stage.until(lambda: current_track(dj) in "abcdefgh" and current_track(dj))
    for path in stage.stick.iterdir():
        path.write_bytes(b"no sound at all")
    stage.until(lambda: current_track(dj) in "xyz", 300.0)
    assert len(sim.gaps) == 1


def test_another_stick_plays_within_a_minute_before_it_is_analysed(
    sim: SimulatedDj, stage: Stage
) -> None:
    dj = stage.start()
    stage.until(lambda: current_track(dj) in "abcdefgh" and current_track(dj))
    stage.pull()
    stage.until(lambda: current_track(dj) in "xyz")
    other = music(stage.stick.with_name("other"), "abuv")  # two names are those of the first stick
    other.rename(stage.stick)
    back = sim.time

    def plays_other() -> bool:
        mix = dj.player.state.mix
        return mix is not None and mix.entries[0].confidence == 0.0

    stage.until(plays_other, 60.0)
    assert sim.time < back + 60.0 and current_track(dj) in "abuv"
    assert stage.analysts[-1].root == stage.stick and stage.analysts[-1].running
    analyse(stage.library, stage.stick)
    def mixes_into_other() -> bool:
        mix = dj.player.state.mix
        return mix is not None and len(mix.entries) > 1 and mix.entries[1].confidence == 1.0

    stage.until(mixes_into_other)
    assert len(sim.gaps) <= 2  # between two tracks that are not analysed there may be one


def test_a_replaced_stick_is_noticed_even_if_its_absence_was_not(
    sim: SimulatedDj, stage: Stage
) -> None:
    stage.start()
    number = stage.sources.main.contents.number
    stage.pull()
    music(stage.stick, "abuv")  # two names are those of the first stick
    stage.refresh()
    contents = stage.sources.main.contents
    assert contents.number == number + 1 and not contents.candidates.cards
    assert {card.name for card in contents.earlier.cards} == set("abcdefgh")
    assert {Path(entry.path).stem for entry in contents.as_they_are} == set("abuv")


# Files that can no longer be read while they play


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths below these folders cannot be read any more, though their files are open."""
    folders: list[str] = []
    read = StemReader.read

    def failing(reader: StemReader, *arguments: Any) -> np.ndarray:
        if any(str(reader.path).startswith(folder) for folder in folders):
            raise FileUnreadable(reader.path, f"it can't be read ({os.strerror(errno.EIO)})")
        return read(reader, *arguments)

    monkeypatch.setattr(StemReader, "read", failing)
    return folders


@pytest.fixture
def streaming(tmp_path: Path) -> Iterator[Stage]:
    """A stage whose server streams every track."""
    with SimulatedDj(max_preload=5.0) as sim:
        stage = Stage(sim, tmp_path)
        analyse(stage.library, music(stage.stick, "abcdefgh", 400), 96)
        yield stage


def test_a_track_is_left_before_the_end_of_its_resident_part(
    streaming: Stage, dead: list[str]
) -> None:
    sim, dj = streaming.sim, streaming.start()
    streaming.until(lambda: current_track(dj) and dj.player.state.stage == "ready")
    deck = dj.player.state.decks[0]
    streaming.pull()
    dead.append(str(streaming.stick))
    streaming.until(lambda: sim.deck(deck, "state") == "broken")
    assert 0.0 < sim.deck(deck, "buffered") < 15.0
    streaming.until(lambda: current_track(dj) in "xyz", 30.0)
    streaming.until(lambda: len(dj.player.state.history) > 3)
    assert len(sim.gaps) == 1 and not sim.status()["missing_pages"]


def test_the_resident_part_is_repeated_while_nothing_else_can_be_played(
    tmp_path: Path, dead: list[str]
) -> None:
    with SimulatedDj(max_preload=5.0) as sim:
        stage = Stage(sim, tmp_path, fallback=False)
        analyse(stage.library, music(stage.stick, "ab", 400), 96)
        dj = stage.start()
        stage.until(lambda: current_track(dj) and dj.player.state.stage == "ready")
        stage.pull()
        dead.append(str(stage.stick))
        stage.until(lambda: "there is nothing else to play" in dj.player.state.note)
        sim.seconds(30.0)
        assert len(sim.gaps) == 1 and dj.player.state.loop_limit < 40.0
        dead.clear()
        stage.plug()
        stage.until(lambda: len(dj.player.state.history) > 1, 30.0)
        assert len(sim.gaps) == 1


def test_a_transition_into_a_track_that_is_lost_is_replaced(
    streaming: Stage, dead: list[str]
) -> None:
    sim, dj = streaming.sim, streaming.start()
    streaming.until(lambda: len(dj.player.state.history) > 0 and dj.player.state.stage == "going"
                    and dj.player.state.index == 0)  # fmt: skip
    streaming.pull()
    dead.append(str(streaming.stick))
    streaming.until(lambda: current_track(dj) in "xyz", 60.0)
    streaming.until(lambda: len(dj.player.state.history) > 3)
    assert len(sim.gaps) == 1


def test_a_loaded_track_that_is_lost_is_not_started(streaming: Stage, dead: list[str]) -> None:
    sim, dj = streaming.sim, streaming.start()
    streaming.until(lambda: current_track(dj) and dj.player.state.stage == "ready")
    lost = next_track(dj)
    dead.append(str(streaming.stick / f"{lost}.wav"))
    sim.pages_a_block = 1000
    streaming.until(lambda: next_track(dj) not in ("", lost) or current_track(dj) == lost)
    if current_track(dj) == lost:
        streaming.until(lambda: current_track(dj) != lost)
    assert len(sim.gaps) == 1


# The library of a stick


class Folder:
    """A stick that the system reports as removable, without a DJ."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stick = folder / "stick"
        self.own = folder / "home" / "crowdstream" / "library.db"
        monkeypatch.setenv("XDG_DATA_HOME", str(folder / "home"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        self.system = SystemPaths(
            folder / "by-label", folder / "by-uuid", folder / "mountinfo", folder / "block"
        )
        device = folder / "pci0" / "usb1" / "sdb1"
        device.mkdir(parents=True)
        self.system.block_devices.mkdir()
        (self.system.block_devices / "8:17").symlink_to(device)
        self.system.mountinfo.write_text(f"30 1 8:17 / {self.stick} rw - vfat /dev/sdb1 rw\n")
        monkeypatch.setattr(music_folder, "STORE_SECONDS", 0.0)
        monkeypatch.setattr(music_folder, "LOAD_SECONDS", 0.0)
        music(self.stick, "abc")

    def folder(self) -> MusicFolder:
        return MusicFolder(Place(self.stick), None, FakeAnalyst, self.system)

    @property
    def kept(self) -> Path:
        return self.stick / FOLDER / NAME


def fail(*_arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def removable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(tmp_path, monkeypatch)


def test_the_library_of_a_stick_is_kept_on_it(removable: Folder) -> None:
    folder = removable.folder()
    folder.refresh()
    analyse(folder.contents.library, removable.stick)
    folder.refresh()
    assert len(folder.contents.candidates.cards) == 3 and removable.kept.exists()
    assert not removable.own.exists()
    moved = removable.folder()  # another machine, or another day
    moved.refresh()
    assert len(moved.contents.candidates.cards) == 3


def test_a_read_only_stick_uses_the_library_of_the_user(
    removable: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(Path, "mkdir", fail_below(removable.stick, Path.mkdir))
    folder = removable.folder()
    for _ in range(3):
        folder.refresh()
    assert folder.contents.library == removable.own
    assert len([one for one in caplog.messages if "this user's library" in one]) == 1
    analyse(folder.contents.library, removable.stick)
    folder.refresh()
    assert len(folder.contents.candidates.cards) == 3 and not removable.kept.exists()


def fail_below(folder: Path, function: Any) -> Any:
    def checked(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return function(path, *arguments, **options)

    return checked


def test_a_stick_that_fills_up_moves_its_library_to_the_user(
    removable: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = removable.folder()
    folder.refresh()
    monkeypatch.setattr(os, "fsync", fail)
    analyse(folder.contents.library, removable.stick)
    for _ in range(3):
        folder.refresh()
    assert folder.contents.library == removable.own and not removable.kept.exists()
    assert len(folder.contents.candidates.cards) == 3
    assert len([one for one in caplog.messages if "this user's library" in one]) == 1


def test_a_stick_that_dies_while_its_library_is_written_is_survived(
    removable: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = removable.folder()
    folder.refresh()
    analyse(folder.contents.library, removable.stick)

    def die(*_arguments: Any) -> None:
        removable.stick.rename(removable.stick.with_name("away"))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", die)
    folder.refresh()
    monkeypatch.undo()
    folder.refresh()
    assert folder.contents.root is None and not folder.contents.candidates.cards


def test_a_library_that_cannot_be_read_is_reported_once(
    removable: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = removable.folder()
    folder.refresh()
    analyse(folder.contents.library, removable.stick)

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise LibraryError("it can't be used")

    monkeypatch.setattr(music_folder, "of_library", refuse)
    for _ in range(3):
        folder.refresh()
    assert caplog.messages == ["it can't be used"]


def test_a_search_that_fails_does_not_end_the_thread(
    removable: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = removable.folder()
    calls = iter([RuntimeError("the stick is dying")])
    refresh = folder.refresh
    done: list[bool] = []

    def failing() -> None:
        for error in calls:
            raise error
        refresh()
        done.append(True)
        folder.end()

    monkeypatch.setattr(folder, "refresh", failing)
    monkeypatch.setattr(music_folder, "LOOK_SECONDS", 0.0)
    folder._run()
    assert done and folder.contents.root == removable.stick


def test_a_track_that_has_just_left_the_library_is_not_chosen(tmp_path: Path) -> None:
    folder, path = music(tmp_path / "music", "ab"), tmp_path / "library.db"
    analyse(path, folder)
    first, second = (str(folder / name) for name in ("a.wav", "b.wav"))
    candidates = of_library(Library(path, write=False))
    selector = EndlessSelector(Planner, lambda: candidates, lambda: 0.5)
    mix = selector.first(SelectionRequest(banned=frozenset({second})))
    with Library(path) as library:
        library.forget([second])  # as an analysis does after the file was moved
    assert selector.next(mix, SelectionRequest()) is None
    with pytest.raises(NothingToPlay, match=r"b\.wav: it has just left the library"):
        selector.first(SelectionRequest(banned=frozenset({first})))


def _damage(library: Path, *tracks: str) -> None:
    # As a faulty memory card does, which SQLite does not notice.
    with contextlib.closing(sqlite3.connect(library)) as database, database:
        for track in tracks:
            database.execute(
                "UPDATE tracks SET analysis = '{' WHERE path = ?", (os.fsencode(track),)
            )


def test_tracks_whose_analysis_is_corrupt_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = music(tmp_path / "music", "abcd"), tmp_path / "library.db"
    analyse(path, folder)
    tracks = [str(folder / f"{name}.wav") for name in "abcd"]
    _damage(path, tracks[1])
    candidates = of_library(Library(path, write=False))
    selector = EndlessSelector(Planner, lambda: candidates, lambda: 0.5)
    firsts = {selector.first(SelectionRequest(energy)).entries[0].path
              for energy in (0.0, 0.25, 0.33, 0.4, 0.5, 1.0)}  # fmt: skip
    assert firsts and tracks[1] not in firsts
    mix: Set | None = selector.first(SelectionRequest())
    for _ in range(6):  # all are played, and repeated
        assert mix is not None
        mix = selector.next(mix, SelectionRequest())
    assert mix is not None
    paths = [entry.path for entry in mix.entries]
    assert set(paths) == {tracks[0], tracks[2], tracks[3]}
    assert len(set(paths[:3])) == 3
    assert not selector.stale(SelectionRequest(before=tuple(paths)), paths[0])
    assert ["b.wav" in one for one in caplog.messages] == [True]


def test_a_track_whose_analysis_becomes_corrupt_while_it_plays_is_left(tmp_path: Path) -> None:
    folder, path = music(tmp_path / "music", "ab"), tmp_path / "library.db"
    analyse(path, folder)
    first, second = (str(folder / name) for name in ("a.wav", "b.wav"))
    candidates = of_library(Library(path, write=False))
    selector = EndlessSelector(Planner, lambda: candidates, lambda: 0.5)
    mix = selector.first(SelectionRequest(banned=frozenset({second})))
    _damage(path, first)
    candidates = of_library(Library(path, write=False))
    made = selector.next(mix, SelectionRequest())
    assert made is not None and made.entries[-1].path == second
    _damage(path, second)
    candidates = of_library(Library(path, write=False))
    assert selector.next(mix, SelectionRequest()) is None
    with pytest.raises(NothingToPlay, match="--again"):
        selector.first(SelectionRequest())
