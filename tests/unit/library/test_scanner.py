"""Finding tracks below folders that also hold links, pipes, hidden and foreign files."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from crowdstream.audiofile.beatgrid import find_grid
from crowdstream.library.scanner import SINGLE, STEM_FILE, STEMS, FoundTrack, Scanner
from tests.support.stem_folders import mixed, noises, parts, put, put_all, song


class SkippedPaths:
    """Stores the paths that a scanner skips, with the reasons."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def __call__(self, path: str, reason: str) -> None:
        self.lines[path] = reason


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(path.name))


def find(*tops: Path, unpacks: bool = True) -> tuple[list[FoundTrack], SkippedPaths, Scanner]:
    skipped = SkippedPaths()
    scanner = Scanner(skipped, unpacks)
    return list(scanner.find([str(top) for top in tops])), skipped, scanner


def names(found: list[FoundTrack]) -> list[tuple[str, str]]:
    return [(one.name, one.kind) for one in found]


def test_folders_of_stems_single_files_and_stem_files_are_found(tmp_path: Path) -> None:
    song = tmp_path / "separated" / "htdemucs" / "Night Drive"
    touch(*(song / f"{name}.wav" for name in ("vocals", "drums", "other", "bass")))
    touch(tmp_path / "single.flac", tmp_path / "tune.stem.mp4", tmp_path / "cover.jpg")
    found, skipped, _scanner = find(tmp_path)
    assert names(found) == [("single", SINGLE), ("tune", STEM_FILE), ("Night Drive", STEMS)]
    assert [file.name for file in found[2].files] == ["drums", "bass", "vocals", "other"]
    assert found[2].path == str(song) and found[2].sidecar == str(song / "crowdstream.toml")
    assert found[0].sidecar == str(tmp_path / "single.crowdstream.toml")
    assert not skipped.lines


def test_a_track_that_is_named_twice_is_found_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "set" / "drums.wav", tmp_path / "set" / "bass.wav")
    found, _skipped, _scanner = find(tmp_path / "a.wav", tmp_path / "set", tmp_path)
    assert names(found) == [("a", SINGLE), ("set", STEMS)]


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path / ".hidden.wav", tmp_path / ".git" / "x.wav", tmp_path / "._a.wav")
    assert find(tmp_path)[0] == []


def test_circular_links_terminate_and_linked_files_are_found_once(tmp_path: Path) -> None:
    touch(tmp_path / "music" / "a.wav")
    os.symlink(tmp_path / "music", tmp_path / "music" / "around")
    os.symlink("self", tmp_path / "music" / "self")
    os.symlink("a.wav", tmp_path / "music" / "again.wav")
    os.link(tmp_path / "music" / "a.wav", tmp_path / "music" / "hard.wav")
    os.symlink("nowhere.wav", tmp_path / "music" / "broken.wav")
    found, skipped, _scanner = find(tmp_path, tmp_path / "music")
    assert names(found) == [("a", SINGLE)]
    broken = str(tmp_path / "music" / "broken.wav")
    assert "broken link" in skipped.lines.pop(broken)
    assert set(skipped.lines) <= {str(tmp_path / "music" / "self")}


def test_a_link_out_of_the_media_folders_is_reported_and_not_followed(tmp_path: Path) -> None:
    """A deck would refuse to load the target, and the page does not show it."""
    touch(tmp_path / "disk" / "b.wav", tmp_path / "disk" / "notes.txt")
    (tmp_path / "music").mkdir()
    links = {name: tmp_path / "music" / name for name in ("disk", "b.wav", "notes.txt")}
    links["disk"].symlink_to(tmp_path / "disk")
    for name in ("b.wav", "notes.txt"):
        links[name].symlink_to(tmp_path / "disk" / name)
    found, skipped, scanner = find(tmp_path / "music")
    assert found == [] and set(skipped.lines) == {str(links["disk"]), str(links["b.wav"])}
    assert all("outside the media folders" in line for line in skipped.lines.values())
    assert str(links["disk"]) in scanner.unread


