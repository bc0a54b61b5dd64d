"""Folders and text files that users of other programs reported as problems.

The sources are in docs/development/reported-situations.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.beatgrid import BeatGrid, find_grid
from crowdstream.audiofile.stems.folder import TRACKS, FileAccess
from crowdstream.audiofile.stems.track_files import find_stems_by_audio, folder_verdict
from crowdstream.library.scanner import STEMS
from crowdstream.library.sidecar import read_sidecar
from crowdstream.movement.map_file import read_map
from crowdstream.settings.toml import parse
from tests.support.stem_folders import RATE, mixed, parts, put, put_all
from tests.unit.library.test_scanner import find, names

MARK = b"\xef\xbb\xbf"
FOUR = ["drums", "bass", "vocals", "other"]


@pytest.fixture(scope="module")
def track() -> dict[str, np.ndarray]:
    return dict(parts())


def test_hidden_files_of_macos_and_nas_devices_are_skipped(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    song = put_all(tmp_path / "Song", track)
    for hidden in ("Song/._drums.wav", "Song/.DS_Store", "__MACOSX/Song/._drums.wav",
                   ".AppleDouble/Song.wav", "Song/.AppleDouble/drums.wav"):  # fmt: skip
        place = tmp_path / hidden
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes([0, 5, 22, 7, 0, 2, 0, 0]) + b"Mac OS X        ")
    found, skipped, _ = find(tmp_path)
    assert (names(found), skipped.lines) == ([("Song", STEMS)], {})
    assert [stem.name for stem in find_stems_by_audio(song).stems] == FOUR


def test_circular_and_broken_links_are_reported(tmp_path: Path) -> None:
    put(tmp_path / "tracks" / "a.wav", np.zeros(100, np.float32))
    for name, target in (("tracks/music", ".."), ("self", "."), ("gone.wav", "nowhere.wav"),
                         ("loop.wav", "loop.wav")):  # fmt: skip
        (tmp_path / name).symlink_to(target)
    found, skipped, _ = find(tmp_path)
    assert [one.name for one in found] == ["a"]
    reasons = {Path(path).name: reason for path, reason in skipped.lines.items()}
    assert reasons == {
        "gone.wav": "it is a broken link", "loop.wav": "it is a circular link",
    }  # fmt: skip


def test_stems_of_unequal_length_are_one_track(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    # In the data set of the report, lengths differ by up to 7 %.
    for lost in (0.01, 0.07):
        folder = tmp_path / str(lost)
        put_all(folder, {
            name: part[: len(part) if name in ("drums", "bass") else round((1 - lost) * len(part))]
            for name, part in track.items()
        })  # fmt: skip
        assert [stem.name for stem in find_stems_by_audio(folder).stems] == FOUR


def test_a_silent_stem_is_a_stem(track: dict[str, np.ndarray], tmp_path: Path) -> None:
    put_all(tmp_path, {**track, "vocals": 0 * track["vocals"]})
    put(tmp_path / "Artist - Song.wav", mixed(track, "vocals"))
    heard = find_stems_by_audio(tmp_path)
    assert [stem.name for stem in heard.stems] == FOUR
    assert [one.path.name for one in heard.left_out] == ["Artist - Song.wav"]


def test_a_mix_at_another_sample_rate_is_recognized_by_its_sound(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, track)
    sums = mixed(track)
    there = len(sums) * 48000 // RATE
    spectrum = np.zeros(there // 2 + 1, complex)
    own = np.fft.rfft(sums)
    spectrum[: len(own)] = own
    mix = np.fft.irfft(spectrum, there) * there / len(sums)
    soundfile.write(tmp_path / "Artist - Song.wav", np.stack([mix, mix], 1), 48000)
    heard = find_stems_by_audio(tmp_path)
    assert [stem.name for stem in heard.stems] == FOUR
    assert [one.path.name for one in heard.left_out] == ["Artist - Song.wav"]


@pytest.mark.parametrize("how", ["scaled", "drums", "rest", "mastered"])
def test_a_mix_that_is_not_the_exact_sum_of_its_stems_is_recognized(
    track: dict[str, np.ndarray], tmp_path: Path, how: str
) -> None:
    quieter = {"scaled": FOUR, "drums": ["drums"]}.get(how, [])
    put_all(tmp_path, {
        name: part * np.float32(0.7 if name in quieter else 1) for name, part in track.items()
    })  # fmt: skip
    mix = mixed(track)
    if how == "rest":
        mix = mix + np.random.default_rng(3).normal(0, 0.01, len(mix)).astype(np.float32)
    elif how == "mastered":
        mix = (np.tanh(3 * mix) / 1.5).astype(np.float32)
    put(tmp_path / "Artist - Song.wav", mix)
    heard = find_stems_by_audio(tmp_path)
    assert [stem.name for stem in heard.stems] == FOUR
    assert [one.path.name for one in heard.left_out] == ["Artist - Song.wav"]


def test_a_mix_that_is_longer_than_its_stems_is_reported(
    track: dict[str, np.ndarray], tmp_path: Path
) -> None:
    put_all(tmp_path, {name: part[: len(part) // 2] for name, part in track.items()})
    put(tmp_path / "Artist - Song.wav", mixed(track))
    (left,) = find_stems_by_audio(tmp_path).left_out
    assert "it is the sum of" in left.reason
    assert "2.0 s longer than they are" in left.reason
    verdict = folder_verdict(tmp_path, FileAccess())
    assert verdict is not None and verdict.kind != TRACKS


def test_a_byte_order_mark_before_toml_is_accepted(tmp_path: Path) -> None:
    own = tmp_path / "a.crowdstream.toml"
    own.write_bytes(MARK + b"[track]\r\nbpm = 128.0\r\n")
    assert read_sidecar(str(own)).bpm == 128.0
    put(tmp_path / "a.wav", np.zeros(RATE, np.float32))
    own.write_bytes(MARK + b"[grid]\nbpm = 128\n")
    found = find_grid([tmp_path / "a.wav"])
    assert found is not None and found.grid == BeatGrid.of_tempo(128.0, 0.0)
    assert parse(MARK + b"master = 0.5\n", own) == {"master": 0.5}
    own.write_bytes(MARK + b"steps = [[0, 118]]\n")
    read_map(own, 120.0)
