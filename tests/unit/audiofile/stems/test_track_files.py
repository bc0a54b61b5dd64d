"""The files that make up a track, and the media roots."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.audiofile import check_media_root, find_stems
from crowdstream.audiofile.errors import (
    EmptyAudio,
    FileMissing,
    OutsideMediaRoot,
    PermissionRefused,
    TooManyStems,
)
from crowdstream.audiofile.stems.track_files import stem_name


def _folder(path: Path, *names: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).touch()
    return path


def _names(path: Path) -> list[str]:
    return [stem.name for stem in find_stems(path).stems]


def test_a_file_is_one_stem(tmp_path: Path) -> None:
    path = tmp_path / "My Song.v2.wav"
    path.touch()
    track = find_stems(path)
    assert track.name == "My Song.v2"
    assert [(stem.name, stem.path) for stem in track.stems] == [("My Song.v2", path)]


def test_stems_are_in_the_order_of_the_deck(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "Song", "vocals.wav", "other.wav", "bass.wav", "drums.wav")
    track = find_stems(folder)
    assert track.name == "Song"
    assert [stem.path.name for stem in track.stems] == [
        "drums.wav",
        "bass.wav",
        "vocals.wav",
        "other.wav",
    ]


def test_other_stems_follow_by_name(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "Song", "Zither.flac", "piano.ogg", "BASS.MP3", "Choir.aif")
    assert _names(folder) == ["bass", "choir", "piano", "Zither"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("drums.wav", "drums"),
        ("Vocals.WAV", "vocals"),
        ("mysong_vocals.wav", "vocals"),
        ("mysong-(Drums).wav", "drums"),
        ("1_My Song_(Instrumental).wav", "instrumental"),
        ("My Song - Bass.flac", "bass"),
        ("My-Song_no_vocals.wav", "no_vocals"),
        ("No Vocals.wav", "no_vocals"),
        ("My Song (Other).wav", "other"),
        ("my_song_mix.wav", "mix"),
        ("Loop 3.wav", "Loop 3"),
        ("a_b-c.wav", "a_b-c"),
        ("eardrums.wav", "eardrums"),
    ],
)
def test_a_stem_is_named_after_the_stem_word_in_its_file_name(file: str, name: str) -> None:
    assert stem_name(Path(file)) == name


@pytest.mark.parametrize("mix", ["mix.wav", "Master.wav", "mixture.wav", "Song - Original.wav"])
def test_a_full_mix_beside_stems_is_left_out(mix: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "Song", mix, "drums.wav", "bass.wav")
    assert _names(folder) == ["drums", "bass"]


def test_a_lone_mix_is_the_track(tmp_path: Path) -> None:
    assert _names(_folder(tmp_path / "Song", "mix.wav")) == ["mix"]


def test_hidden_files_and_other_formats_are_ignored(tmp_path: Path) -> None:
    folder = _folder(
        tmp_path / "Song", "drums.wav", "._bass.wav", ".x.wav", "cover.jpg", "drums.asd"
    )
    (folder / "bass.wav").mkdir()
    assert _names(folder) == ["drums"]


def test_stems_with_the_same_name_are_called_by_their_file_names(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "Song", "a_drums.wav", "b_drums.wav", "bass.wav")
    assert _names(folder) == ["bass", "a_drums", "b_drums"]


def test_a_folder_without_audio_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyAudio, match="no audio file"):
        find_stems(_folder(tmp_path / "Song", "readme.txt"))
    for path in (tmp_path / "nothing", tmp_path / "a\0b"):
        with pytest.raises(FileMissing):
            find_stems(path)


def test_more_than_eight_files_are_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "Song", *(f"{number}.wav" for number in range(8)))
    assert len(find_stems(folder).stems) == 8
    _folder(folder, "8.wav")
    with pytest.raises(TooManyStems, match="9 audio files"):
        find_stems(folder)


def test_a_folder_without_read_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionRefused):
        find_stems(tmp_path)


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1))
def test_any_file_name_yields_a_stem_name(name: str) -> None:
    assert stem_name(Path(name + ".wav"))


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_folder(tmp_path / "Song", "drums.wav"))
    assert find_stems(Path(".")).name == "Song"


class TestMediaRoot:
    """`check_media_root` judges the real path."""

    def test_no_roots_allow_everything(self, tmp_path: Path) -> None:
        assert check_media_root(tmp_path / "a" / ".." / "b", []) == tmp_path.resolve() / "b"

    def test_paths_inside_a_root_and_the_root_itself_are_allowed(self, tmp_path: Path) -> None:
        roots = [tmp_path / "x", tmp_path / "music"]
        for path in (tmp_path / "music" / "a.wav", tmp_path / "music"):
            assert check_media_root(path, roots) == path.resolve()

    @pytest.mark.parametrize("inside", ["../secret.wav", "link/secret.wav", "link", "file.wav"])
    def test_paths_that_lead_outside_are_refused(self, inside: str, tmp_path: Path) -> None:
        music = _folder(tmp_path / "music")
        secret = _folder(tmp_path / "elsewhere", "secret.wav")
        (music / "link").symlink_to(secret)
        (music / "file.wav").symlink_to(secret / "secret.wav")
        with pytest.raises(OutsideMediaRoot, match="outside the media folders"):
            check_media_root(music / inside, [music])

    def test_a_root_is_not_a_string_prefix(self, tmp_path: Path) -> None:
        with pytest.raises(OutsideMediaRoot):
            check_media_root(tmp_path / "music2" / "a.wav", [tmp_path / "music"])

    def test_links_that_stay_inside_and_roots_that_are_links(self, tmp_path: Path) -> None:
        music = _folder(tmp_path / "music", "a.wav")
        (music / "b.wav").symlink_to(music / "a.wav")
        (tmp_path / "root").symlink_to(music)
        found = check_media_root(tmp_path / "root" / "b.wav", [tmp_path / "root"])
        assert found == (music / "a.wav").resolve()

    def test_a_tilde_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", os.fspath(tmp_path))
        assert check_media_root(Path("~/a.wav"), [Path("~")]) == tmp_path.resolve() / "a.wav"

    def test_impossible_and_circular_paths_are_missing_files(self, tmp_path: Path) -> None:
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        circle = tmp_path / "circle"
        for path in (tmp_path / "a\0b", circle, circle / "a", Path("~nobody-of-that-name/a")):
            with pytest.raises(FileMissing):
                check_media_root(path, [tmp_path])