def test_a_folder_of_stems_with_a_link_out_of_it_is_not_a_track(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "bass.wav", tmp_path / "music" / "drums.wav")
    (tmp_path / "music" / "bass.wav").symlink_to(tmp_path / "disk" / "bass.wav")
    found, skipped, _scanner = find(tmp_path / "music")
    assert found == [] and list(skipped.lines) == [str(tmp_path / "music" / "bass.wav")]


def test_a_link_into_another_media_folder_is_followed_to_its_real_path(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "b.wav")
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "disk").symlink_to(tmp_path / "disk")
    both = find(tmp_path / "music", tmp_path / "disk")[0]
    skipped = SkippedPaths()
    scanner = Scanner(skipped, True, [str(tmp_path / "disk")])
    configured = list(scanner.find([str(tmp_path / "music")]))
    for found in (both, configured):
        assert [one.path for one in found] == [str(tmp_path / "disk" / "b.wav")]
    assert not skipped.lines


def test_missing_and_unreadable_paths_are_reported_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.wav", tmp_path / "closed" / "b.wav")
    scan = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    found, skipped, scanner = find(tmp_path, tmp_path / "nowhere", Path("a\0b"))
    assert names(found) == [("a", SINGLE)]
    assert "may not open" in skipped.lines[str(tmp_path / "closed")]
    assert "no such" in skipped.lines[str(tmp_path / "nowhere")]
    assert str(tmp_path / "closed") in scanner.unread


def test_a_pipe_is_not_a_track_and_does_not_block_the_scan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for top in (tmp_path, tmp_path / "pipe.wav"):
        found, skipped, _scanner = find(top)
        assert not found and "pipe" in skipped.lines[str(tmp_path / "pipe.wav")]


def test_stems_of_several_songs_in_one_folder_are_not_tracks(tmp_path: Path) -> None:
    for title in ("one", "two"):
        touch(*(tmp_path / f"{title}_({stem}).wav" for stem in ("Vocals", "Instrumental")))
    touch(tmp_path / "three.wav")
    found, skipped, _scanner = find(tmp_path)
    assert names(found) == [("three", SINGLE)]
    assert skipped.lines[str(tmp_path)].startswith("4 files in it are stems of several tracks")


def test_a_file_named_like_a_stem_among_many_loops_is_a_track(tmp_path: Path) -> None:
    touch(*(tmp_path / f"loop {number}.wav" for number in range(20)), tmp_path / "bass.wav")
    assert len(find(tmp_path)[0]) == 21


def test_without_pyav_stem_files_are_counted_and_not_reported_one_by_one(tmp_path: Path) -> None:
    touch(tmp_path / "a.stem.mp4", tmp_path / "b.stem.m4a", tmp_path / "c.wav")
    found, skipped, scanner = find(tmp_path, tmp_path / "a.stem.mp4", unpacks=False)
    assert names(found) == [("c", SINGLE)] and not skipped.lines
    assert scanner.skipped == 3
    assert str(tmp_path / "a.stem.mp4") in scanner.unread


