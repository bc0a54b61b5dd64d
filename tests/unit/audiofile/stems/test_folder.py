"""Classification of folders by file names and audio."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.audiofile.errors import (
    EmptyAudio,
    NotOneTrack,
    PermissionRefused,
    TooManyStems,
)
from crowdstream.audiofile.reader import open_stem
from crowdstream.audiofile.stems import folder_cache
from crowdstream.audiofile.stems.folder import SEVERAL, STEMS, TRACKS, FileAccess, Verdict
from crowdstream.audiofile.stems.track_files import (
    UNPACKED,
    find_stems,
    find_stems_by_audio,
    folder_verdict,
)
from tests.support.stem_folders import RATE, SECONDS, mixed, noises, parts, put, put_all, song

FOUR = ["drums", "bass", "vocals", "other"]


@pytest.fixture(scope="module")
def track() -> dict[str, np.ndarray]:
    return dict(parts())


def final_verdict(folder: Path) -> Verdict:
    verdict = folder_verdict(folder, FileAccess())
    assert verdict is not None and verdict.is_final
    return verdict


def stems(folder: Path) -> list[str]:
    return [stem.name for stem in find_stems_by_audio(folder).stems]


def left_out(folder: Path) -> dict[str, str]:
    return {one.path.name: one.reason for one in find_stems_by_audio(folder).left_out}


# Several tracks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("Moon (Original Mix)", "Moon (Instrumental)"), ("Moon", "Moon (Instrumental)"),
     ("Moon", "Moon (Radio Edit)"), ("Moon (Extended Mix)", "Moon (Acapella)"),
     ("Moon", "Moon - A Cappella"), ("Moon (Vocal Mix)", "Moon (Dub)")],
)  # fmt: skip
def test_versions_of_a_release_are_separate_tracks(
    names: tuple[str, str], track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put(tmp_path / f"{names[0]}.wav", mixed(track))
    put(tmp_path / f"{names[1]}.wav", mixed(track, "vocals"))
    verdict = final_verdict(tmp_path)
    assert (verdict.kind, verdict.not_stems) == (TRACKS, True)
    assert "release" in verdict.reason
    with pytest.raises(NotOneTrack, match="load a single file"):
        find_stems(tmp_path)


def test_a_release_with_the_original_its_instrumental_and_its_a_cappella_is_three_tracks(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """The original is the sum of the other two, but a release is not a folder of stems."""
    put(tmp_path / "Moon.wav", mixed(track))
    put(tmp_path / "Moon (Instrumental).wav", mixed(track, "vocals"))
    put(tmp_path / "Moon (Acapella).wav", track["vocals"])
    assert final_verdict(tmp_path).kind == TRACKS


@pytest.mark.parametrize("seconds", [(11.0, 11.0, 11.0), (10.0, 17.0, 24.0)])
@pytest.mark.parametrize("pattern", ["{}.wav", "Artist - {}.wav"])
def test_songs_named_like_stems_are_separate_tracks(
    seconds: tuple[float, ...], pattern: str, tmp_path: Path
) -> None:
    for number, name in enumerate(("Keys", "Bass", "Drums")):
        put(tmp_path / pattern.format(name), song(seconds[number], number))
    verdict = final_verdict(tmp_path)
    assert verdict.kind == TRACKS and "holds more than bass" in verdict.reason


def test_stems_of_two_songs_in_one_folder_are_not_one_track(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    for title in ("one", "two"):
        put_all(tmp_path, track, title + "_{}.wav")
    verdict = final_verdict(tmp_path)
    assert verdict.kind == SEVERAL and len(verdict.stem_paths) == 8
    with pytest.raises(NotOneTrack, match="8 files in it are stems of several tracks"):
        find_stems(tmp_path)


def test_arbitrarily_named_files_are_stems_only_if_one_is_the_sum_of_the_others(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, {f"Audio {n}": track[name] for n, name in enumerate(FOUR)})
    assert final_verdict(tmp_path).kind == TRACKS
    put(tmp_path / "Take 7.wav", mixed(track) * 0.5)
    verdict = final_verdict(tmp_path)
    assert verdict.kind == STEMS and "Take 7.wav is the sum" in verdict.reason
    assert stems(tmp_path) == ["Audio 0", "Audio 1", "Audio 2", "Audio 3"]


# Sums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gain"),
    [("Song.wav", 1.0), ("full.wav", 1.0), ("untitled.flac", 0.25), ("Final v3.mp3", 1.0),
     ("Bounce 2024-01-01.wav", 1.5)],
)  # fmt: skip
def test_a_mixdown_with_any_name_is_left_out(
    name: str, gain: float, track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track, "Song_{}.wav")
    put(tmp_path / name, mixed(track) * np.float32(gain))
    assert stems(tmp_path) == FOUR
    assert "it is the sum of Song_bass.wav" in left_out(tmp_path)[name]


def test_a_limited_mixdown_is_left_out(track: dict[str, np.ndarray], tmp_path: Path) -> None:
    put_all(tmp_path, track)
    loud = 0.9 * np.tanh(3 * mixed(track))
    put(tmp_path / "Song.wav", loud.astype(np.float32))
    assert stems(tmp_path) == FOUR and list(left_out(tmp_path)) == ["Song.wav"]


def test_a_mixdown_with_an_encoders_delay_is_left_out(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    put(tmp_path / "Song.wav", np.concatenate([np.zeros(1105, np.float32), mixed(track)]))
    assert stems(tmp_path) == FOUR


def test_a_mixdown_that_contains_a_missing_stem_is_left_out(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, {name: track[name] for name in ("drums", "bass", "vocals")})
    put(tmp_path / "Song.wav", mixed(track))
    assert stems(tmp_path) == FOUR[:3] and list(left_out(tmp_path)) == ["Song.wav"]


@pytest.mark.parametrize("name", ["no_vocals", "instrumental", "accompaniment", "Song (Music)"])
def test_sums_of_some_stems_are_left_out(
    name: str, track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    put(tmp_path / f"{name}.wav", mixed(track, "vocals"))
    assert stems(tmp_path) == FOUR
    assert left_out(tmp_path) == {
        f"{name}.wav": "it is the sum of bass.wav, drums.wav, other.wav"
    }  # fmt: skip


def test_vocals_and_instrumental_are_two_stems_and_the_original_is_left_out(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put(tmp_path / "1_S_(Vocals).wav", track["vocals"])
    put(tmp_path / "1_S_(Instrumental).wav", mixed(track, "vocals"))
    assert stems(tmp_path) == ["vocals", "instrumental"]
    put(tmp_path / "S.wav", mixed(track))
    assert stems(tmp_path) == ["vocals", "instrumental"] and list(left_out(tmp_path)) == ["S.wav"]


def test_only_one_of_several_two_way_splits_is_played(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    for name in ("vocals", "drums"):
        put(tmp_path / f"S_{name}_split_by_lalalai.wav", track[name])
        put(tmp_path / f"S_no_{name}_split_by_lalalai.wav", mixed(track, name))
    assert stems(tmp_path) == ["vocals", "no_vocals"]


def test_a_drum_bus_beside_its_parts_is_left_out(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    kick, hats = parts(seed=5)["drums"], parts(seed=9)["drums"] * np.float32(0.5)
    sounds = {"Kick": kick, "Hats": hats, "Drums": kick + hats, "Bass": track["bass"]}
    put_all(tmp_path, sounds)
    assert stems(tmp_path) == ["bass", "hats", "kick"]


def test_the_same_stem_in_two_formats_is_played_once(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    put(tmp_path / "bass.ogg", track["bass"])
    assert stems(tmp_path) == FOUR and left_out(tmp_path) == {
        "bass.ogg": "it is a copy of bass.wav"
    }  # fmt: skip


def test_identical_and_silent_stems_are_kept(tmp_path: Path) -> None:
    """A stem may be silent or identical to another one; neither makes it a sum."""
    sound, nothing = parts()["vocals"], np.zeros(round(SECONDS * RATE), np.float32)
    put_all(tmp_path, {"lead_vocals": sound, "backing_vocals": sound, "drums": nothing})
    assert stems(tmp_path) == ["drums", "lead_vocals", "backing_vocals"]


# Lengths --------------------------------------------------------------------------------------


def test_stems_with_trimmed_tails_are_one_track(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, {name: sound[: len(sound) - n * RATE // 2]
                       for n, (name, sound) in enumerate(track.items())})  # fmt: skip
    assert stems(tmp_path) == FOUR


def test_a_song_of_another_length_beside_stems_is_a_track_of_its_own(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    put(tmp_path / "Another.wav", song(7.0, 8))
    verdict = final_verdict(tmp_path)
    assert [one.path.name for one in verdict.left_out if one.track] == ["Another.wav"]
    assert stems(tmp_path) == FOUR


# Counts, formats, kinds -----------------------------------------------------------------------


def test_lead_and_backing_vocals_are_separate_stems(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    put(tmp_path / "bgv.wav", parts(seed=4)["other"] * np.float32(0.3))
    assert stems(tmp_path) == ["drums", "bass", "vocals", "backing_vocals", "other"]


def test_twelve_stems_are_refused_but_eight_and_a_mixdown_are_accepted(
    tmp_path: Path,
) -> None:
    names = ["Kick", "Clap", "Hats", "Drums", "Bass", "Lead", "Music", "FX",
             "FX Returns", "Vocals", "Backing", "Vocal Returns"]  # fmt: skip
    sounds = noises(names)
    twelve = put_all(tmp_path / "twelve", sounds)
    with pytest.raises(TooManyStems, match="holds 12 stems and a deck has 8") as caught:
        find_stems_by_audio(twelve)
    assert "\n" not in str(caught.value)
    eight = {name: sounds[name] for name in names[:8]}
    put(put_all(tmp_path / "eight", eight) / "x.wav", mixed(eight) * np.float32(0.5))
    assert len(stems(tmp_path / "eight")) == 8
    assert find_stems(tmp_path / "eight").is_final, "the cached verdict is used"


def test_an_unreadable_stem_is_reported(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, {name: track[name] for name in ("drums", "bass", "other")})
    (tmp_path / "vocals.ofr").write_bytes(b"x")
    (tmp_path / "tune.stem.mp4").write_bytes(b"x")
    lost = [one for one in find_stems_by_audio(tmp_path).left_out if one.lost]
    assert [one.path.name for one in lost] == ["vocals.ofr"] and "ofr" in lost[0].reason
    assert stems(tmp_path) == ["drums", "bass", "other"]


def test_the_error_for_a_folder_of_unplayable_formats_names_the_files(tmp_path: Path) -> None:
    for name in FOUR:
        (tmp_path / f"{name}.ofr").write_bytes(b"x")
    with pytest.raises(EmptyAudio, match=r"bass.ofr, drums.ofr, other.ofr, vocals.ofr: convert"):
        find_stems(tmp_path)


def test_opus_files_are_stems(track: dict[str, np.ndarray], tmp_path: Path) -> None:
    for name, sound in track.items():
        resampled = np.interp(np.arange(len(sound)), np.arange(len(sound)), sound)
        import soundfile

        soundfile.write(tmp_path / f"{name}.opus", resampled, 48000, format="OGG", subtype="OPUS")
    assert stems(tmp_path) == FOUR


def test_a_metronome_is_not_played(track: dict[str, np.ndarray], tmp_path: Path) -> None:
    put_all(tmp_path, track, "S-{}-Amin-124bpm.wav")
    put(tmp_path / "S-metronome-Amin-124bpm.wav", parts(seed=3)["drums"])
    assert stems(tmp_path) == FOUR
    assert "metronome" in left_out(tmp_path)["S-metronome-Amin-124bpm.wav"]


def test_files_unpacked_from_a_stem_file_are_not_classified(tmp_path: Path) -> None:
    for number, name in enumerate(("Bass", "Keys")):
        put(tmp_path / f"{number + 1} - {name}.flac", song(4.0, number))
    (tmp_path / UNPACKED).touch()
    assert find_stems(tmp_path).is_final and stems(tmp_path) == ["bass", "keys"]


# Cache ----------------------------------------------------------------------------------------


def test_audio_is_compared_once_and_again_after_a_file_has_changed(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    put(tmp_path / "full.wav", mixed(track))
    read: list[str] = []

    def watch(path: Path) -> nullcontext[None]:
        read.append(path.name)
        return nullcontext()

    assert not find_stems(tmp_path).is_final
    for _ in range(2):
        find_stems_by_audio(tmp_path, FileAccess(watch=watch))
    assert len(set(read)) == 5
    first = len(read)
    folder_cache._kept.clear()  # as in another process
    assert [stem.name for stem in find_stems(tmp_path).stems] == FOUR
    find_stems_by_audio(tmp_path, FileAccess(watch=watch))
    assert len(read) == first
    put(tmp_path / "full.wav", parts(5.0, 7)["other"])
    assert not find_stems(tmp_path).is_final
    find_stems_by_audio(tmp_path, FileAccess(watch=watch))
    assert len(read) > first


def test_a_file_that_changes_during_the_comparison_leaves_no_wrong_verdict(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    mix = put(tmp_path / "Night.wav", parts(5.0, 7)["other"])
    read: list[str] = []

    def watch(path: Path) -> nullcontext[None]:
        read.append(path.name)
        if path.name == "vocals.wav" and read.count("Night.wav") > 2:  # more than its length
            put(mix, mixed(track))
        return nullcontext()

    find_stems_by_audio(tmp_path, FileAccess(watch=watch))
    assert stems(tmp_path) == FOUR
    assert "sum of" in left_out(tmp_path)["Night.wav"]


def test_a_file_that_becomes_readable_is_compared(
    track: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(tmp_path, track)
    mix = put(tmp_path / "Night.wav", mixed(track))

    def refuse(path: Path, *arguments: Any) -> Any:
        if path == mix:
            raise PermissionRefused(path, "this user may not read it")
        return open_stem(path, *arguments)

    # Root may read everything, whatever its mode.
    with monkeypatch.context() as patch:
        patch.setattr("crowdstream.audiofile.stems.folder.open_stem", refuse)
        patch.setattr(os, "access", lambda path, _mode: path != mix)
        assert "Night" in stems(tmp_path)
    assert stems(tmp_path) == FOUR


def test_a_corrupt_or_unwritable_cache_is_ignored(
    track: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cache" / "crowdstream" / "folders"
    monkeypatch.setattr(folder_cache, "cache_folder", lambda: place)
    folder = put_all(tmp_path / "m", track)
    find_stems_by_audio(folder)
    [cache_file] = place.iterdir()
    for text in ("", "{}", "[" * 50_000, '{"version": 1, "files": 3}', "\xff"):
        cache_file.write_bytes(text.encode("latin-1"))
        folder_cache._kept.clear()
        assert not find_stems(folder).is_final
        assert stems(folder) == FOUR
    monkeypatch.setattr(folder_cache, "cache_folder", lambda: tmp_path / "m" / "bass.wav" / "x")
    assert stems(folder) == FOUR and find_stems(folder).is_final


def test_the_number_of_cache_files_is_limited(
    track: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cache" / "crowdstream" / "folders"
    monkeypatch.setattr(folder_cache, "cache_folder", lambda: place)
    monkeypatch.setattr(folder_cache, "MAX_FILES", 2)
    monkeypatch.setattr(folder_cache, "PRUNE_EVERY", 1)
    monkeypatch.setattr(folder_cache, "_written", 0)
    verdict = Verdict(TRACKS, "x", is_final=True)
    for number in range(6):
        folder_cache.remember(tmp_path / str(number), [[], []], verdict)
    assert len(list(place.iterdir())) <= 3
