"""The library database: storing, searching, damage, migration and concurrent access."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from crowdstream.analysis.result import VERSION, Downbeat
from crowdstream.library import schema
from crowdstream.library.analysis_run import AnalysisRun
from crowdstream.library.cli import listing_json, listing_lines
from crowdstream.library.corrections import Corrections
from crowdstream.library.database import (
    Library,
    LibraryDamaged,
    LibraryError,
    LibraryNotFound,
    examine_library,
    move_aside,
)
from crowdstream.library.models import Query
from crowdstream.library.run_view import TerminalView
from crowdstream.library.scanner import Scanner
from crowdstream.library.worker import probe
from tests.support.instant_analysis import made
from tests.support.library_rows import row


def test_a_stored_track_is_read_back_unchanged(place: Path) -> None:
    kept = row("/music/a.wav", title="Night", artist="Someone")
    kept.corrections = Corrections(key="9A", vocals=((1.0, 2.0),))
    kept.written = Corrections(sections=((0, 64, "intro", None),))
    with Library(place) as library:
        library.put([kept])
    with Library(place, write=False) as library:
        assert library.row("/music/a.wav") == kept
        [entry] = library.find()
        assert (entry.title, entry.artist, entry.key, entry.bpm) == ("Night", "Someone", "9A", 120)
        assert entry.corrected
        found = library.analysis(entry.number)
        assert found == kept.corrected
        assert found.key.name == "9A" and found.sections[0].kind == "intro"
        assert library.find_by_path("/music/a.wav") == entry
        assert library.find_by_path("/music/b.wav") is None
        with pytest.raises(KeyError):
            library.analysis(99)


def test_tags_are_those_of_the_file_until_a_person_gives_others(place: Path) -> None:
    own, corrected, without = (row(f"/music/{name}.wav") for name in "abc")
    own.tags["labels"] = ["Deep House", "late"]
    corrected.tags["labels"] = ["Pop"]
    corrected.corrections = Corrections(tags=("Lounge",))
    without.tags["labels"] = ["Rock"]
    without.written = Corrections(tags=())
    with Library(place) as library:
        library.put([own, corrected, without])
        assert library.row(corrected.path) == corrected
        labels = {entry.name: entry.labels for entry in library.find()}
        assert labels == {"a": ("Deep House", "late"), "b": ("Lounge",), "c": ()}
        for text, names in {"deep": "a", "LOUNGE": "b", "pop": "", "rock": ""}.items():
            assert "".join(one.name for one in library.find(Query(text=text))) == names
        library.correct(corrected.path, lambda _: Corrections())
        assert library.find_by_path(corrected.path).labels == ("Pop",)  # type: ignore[union-attr]
        assert all(known.labelled for known in library.known(["/music"]).values())
        library.put([row("/music/old.wav")])
        assert not library.known(["/music"])["/music/old.wav"].labelled


def test_queries_filter_by_folder_tempo_key_energy_and_text(place: Path) -> None:
    silent = row("/music/s.wav")
    silent.analysis = replace(made(), silent=True, level=0.0)
    with Library(place) as library:
        library.put([
            row("/music/a.wav", 100.0), row("/music/b/c.wav", 128.0, title="Über 100%"),
            row("/music2/d.wav", 140.0), row("/music/bad.wav", error="it is not audio"), silent,
        ])  # fmt: skip

        def paths(**query: object) -> list[str]:
            return [entry.path for entry in library.find(Query(**query))]  # type: ignore[arg-type]

        assert paths() == ["/music/a.wav", "/music/b/c.wav", "/music/s.wav", "/music2/d.wav"]
        assert paths(roots=("/music",), silent=False) == ["/music/a.wav", "/music/b/c.wav"]
        assert paths(roots=("/music/b", "/music2/d.wav")) == ["/music/b/c.wav", "/music2/d.wav"]
        assert paths(bpm=(120, 130)) == ["/music/b/c.wav", "/music/s.wav"]
        assert paths(keys=("8A",), bpm=(128, 140)) == ["/music/b/c.wav", "/music2/d.wav"]
        assert paths(keys=("8B",)) == []
        assert paths(level=(0.0, 0.1)) == ["/music/s.wav"]
        assert paths(text="über C.WAV") == ["/music/b/c.wav"]
        assert paths(text="100%") == ["/music/b/c.wav"]  # % is not a wildcard
        assert paths(text="'; DROP TABLE tracks; --") == []
        assert paths(bad=True) == ["/music/bad.wav"]


def test_corrections_survive_another_analysis(place: Path) -> None:
    with Library(place) as library:
        library.put([row("/m/a.wav")])
        library.correct("/m/a.wav", lambda corrections: replace(corrections, bpm=60.0))
        library.put([row("/m/a.wav", 121.0)])
        [entry] = library.find()
        assert entry.bpm == pytest.approx(60.0)
        library.correct("/m/a.wav", lambda corrections: replace(corrections, bpm=None))
        assert library.find()[0].bpm == pytest.approx(121.0)
        with pytest.raises(KeyError):
            library.correct("/m/b.wav", lambda corrections: corrections)


def test_paths_that_are_not_utf8_are_kept(place: Path) -> None:
    hostile = os.fsdecode(b"/m/\xff\n'\"\x1b.wav")
    with Library(place) as library:
        library.put([row(hostile, title="\udcff\0")])
        [entry] = library.find(Query(roots=("/m",)))
        assert entry.path == hostile
        assert entry.title == "\\udcff\\x00"


def test_missing_tracks_are_hidden_until_they_reappear(place: Path) -> None:
    with Library(place) as library:
        library.put([row("/m/a.wav"), row("/m/b.wav")])
        library.mark_gone([library.find()[0].number])
        assert [entry.path for entry in library.find()] == ["/m/b.wav"]
        [gone] = [entry for entry in library.find(Query(gone=True)) if entry.gone]
        library.mark_gone([gone.number], gone=False)
        assert len(library.find()) == 2
        library.forget(["/m/a.wav"])
        assert [entry.path for entry in library.find(Query(gone=True))] == ["/m/b.wav"]


def test_opening_a_missing_library_for_reading_fails_and_creates_nothing(place: Path) -> None:
    with pytest.raises(
        LibraryNotFound, match="there is no library; make one with crowdstream analyze"
    ):
        Library(place, write=False)
    assert not place.exists()


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("data", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_reported_and_not_changed(place: Path, data: bytes, write: bool) -> None:
    place.write_bytes(data)
    with pytest.raises(LibraryDamaged, match="--new-library"):
        Library(place, write)
    assert place.read_bytes() == data


def test_damage_in_the_middle_of_the_file_is_reported(place: Path) -> None:
    with Library(place) as library:
        library.put([row(f"/m/{number}.wav") for number in range(50)])
    data = bytearray(place.read_bytes())
    data[8192:] = b"\x5a" * (len(data) - 8192)
    place.write_bytes(data)
    with pytest.raises(LibraryError), Library(place) as library:
        library.find()


def test_a_corrupt_analysis_is_reported_and_replaced_by_the_next_one(place: Path) -> None:
    with Library(place) as library:
        library.put([row("/m/a.wav")])
        number = library.find()[0].number
        with sqlite3.connect(place) as other:
            other.execute("UPDATE tracks SET analysis = '{', corrections = 'x'")
        other.close()
        with pytest.raises(LibraryDamaged, match="--again"):
            library.analysis(number)
        with pytest.raises(LibraryDamaged, match="--again"):
            library.row("/m/a.wav")
        library.put([row("/m/a.wav")])
        assert library.analysis(number) == made(200.0)


def test_a_corrupt_entry_keeps_the_corrections_of_a_person(place: Path) -> None:
    with Library(place) as library:
        library.put([row("/m/a.wav")])
        library.correct("/m/a.wav", lambda known: replace(known, title="Night Drive"))
        with sqlite3.connect(place) as other:
            other.execute("UPDATE tracks SET analysis = '{'")
        other.close()
        library.put([row("/m/a.wav")])
        assert library.find()[0].title == "Night Drive"


@pytest.mark.parametrize("column", ["files", "tags"])
def test_a_corrupt_entry_does_not_hide_the_others(place: Path, column: str) -> None:
    with Library(place) as library:
        library.put([row("/m/a.wav"), row("/m/b.wav")])
        with sqlite3.connect(place) as other:
            other.execute(f"UPDATE tracks SET {column} = '[' WHERE path = ?", (b"/m/a.wav",))
        other.close()
        assert [entry.path for entry in library.find()] == ["/m/b.wav"]
        assert library.find_by_path("/m/a.wav") is None
        assert "/m/b.wav" in library.known()
        assert ("/m/a.wav" in library.known()) == (column == "tags")
        assert "/m/b.wav" in examine_library(place).tracks
        library.put([row("/m/a.wav")])
        assert len(library.find()) == 2


def test_a_track_with_a_corrupt_entry_is_analysed_again(place: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(name.encode())
    with Library(place) as library:
        for found in Scanner(lambda _path, _reason: None).find([str(tmp_path)]):
            kept = row(found.path)
            kept.files, kept.version, kept.probe = found.files, VERSION, probe(found.files)
            kept.tags["labels"] = []
            library.put([kept])
        with sqlite3.connect(place) as other:
            other.execute("UPDATE tracks SET files = '[' WHERE path = ?",
                          (os.fsencode(tmp_path / "a.wav"),))  # fmt: skip
        other.close()
        view = TerminalView(io.StringIO(), live=False)
        run = AnalysisRun(library, [str(tmp_path)], view, str(tmp_path))
        assert [job.path for job in run.scan()] == [str(tmp_path / "a.wav")]


def test_the_database_of_another_program_is_refused(place: Path) -> None:
    other = sqlite3.connect(place)
    other.execute("CREATE TABLE photos (name)")
    other.commit()
    other.close()
    with pytest.raises(LibraryDamaged, match="another program"):
        Library(place)


def test_a_library_of_a_newer_version_is_refused(place: Path) -> None:
    Library(place).close()
    database = sqlite3.connect(place)
    database.execute("PRAGMA user_version = 99")
    database.close()
    for write in (True, False):
        with pytest.raises(LibraryError, match="newer version"):
            Library(place, write)


def test_doubts_about_grid_and_downbeat_are_listed(place: Path) -> None:
    found = made()
    rows = {
        "/m/certain.wav": found,
        "/m/downbeat.wav": replace(found, downbeat=Downbeat(0.3)),
        "/m/grid.wav": replace(found, tempo=replace(found.tempo, confidence=0.2)),
    }
    with Library(place) as library:
        library.put([replace(row(path), analysis=one) for path, one in rows.items()])
        entries = library.find()
        assert [(one.uncertain, one.uncertain_downbeat) for one in entries] == [
            (False, False), (False, True), (True, False),
        ]  # fmt: skip
        _, certain, downbeat, grid = listing_lines(entries)
        assert "uncertain" not in certain
        assert "(uncertain downbeat)" in downbeat
        assert "(uncertain grid)" in grid
        shown = [json.loads(line) for line in listing_json(library, entries)]
        assert [one["uncertain_downbeat"] for one in shown] == [False, True, False]


def test_an_older_library_is_migrated(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library(place) as library:
        library.put([row("/m/a.wav")])
    step = "ALTER TABLE tracks ADD COLUMN mood TEXT NOT NULL DEFAULT 'good';"
    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, step])
    with Library(place) as library:
        assert len(library.find()) == 1
    database = sqlite3.connect(place)
    assert database.execute("SELECT mood FROM tracks").fetchall() == [("good",)]
    assert database.execute("PRAGMA user_version").fetchone() == (len(schema.STEPS),)
    database.close()
    # A step that fails changes nothing.
    bad = "ALTER TABLE tracks ADD COLUMN x TEXT; ALTER TABLE nothing ADD COLUMN y TEXT;"
    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, bad])
    with pytest.raises(LibraryError):
        Library(place)
    monkeypatch.setattr(schema, "STEPS", schema.STEPS[:-1])
    with Library(place) as library:
        assert len(library.find()) == 1


def test_concurrent_readers_and_writers_see_whole_transactions(place: Path) -> None:
    Library(place).close()
    faults: list[Exception] = []

    def write(first: int) -> None:
        try:
            with Library(place) as library:
                for number in range(first, first + 10):
                    library.put([row(f"/m/{number}-{part}.wav") for part in range(3)])
        except Exception as error:
            faults.append(error)

    writers = [threading.Thread(target=write, args=(100 * one,)) for one in range(3)]
    for one in writers:
        one.start()
    with Library(place, write=False) as library:
        while any(one.is_alive() for one in writers):
            assert len(library.find()) % 3 == 0  # never part of a transaction
        assert len(library.find()) == 90
    assert not faults


def test_a_library_is_moved_aside_with_its_write_ahead_log(place: Path) -> None:
    with Library(place) as library:
        library.put([row("/m/a.wav")])
        aside = move_aside(place)
    assert aside is not None and not place.exists()
    with Library(place) as library:
        assert library.find() == []
    with Library(aside) as library:
        assert len(library.find()) == 1
    assert move_aside(place.with_name("none.db")) is None