def test_paths_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\n\x1b[31m.wav"
    with open(path, "wb") as file:
        file.write(b"x")
    [found] = find(tmp_path)[0]
    assert os.fsencode(found.path) == path


def test_a_folder_of_thousands_of_files_is_scanned(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number}.wav").touch()
    touch(tmp_path / "vocals.wav")
    assert len(find(tmp_path)[0]) == 3001


def test_a_changed_sidecar_gets_another_mark(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    assert find(tmp_path)[0][0].sidecar_mark == 0
    sidecar = tmp_path / "a.crowdstream.toml"
    sidecar.write_text("[track]\n", encoding="utf-8")
    first = find(tmp_path)[0][0].sidecar_mark
    sidecar.write_text('[track]\nkey = "8A"\n', encoding="utf-8")
    assert first != 0 and find(tmp_path)[0][0].sidecar_mark not in (0, first)


def explained(*tops: Path) -> tuple[list[FoundTrack], dict[str, str], SkippedPaths]:
    found, skipped, scanner = find(*tops)
    return found, {Path(folder).name: text for folder, text in scanner.explained}, skipped


def test_the_interpretation_of_each_folder_is_explained(tmp_path: Path) -> None:
    sounds = parts()
    put(put_all(tmp_path / "Stems", sounds) / "full.wav", mixed(sounds))
    put(tmp_path / "EP" / "Moon (Original Mix).wav", mixed(sounds))
    put(tmp_path / "EP" / "Moon (Instrumental).wav", mixed(sounds, "vocals"))
    put(tmp_path / "Album" / "One.wav", song(4.0, 2))
    put(tmp_path / "Album" / "Two.wav", song(6.0, 3))
    for title in ("a", "b"):
        put_all(tmp_path / "Flat", sounds, title + "_{}.wav")
    found, texts, skipped = explained(tmp_path)
    assert names(found) == [("One", SINGLE), ("Two", SINGLE), ("Moon (Instrumental)", SINGLE),
                            ("Moon (Original Mix)", SINGLE), ("Stems", STEMS)]  # fmt: skip
    assert texts["Stems"].startswith("one track of 4 stems (drums, bass, vocals, other)")
    assert "without full.wav: it is the sum of" in texts["Stems"]
    assert texts["EP"].startswith("tracks of their own: versions of a release")
    assert "last from 4.0 to 6.0 s" in texts["Album"]
    assert texts["Flat"].startswith("stems of several tracks")
    assert list(skipped.lines) == [str(tmp_path / "Flat")]
    assert all("\n" not in text for text in texts.values())


def test_songs_named_like_stems_are_tracks(tmp_path: Path) -> None:
    for number, name in enumerate(("Keys", "Bass", "Drums")):
        put(tmp_path / "m" / f"{name}.wav", song(10.0 + 8 * number, number))
    put(tmp_path / "alone" / "Keys.wav", song(4.0, 9))
    found, texts, skipped = explained(tmp_path)
    assert sorted(names(found)) == [("Bass", SINGLE), ("Drums", SINGLE), ("Keys", SINGLE),
                                    ("Keys", SINGLE)]  # fmt: skip
    assert "holds more than bass" in texts["m"] and not skipped.lines


def test_more_stems_than_a_deck_has_are_reported_in_one_line(tmp_path: Path) -> None:
    ten = ("Kick", "Snare", "Hats", "Bass", "Pad", "Lead", "FX", "Vocals", "Keys", "Sax")
    put_all(tmp_path, noises(ten, 9999))
    found, _texts, skipped = explained(tmp_path)
    assert found == [] and "10 stems, and a deck has 8" in skipped.lines[str(tmp_path)]


def test_a_stem_in_an_unsupported_format_is_reported(tmp_path: Path) -> None:
    sounds = parts()
    put_all(tmp_path / "m", {name: sounds[name] for name in ("drums", "bass")})
    touch(tmp_path / "m" / "vocals.ofr", tmp_path / "song.ofr", tmp_path / "tune.opus")
    found, skipped, scanner = find(tmp_path)
    assert names(found) == [("tune", SINGLE), ("m", STEMS)]
    assert ".ofr files can't be played" in skipped.lines[str(tmp_path / "m" / "vocals.ofr")]
    assert list(skipped.lines) == [str(tmp_path / "m" / "vocals.ofr")] and scanner.foreign == 1


def test_a_folder_is_found_by_either_unicode_spelling(tmp_path: Path) -> None:
    folder = tmp_path / unicodedata.normalize("NFD", "Été")
    touch(folder / "a.wav")
    [found] = find(tmp_path / unicodedata.normalize("NFC", "Été"))[0]
    assert found.path == str(folder / "a.wav")


@pytest.mark.parametrize("name", ["a" * 245, "\u97f3" * 83, "a" * 251])
def test_sidecars_of_the_longest_file_names_have_valid_unique_names(
    name: str, tmp_path: Path
) -> None:
    touch(tmp_path / f"{name}.wav", tmp_path / f"{name[:-1]}b.wav")
    one, other = find(tmp_path)[0]
    assert one.sidecar != other.sidecar
    for found in (one, other):
        Path(found.sidecar).write_text("[grid]\nbpm = 124.0\n", encoding="utf-8")
        assert find_grid([Path(found.path)]) is not None
