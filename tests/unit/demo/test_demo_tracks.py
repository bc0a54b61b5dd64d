"""The demo's track files: complete or absent, written once, reproducible."""

import os
import shutil
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from crowdstream.demo import tracks
from crowdstream.demo.songs import SONGS, STEMS, Song
from crowdstream.demo.tracks import TracksError, complete, write_tracks

SHORT: tuple[Song, ...] = tuple(
    replace(song, sections=(replace(song.sections[2], bars=1),)) for song in SONGS[:2]
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the short songs, for comparing and copying."""
    folder = tmp_path_factory.mktemp("made") / "tracks"
    write_tracks(folder, SHORT)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_two_runs_write_the_same_bytes(tmp_path: Path, made: Path) -> None:
    write_tracks(tmp_path / "two", SHORT)
    assert contents(made) == contents(tmp_path / "two")
    assert [path.name for path in made.parent.iterdir()] == ["tracks"]


def test_the_files_have_the_documented_format(tmp_path: Path) -> None:
    made = write_tracks(tmp_path / "tracks", SHORT)
    assert [track.bpm for track in made] == [120.0, 124.0]
    for track, song in zip(made, SHORT, strict=True):
        for stem in STEMS:
            info = soundfile.info(track.folder / f"{stem}.wav")
            assert (info.samplerate, info.channels, info.subtype) == (44100, 2, "PCM_16")
            assert info.frames == round(track.seconds * 44100)
        about = tomllib.loads((track.folder / "track.toml").read_text(encoding="utf-8"))
        assert about["title"] == song.title
        assert about["bpm"] == song.bpm
        assert about["key"] == song.key
        assert about["downbeat"] == 0.0
        assert about["sections"] == [["drop", 1]]


def test_complete_tracks_are_not_made_again_and_progress_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "tracks"
    told: list[tuple[int, int, str]] = []
    write_tracks(folder, SHORT, lambda *step: told.append(step))
    assert told == [(0, 2, "Low Tide"), (1, 2, "Mirror Season"), (2, 2, "")]
    before = (folder / tracks.MARKER).stat().st_mtime_ns
    write_tracks(folder, SHORT, lambda *step: told.append(step))
    assert len(told) == 3
    assert (folder / tracks.MARKER).stat().st_mtime_ns == before


@pytest.mark.parametrize("harm", ["no marker", "other marker", "no stem", "empty stem", "a file"])
def test_an_incomplete_or_outdated_set_is_made_again(
    tmp_path: Path, made: Path, harm: str
) -> None:
    folder = tmp_path / "tracks"
    if harm == "a file":
        folder.mkdir()
        (folder / "left-over").write_text("from an older version", encoding="utf-8")
    else:
        shutil.copytree(made, folder)
        assert complete(folder, SHORT)
        if harm == "no marker":
            (folder / tracks.MARKER).unlink()
        elif harm == "other marker":
            (folder / tracks.MARKER).write_text("0000\n", encoding="utf-8")
        elif harm == "empty stem":  # as after a power failure
            os.truncate(folder / SHORT[1].folder / "bass.wav", 0)
        else:
            (folder / SHORT[1].folder / "bass.wav").unlink()
    assert not complete(folder, SHORT)
    write_tracks(folder, SHORT)
    assert complete(folder, SHORT)
    assert not (folder / "left-over").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tracks"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, title: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tracks(tmp_path / "tracks", SHORT, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_old_remains_of_a_killed_run_are_deleted(tmp_path: Path) -> None:
    old, young = tmp_path / ".tracks-killed", tmp_path / ".tracks-busy"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - 7200.0,) * 2)
    write_tracks(tmp_path / "tracks", SHORT[:1])
    assert not old.exists()
    assert young.exists()


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(TracksError, match=r"file/tracks: .*--cache"):
        write_tracks(tmp_path / "file" / "tracks", SHORT)


def test_the_fingerprint_changes_with_the_notes() -> None:
    changed = (replace(SONGS[0], swing=0.6), *SONGS[1:])
    assert tracks.fingerprint() == tracks.fingerprint(SONGS)
    assert tracks.fingerprint() != tracks.fingerprint(changed)
