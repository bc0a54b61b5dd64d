"""The library of a stick is kept on it; a stick that fails costs nothing but a message."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from crowdstream.library.database import Library, LibraryError
from crowdstream.library.models import Row
from crowdstream.library.scanner import SINGLE, FileState
from crowdstream.library.stick_library import (
    FOLDER,
    NAME,
    StickNotWritable,
    fetch,
    merge,
    store,
    working_copy,
)
from tests.support.track_analyses import analysis


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "work.db"


def add(library: Path, path: Path) -> None:
    known = analysis()
    with Library(library) as opened:
        files = (FileState(path.stem, str(path), 1, 1, 1),)
        opened.put([Row(str(path), str(path), SINGLE, files, path.stem, "p", "", 1, known)])


def names(library: Path) -> list[str]:
    with Library(library, write=False) as opened:
        return [entry.name for entry in opened.find()]


def test_a_stick_keeps_its_library(stick: Path, work: Path, tmp_path: Path) -> None:
    assert fetch(stick, work) == "" and names(work) == []
    add(work, stick / "a.wav")
    store(work, stick)
    assert sorted(os.listdir(stick / FOLDER)) == [NAME]
    other = tmp_path / "other machine" / "work.db"
    assert fetch(stick, other) == "" and names(other) == ["a"]
    add(other, stick / "b.wav")
    store(other, stick)
    assert fetch(stick, work) == "" and names(work) == ["a", "b"]
    assert working_copy(stick) != working_copy(tmp_path)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_stick_that_cannot_be_written_is_refused_and_left_as_it_is(
    stick: Path, work: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StickNotWritable, match=os.strerror(code)):
            fetch(stick, work)
        assert not work.exists() and os.listdir(stick / FOLDER) == []
    assert fetch(stick, work) == ""
    add(work, stick / "a.wav")
    store(work, stick)
    before = (stick / FOLDER / NAME).read_bytes()
    add(work, stick / "b.wav")
    monkeypatch.setattr(os, "fsync", fail)  # it fills up, or dies, while it is written
    with pytest.raises(StickNotWritable, match=os.strerror(code)):
        store(work, stick)
    assert (stick / FOLDER / NAME).read_bytes() == before
    assert os.listdir(stick / FOLDER) == [NAME] and names(work) == ["a", "b"]
    assert [path.name for path in work.parent.iterdir() if path.suffix == ".out"] == []


def test_a_stick_that_is_gone_is_refused(stick: Path, work: Path) -> None:
    assert fetch(stick, work) == ""
    (stick / FOLDER).rmdir()
    stick.rmdir()
    for refused in (lambda: fetch(stick, work), lambda: store(work, stick)):
        with pytest.raises(StickNotWritable, match="No such file"):
            refused()
    assert names(work) == []


@pytest.mark.parametrize("damage", ["text", "cut", "foreign", "link", "folder"])
def test_a_damaged_library_is_replaced(
    stick: Path, work: Path, tmp_path: Path, damage: str
) -> None:
    kept = stick / FOLDER / NAME
    assert fetch(stick, work) == ""
    add(work, stick / "a.wav")
    store(work, stick)
    data = kept.read_bytes()
    kept.unlink()
    if damage == "text":
        kept.write_text("no library at all")
    elif damage == "cut":
        kept.write_bytes(data[: len(data) // 2])
    elif damage == "foreign":
        database = sqlite3.connect(kept)
        database.execute("CREATE TABLE other (x)")
        database.close()
    elif damage == "link":
        (tmp_path / "elsewhere.db").write_bytes(data)
        kept.symlink_to(tmp_path / "elsewhere.db")
    else:
        kept.mkdir()
    assert fetch(stick, work) and names(work) == []
    if damage != "folder":
        store(work, stick)
        assert not kept.is_symlink()
        assert fetch(stick, work) == ""


@pytest.mark.parametrize("obstacle", ["newer version", "full disk"])
def test_a_library_that_cannot_be_used_here_is_left_as_it_is(
    stick: Path, work: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    kept = stick / FOLDER / NAME
    assert fetch(stick, work) == ""
    add(work, stick / "a.wav")
    store(work, stick)

    def fail(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if obstacle == "newer version":
        database = sqlite3.connect(kept)
        database.execute("PRAGMA user_version = 99")
        database.close()
    else:
        monkeypatch.setattr("shutil.copyfileobj", fail)
    before = kept.read_bytes()
    with pytest.raises((LibraryError, OSError), match=f"{obstacle}|No space"):
        fetch(stick, work)
    assert kept.read_bytes() == before


def test_nothing_is_written_through_a_link(stick: Path, work: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (stick / FOLDER).symlink_to(elsewhere)
    with pytest.raises(StickNotWritable, match="not a folder"):
        fetch(stick, work)
    assert not os.listdir(elsewhere)


def test_the_tracks_of_a_stick_can_be_kept_elsewhere(
    stick: Path, work: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.db"
    add(own, tmp_path / "c.wav")
    assert fetch(stick, work) == ""
    add(work, stick / "a.wav")
    add(work, tmp_path / "b.wav")
    merge(work, own, stick)
    assert sorted(names(own)) == ["a", "c"]


def test_a_corrupt_entry_is_not_merged(stick: Path, work: Path, tmp_path: Path) -> None:
    work.parent.mkdir()
    for name in "abc":
        add(work, stick / f"{name}.wav")
    with sqlite3.connect(work) as database:
        database.execute("UPDATE tracks SET analysis = '{' WHERE name = 'a'")
    database.close()
    merge(work, tmp_path / "own.db", stick)
    assert names(tmp_path / "own.db") == ["b", "c"]
