"""Finding tracks below folders, whatever lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crowdstream.catalog.find import SINGLE, STEM_FILE, STEMS, Finder, Found


class Told:
    """Keeps what a finder says of what it passes over."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def __call__(self, path: str, reason: str) -> None:
        self.lines[path] = reason


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(path.name))


def find(*tops: Path, unpacks: bool = True) -> tuple[list[Found], Told, Finder]:
    told = Told()
    finder = Finder(told, unpacks)
    return list(finder.find([str(top) for top in tops])), told, finder


def names(found: list[Found]) -> list[tuple[str, str]]:
    return [(one.name, one.kind) for one in found]


def test_folders_of_stems_single_files_and_stem_files(tmp_path: Path) -> None:
    song = tmp_path / "separated" / "htdemucs" / "Night Drive"
    touch(*(song / f"{name}.wav" for name in ("vocals", "drums", "other", "bass")))
    touch(tmp_path / "single.flac", tmp_path / "tune.stem.mp4", tmp_path / "cover.jpg")
    found, told, _finder = find(tmp_path)
    assert names(found) == [("single", SINGLE), ("tune", STEM_FILE), ("Night Drive", STEMS)]
    assert [file.name for file in found[2].files] == ["drums", "bass", "vocals", "other"]
    assert found[2].path == str(song) and found[2].sidecar == str(song / "crowdstream.toml")
    assert found[0].sidecar == str(tmp_path / "single.crowdstream.toml")
    assert not told.lines


def test_a_track_itself_can_be_named_and_comes_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "set" / "drums.wav", tmp_path / "set" / "bass.wav")
    found, _told, _finder = find(tmp_path / "a.wav", tmp_path / "set", tmp_path)
    assert names(found) == [("a", SINGLE), ("set", STEMS)]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / ".hidden.wav", tmp_path / ".git" / "x.wav", tmp_path / "._a.wav")
    assert find(tmp_path)[0] == []


def test_links_in_a_circle_come_to_an_end_and_copies_by_link_count_once(tmp_path: Path) -> None:
    touch(tmp_path / "music" / "a.wav")
    os.symlink(tmp_path / "music", tmp_path / "music" / "around")
    os.symlink("self", tmp_path / "music" / "self")
    os.symlink("a.wav", tmp_path / "music" / "again.wav")
    os.link(tmp_path / "music" / "a.wav", tmp_path / "music" / "hard.wav")
    os.symlink("nowhere.wav", tmp_path / "music" / "broken.wav")
    found, told, _finder = find(tmp_path, tmp_path / "music")
    assert names(found) == [("a", SINGLE)]
    broken = str(tmp_path / "music" / "broken.wav")
    assert "link to what is not there" in told.lines.pop(broken)
    assert set(told.lines) <= {str(tmp_path / "music" / "self")}


def test_a_link_to_music_elsewhere_is_followed_to_its_real_path(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "b.wav")
    (tmp_path / "music").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "music" / "disk")
    assert find(tmp_path / "music")[0][0].path == str(tmp_path / "disk" / "b.wav")


def test_what_is_not_there_or_closed_is_told_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.wav", tmp_path / "closed" / "b.wav")
    scan = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    found, told, finder = find(tmp_path, tmp_path / "nowhere", Path("a\0b"))
    assert names(found) == [("a", SINGLE)]
    assert "may not open" in told.lines[str(tmp_path / "closed")]
    assert "no such" in told.lines[str(tmp_path / "nowhere")]
    assert str(tmp_path / "closed") in finder.unread


def test_a_pipe_is_no_track_and_does_not_hold_anything_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for top in (tmp_path, tmp_path / "pipe.wav"):
        found, told, _finder = find(top)
        assert not found and "pipe" in told.lines[str(tmp_path / "pipe.wav")]


def test_stems_of_several_songs_in_one_folder_are_no_tracks(tmp_path: Path) -> None:
    for song in ("one", "two"):
        touch(*(tmp_path / f"{song}_({stem}).wav" for stem in ("Vocals", "Instrumental")))
    touch(tmp_path / "three.wav")
    found, told, _finder = find(tmp_path)
    assert names(found) == [("three", SINGLE)]
    assert told.lines[str(tmp_path)].startswith("4 files in it are stems of several tracks")


def test_loops_with_the_names_of_stems_are_tracks_among_many(tmp_path: Path) -> None:
    touch(*(tmp_path / f"loop {number}.wav" for number in range(20)), tmp_path / "bass.wav")
    assert len(find(tmp_path)[0]) == 21


def test_without_a_reader_stem_files_are_counted_and_nothing_said_of_them(tmp_path: Path) -> None:
    touch(tmp_path / "a.stem.mp4", tmp_path / "b.stem.m4a", tmp_path / "c.wav")
    found, told, finder = find(tmp_path, tmp_path / "a.stem.mp4", unpacks=False)
    assert names(found) == [("c", SINGLE)] and not told.lines
    assert finder.skipped == 3
    assert str(tmp_path / "a.stem.mp4") in finder.unread


def test_names_that_are_not_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\n\x1b[31m.wav"
    with open(path, "wb") as file:
        file.write(b"x")
    [found] = find(tmp_path)[0]
    assert os.fsencode(found.path) == path


def test_thousands_of_files_in_one_folder(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number}.wav").touch()
    touch(tmp_path / "vocals.wav")
    assert len(find(tmp_path)[0]) == 3001


def test_a_changed_sidecar_has_another_mark(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    assert find(tmp_path)[0][0].sidecar_mark == 0
    sidecar = tmp_path / "a.crowdstream.toml"
    sidecar.write_text("[track]\n", encoding="utf-8")
    first = find(tmp_path)[0][0].sidecar_mark
    sidecar.write_text('[track]\nkey = "8A"\n', encoding="utf-8")
    assert first != 0 and find(tmp_path)[0][0].sidecar_mark not in (0, first)
