"""Sidecars: a person's lines take precedence and are kept; errors name the line."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.analysis.result import Tempo
from crowdstream.audiofile.beatgrid import read_sidecar as read_grid
from crowdstream.audiofile.sidecar import rewrite, split_sidecar
from crowdstream.library.sidecar import SidecarError, found_part, read_sidecar, write_sidecar
from tests.support.instant_analysis import made

OWN = """\
# my notes
[track]
title = "Night \\"Drive\\""  # as on the label
key = 'Am'
bpm = 124
vocals = [[1, 2.5]]

[[section]]
begin = 0
end = 64
kind = "intro"

[[section]]
begin = 64
end = 128
kind = "drop"
energy = 0.9
"""


@pytest.fixture
def sidecar(tmp_path: Path) -> Path:
    return tmp_path / "song.crowdstream.toml"


def test_every_correction_is_read_and_applied(sidecar: Path) -> None:
    sidecar.write_text(OWN + "[grid]\nbpm = 125\nfirst_downbeat = 0.2\n", encoding="utf-8")
    corrections = read_sidecar(str(sidecar))
    assert (corrections.title, corrections.artist) == ('Night "Drive"', None)
    assert (corrections.key, corrections.bpm) == ("8A", 124.0)
    assert corrections.vocals == ((1.0, 2.5),)
    assert corrections.sections == ((0, 64, "intro", None), (64, 128, "drop", 0.9))
    fixed = corrections.apply(made(300.0))
    # A grid takes precedence over a tempo.
    assert fixed.tempo.bpm == pytest.approx(125.0) and fixed.tempo.anchors[0] == (0.0, 0.2)
    assert fixed.key.name == "8A" and fixed.key.confidence == 1.0
    assert [one.kind for one in fixed.sections] == ["intro", "drop"]
    assert 0.0 < fixed.sections[0].energy < 0.2  # the mean of its bars
    assert fixed.vocals.spans == ((1.0, 2.5),)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('[track]\nkey = "X"\n', 2, "write it as 8A"),
        ("[track]\ntitle = 5\n", 2, "title must be a text"),
        ("\n[track]\nbpm = 1000\n", 3, "bpm must be a number from 20 to 400"),
        ("[track]\nbpm = true\n", 2, "bpm must be a number"),
        ("[track]\nbpm = nan\n", 2, "bpm must be a number"),
        ("[track]\nbmp = 120\n", 2, "unknown key bmp"),
        ("[trak]\nbpm = 120\n", 1, "unknown table or key trak"),
        ("track = 5\n", 1, "write [track]"),
        ("[track]\nvocals = [[5, 1]]\n", 2, "ascending"),
        ("[track]\nvocals = 5\n", 2, "list of [begin, end]"),
        ("[track]\nsections = []\n", 2, "write [[section]]"),
        ('[[section]]\nbegin = 0\nend = 4\nkind = "solo"\n', 4, "kind must be one of intro"),
        ('[[section]]\nbegin=0\nend=4\nkind="drop"\n[[section]]\nbegin=2\nend=9\nkind="drop"',
         6, "begins before"),
        ('[[section]]\nbegin = 0\nkind = "drop"\n', 1, "end is missing"),
        ("[section]\nbegin = 0\n", 1, "write [[section]]"),
        ("[grid]\nbpm = 5\n", 1, "out of range"),
        ("[track]\nkey = \n", 2, "Invalid value"),
        ("[track\n", 1, "Expected"),
    ],
)  # fmt: skip
def test_an_error_names_its_line_and_reason(
    sidecar: Path, text: str, line: int, reason: str
) -> None:
    sidecar.write_text(text, encoding="utf-8")
    with pytest.raises(SidecarError) as caught:
        read_sidecar(str(sidecar))
    assert f"song.crowdstream.toml line {line}: " in str(caught.value)
    assert reason in str(caught.value)
    # A file with an error is not overwritten.
    with pytest.raises(SidecarError):
        write_sidecar(str(sidecar), made())
    assert sidecar.read_text(encoding="utf-8") == text


def test_a_sidecar_that_is_binary_too_long_or_a_folder_is_rejected(sidecar: Path) -> None:
    sidecar.write_bytes(b"[track]\n\xff")
    with pytest.raises(SidecarError, match=r"line 2: this is not UTF-8"):
        read_sidecar(str(sidecar))
    sidecar.write_bytes(b"#" * (1 << 21))
    with pytest.raises(SidecarError, match="more than"):
        read_sidecar(str(sidecar))
    sidecar.write_text("a = " + "[" * 5000, encoding="utf-8")
    with pytest.raises(SidecarError):
        read_sidecar(str(sidecar))
    sidecar.unlink()
    sidecar.mkdir()
    with pytest.raises(SidecarError, match="can't be read"):
        read_sidecar(str(sidecar))


def test_written_results_are_readable_and_give_the_loader_its_grid(sidecar: Path) -> None:
    assert write_sidecar(str(sidecar), made(), 'A "title"', "Somebody")
    values = tomllib.loads(sidecar.read_text(encoding="utf-8"))
    assert values["track"]["title"] == 'A "title"' and values["track"]["key"] == "8A"
    assert values["section"][1]["kind"] == "drop"
    grid = read_grid(sidecar)
    assert grid is not None and grid.steady
    assert grid.bpm == pytest.approx(120.0) and grid.anchors[0] == (0.0, 0.5)
    # The results are not corrections, and writing them again changes nothing.
    assert read_sidecar(str(sidecar)).names() == []
    assert not write_sidecar(str(sidecar), made(), 'A "title"', "Somebody")


def test_an_unsteady_grid_round_trips(sidecar: Path) -> None:
    anchors = ((-4.0, -1.2), (0.0, 0.5), (64.0, 32.6), (128.0, 64.1))
    write_sidecar(str(sidecar), replace(made(), tempo=Tempo(119.5, False, 0.8, anchors)))
    grid = read_grid(sidecar)
    assert grid is not None and not grid.steady
    assert grid.anchors == anchors[1:]


def test_a_grid_with_thousands_of_anchors_is_thinned(sidecar: Path) -> None:
    anchors = tuple((float(beat), 0.5 + beat * 0.5 + (beat % 2) * 0.01) for beat in range(3001))
    write_sidecar(str(sidecar), replace(made(), tempo=Tempo(120.0, False, 0.8, anchors)))
    grid = read_grid(sidecar)
    assert grid is not None and 400 < len(grid.anchors) <= 512
    assert set(grid.anchors) <= {(beat, round(second, 5)) for beat, second in anchors}
    assert grid.anchors[-1] == anchors[-1]


def test_a_persons_lines_are_kept_verbatim(sidecar: Path) -> None:
    sidecar.write_text(OWN, encoding="utf-8")
    write_sidecar(str(sidecar), made())
    text = sidecar.read_text(encoding="utf-8")
    assert text.startswith(OWN)
    assert '# key = "8A"' in text  # the result is a comment, because a person wrote the table
    write_sidecar(str(sidecar), made(bpm=90.0))
    text = sidecar.read_text(encoding="utf-8")
    assert text.startswith(OWN) and text.count("found by crowdstream") == 1
    assert read_sidecar(str(sidecar)).bpm == 124.0
    grid = read_grid(sidecar)
    assert grid is not None and grid.bpm == pytest.approx(90.0)


def test_editing_a_result_turns_it_into_a_correction(sidecar: Path) -> None:
    write_sidecar(str(sidecar), made())
    changed = sidecar.read_text(encoding="utf-8").replace('"8A"', '"9A"')
    sidecar.write_text(changed, encoding="utf-8")
    assert read_sidecar(str(sidecar)).key == "9A"
    write_sidecar(str(sidecar), made(bpm=90.0))
    corrections = read_sidecar(str(sidecar))
    assert corrections.key == "9A" and corrections.grid is not None
    assert corrections.grid.bpm == pytest.approx(120.0)


def test_a_persons_table_takes_precedence_over_the_result(sidecar: Path) -> None:
    write_sidecar(str(sidecar), made())
    text = "[grid]\nbpm = 100\n\n" + sidecar.read_text(encoding="utf-8") + "\n# the end\n"
    sidecar.write_text(text, encoding="utf-8")
    grid = read_grid(sidecar)  # although TOML forbids a second table of the same name
    assert grid is not None and grid.bpm == pytest.approx(100.0)
    write_sidecar(str(sidecar), made())
    text = sidecar.read_text(encoding="utf-8")
    assert "# the end" in text
    assert tomllib.loads(text)["grid"] == {"bpm": 100}


def test_writing_keeps_a_link_and_reports_a_read_only_folder(
    sidecar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real.toml"
    real.write_text("# mine\n", encoding="utf-8")
    sidecar.symlink_to(real)
    write_sidecar(str(sidecar), made())
    assert sidecar.is_symlink() and real.read_text(encoding="utf-8").startswith("# mine\n")

    def closed(*_arguments: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", closed)
    with pytest.raises(SidecarError, match="can't be written"):
        write_sidecar(str(sidecar), made(bpm=90.0))


@given(st.text(max_size=30))
def test_the_results_can_be_separated_from_a_persons_lines(comment: str) -> None:
    own = "".join(f"# {line}\n" for line in comment.splitlines() if line.isprintable())
    text = rewrite(own, "x = 1\n")
    assert split_sidecar(text)[1] == "x = 1\n"
    assert split_sidecar(text)[0].strip() == own.strip()
    assert rewrite(text, "y = 2\n") == rewrite(own, "y = 2\n")
    assert rewrite(text, "") == (own.rstrip() + "\n" if own.strip() else "")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_title_makes_a_readable_sidecar(title: str) -> None:
    lines = found_part(made(), title, "", {})
    assert tomllib.loads(lines)["track"].get("title", "") == title
