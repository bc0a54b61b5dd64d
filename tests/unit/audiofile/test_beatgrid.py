"""Beat grids given as a tempo, as anchors, in a sidecar file or in tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowdstream.audiofile.beatgrid import BeatGrid, GridError, find_grid, read_sidecar
from tests.support.offline_server import level, write
from tests.unit.audiofile.test_tags import wav_with_acid


def tempo_and_source(stems: list[Path]) -> tuple[float, str]:
    """Return tempo and source of the grid of these files."""
    found = find_grid(stems)
    assert found is not None
    assert found.grid == BeatGrid.of_tempo(found.grid.bpm)
    return round(found.grid.bpm, 9), found.source


def sidecar(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_tempo_and_a_downbeat_are_two_anchors() -> None:
    grid = BeatGrid.of_tempo(120.0, 0.25)
    assert grid.anchors == ((0.0, 0.25), (1.0, 0.75))
    assert grid.bpm == 120.0
    assert grid.steady


def test_anchors_may_be_given_in_any_order() -> None:
    grid = BeatGrid.through([(64, 31.0), (0, 0.1), (32, 15.0)])
    assert [beat for beat, _ in grid.anchors] == [0, 32, 64]
    assert not grid.steady


@pytest.mark.parametrize(
    ("anchors", "reason"),
    [
        ([], "2 to 512 anchors, not 0"),
        ([(0, 1)], "2 to 512 anchors, not 1"),
        ([(0, 1), (0, 2)], "beat 0 has two positions"),
        ([(0, 2), (1, 1)], "does not come after"),
        ([(0, 1), (1, 1)], "does not come after"),
        ([(0, 0), (1, 100)], "0.6 beats per minute is out of range"),
        ([(0, 0), (100, 1)], "6000 beats per minute is out of range"),
        ([(0, -1), (4, 1)], "not a valid position in a file"),
        ([(float("nan"), 0), (4, 1)], "out of range"),
        ([(0, float("inf")), (4, 1)], "not a valid position in a file"),
        ([(beat, beat / 2) for beat in range(513)], "2 to 512 anchors, not 513"),
    ],
)
def test_invalid_anchors_are_refused(
    anchors: list[tuple[float, float]], reason: str
) -> None:
    with pytest.raises(GridError, match=reason):
        BeatGrid.through(anchors)


@pytest.mark.parametrize("bpm", [0.0, 19.0, 401.0, 1e9, float("nan"), -120.0])
def test_a_tempo_out_of_range_is_refused(bpm: float) -> None:
    with pytest.raises(GridError, match="out of range"):
        BeatGrid.of_tempo(bpm)


def test_a_sidecar_holds_a_tempo_or_anchors(tmp_path: Path) -> None:
    steady = sidecar(tmp_path / "a.toml", "[grid]\nbpm = 124\nfirst_downbeat = 0.125\n")
    assert read_sidecar(steady) == BeatGrid.of_tempo(124.0, 0.125)
    moving = sidecar(tmp_path / "b.toml", "[grid]\nanchors = [[0, 0.5], [64, 31.25]]\n")
    assert read_sidecar(moving) == BeatGrid.through([(0, 0.5), (64, 31.25)])
    other = sidecar(tmp_path / "c.toml", "[loudness]\nlufs = -14\n")
    assert read_sidecar(other) is None
    assert read_sidecar(tmp_path / "none.toml") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bpm = 1\n[grid]\nbpm = = 2", "line 3"),
        ("grid = 5", "write \\[grid\\]"),
        ("[grid]\n", "bpm is missing"),
        ("[grid]\nbpm = 'fast'\n", "bpm must be a number"),
        ("[grid]\nbpm = true\n", "bpm must be a number"),
        ("[grid]\nbpm = nan\n", "bpm must be a number"),
        ("[grid]\nbpm = 1000\n", "1000 beats per minute is out of range"),
        ("[grid]\nbpm = 120\nfirst_downbeat = -1\n", "not a valid position in a file"),
        ("[grid]\nbpm = 120\ndownbeat = 1\n", "unknown key downbeat"),
        ("[grid]\nbpm = 120\nanchors = [[0, 1], [4, 3]]\n", "not both"),
        ("[grid]\nanchors = [[0, 1], 5]\n", "must be a list of"),
        ("[grid]\nanchors = 'x'\n", "must be a list of"),
        ("[grid]\nanchors = [[0, 1]]\n", "2 to 512 anchors, not 1"),
        ("x = " + "[" * 2000, "a.crowdstream.toml"),
        ("#" * (1 << 20) + "\n", "more than"),
    ],
)
def test_an_invalid_sidecar_yields_one_line_that_names_it(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = sidecar(tmp_path / "a.crowdstream.toml", text)
    with pytest.raises(GridError, match=reason) as error:
        read_sidecar(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sidecar_that_is_not_a_text_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GridError, match="not UTF-8"):
        read_sidecar(tmp_path / "a.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(GridError, match="can't be read"):
        read_sidecar(tmp_path / "folder.toml")


def test_a_sidecar_takes_precedence_over_a_tag_and_a_files_own_over_the_folders(
    tmp_path: Path
) -> None:
    track = wav_with_acid(tmp_path / "track.wav", 100.0)
    assert tempo_and_source([track]) == (100.0, "tag")
    sidecar(tmp_path / "crowdstream.toml", "[grid]\nbpm = 110\n")
    assert tempo_and_source([track]) == (110.0, "sidecar")
    sidecar(tmp_path / "track.crowdstream.toml", "[grid]\nbpm = 120\n")
    assert tempo_and_source([track]) == (120.0, "sidecar")


def test_stems_use_the_folders_sidecar_and_the_first_tag(tmp_path: Path) -> None:
    stems = [write(tmp_path / "drums.wav", level(0.1)), wav_with_acid(tmp_path / "bass.wav", 90.0)]
    assert tempo_and_source(stems) == (90.0, "tag")
    sidecar(tmp_path / "drums.crowdstream.toml", "[grid]\nbpm = 33\n")
    assert tempo_and_source(stems) == (90.0, "tag"), "a single stem's sidecar is ignored"
    sidecar(tmp_path / "crowdstream.toml", "[grid]\nbpm = 128\n")
    assert tempo_and_source(stems) == (128.0, "sidecar")


def test_a_file_without_tempo_has_no_grid(tmp_path: Path) -> None:
    assert find_grid([write(tmp_path / "a.wav", level(0.1))]) is None
    assert find_grid([wav_with_acid(tmp_path / "b.wav", 15.0, beats=1)]) is None
