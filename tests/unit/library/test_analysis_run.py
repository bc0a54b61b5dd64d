"""An analysis run: which tracks it analyses again, and files that change meanwhile."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
from pathlib import Path

import pytest

from crowdstream.analysis.result import VERSION
from crowdstream.library.analysis_run import AnalysisRun
from crowdstream.library.database import Library
from crowdstream.library.run_view import TerminalView
from crowdstream.library.scanner import Scanner
from crowdstream.library.worker import probe
from tests.support.analysed_folder import analyse, music
from tests.support.library_rows import row


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of three tracks, analysed by this version; the entry of `a` is corrupt."""
    place = tmp_path / "library.db"
    folder = music(tmp_path / "music", "abc")
    analyse(place, folder)
    with contextlib.closing(sqlite3.connect(place)) as database, database:
        database.execute(
            """UPDATE tracks SET version = ?, tags = '{"labels": []}'""", (VERSION,)
        )
        database.execute(
            "UPDATE tracks SET analysis = '{' WHERE path = ?", (os.fsencode(folder / "a.wav"),)
        )
    return place


def started(library: Library, folder: Path) -> AnalysisRun:
    """A run that has not scanned its folder yet."""
    return AnalysisRun(library, [str(folder)], TerminalView(io.StringIO(), False), "unused")


def test_a_corrupt_entry_is_analysed_again_once_its_sidecar_changes(library: Path) -> None:
    folder = library.parent / "music"
    with Library(library) as opened:
        assert started(opened, folder).scan() == []
        for name in "ab":
            (folder / f"{name}.crowdstream.toml").write_text("[track]\nlevel = 0.7\n")
        jobs = started(opened, folder).scan()
        assert [Path(job.path).name for job in jobs] == ["a.wav"]
        levels = {entry.name: entry.level for entry in opened.find()}
        assert levels["b"] == 0.7


def test_sidecars_are_written_except_for_a_corrupt_entry(library: Path) -> None:
    folder = library.parent / "music"
    with Library(library) as opened:
        run = started(opened, folder)
        run.scan()
        [problem] = run.write_sidecars()
    assert "a.wav is corrupt" in problem and "--again" in problem
    assert {path.name[0] for path in folder.glob("*.toml")} == {"b", "c"}


def test_a_sidecar_edited_during_a_run_is_read_by_the_next_one(
    place: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"music")
    sidecar = folder / "a.crowdstream.toml"
    [found] = Scanner(lambda _path, _reason: None).find([str(folder)])
    kept = row(found.path)
    kept.files, kept.version, kept.probe = found.files, VERSION, probe(found.files)
    kept.tags["labels"] = []
    with Library(place) as library:
        library.put([kept])
        run = started(library, folder)
        assert run.scan() == [] and run.write_sidecars() == []
        run = started(library, folder)
        assert run.scan() == []
        sidecar.write_text(f'[track]\ntitle = "Mine"\n\n{sidecar.read_text()}')
        assert run.write_sidecars() == []
        assert started(library, folder).scan() == []
        known = library.row(found.path)
        assert known is not None and known.title == "Mine"
        assert 'title = "Mine"' in sidecar.read_text()
