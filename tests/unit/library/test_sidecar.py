"""Sidecars: what a person writes wins, stays as it was written, and mistakes have a line."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.analysis.result import Tempo
from crowdstream.audiofile.beatgrid import read_sidecar as read_grid
from crowdstream.audiofile.sidecar import rewrite, split
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


def test_all_that_can_be_said(sidecar: Path) -> None:
    sidecar.write_text(OWN + "[grid]\nbpm = 125\nfirst_downbeat = 0.2\n", encoding="utf-8")
    said = read_sidecar(str(sidecar))
    assert (said.title, said.key, said.bpm, said.artist) == ('Night "Drive"', "8A", 124.0, None)
    assert said.vocals == ((1.0, 2.5),)
    assert said.sections == ((0, 64, "intro", None), (64, 128, "drop", 0.9))
    fixed = said.apply(made(300.0))
    # A grid goes before a tempo.
    assert fixed.tempo.bpm == pytest.approx(125.0) and fixed.tempo.anchors[0] == (0.0, 0.2)
    assert fixed.key.name == "8A" and fixed.key.confidence == 1.0
    assert [one.kind for one in fixed.sections] == ["intro", "drop"]
    assert 0.0 < fixed.sections[0].energy < 0.2  # the mean of its bars
    assert fixed.vocals.spans == ((1.0, 2.5),)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('[track]\nkey = "X"\n', 2, "write it as 8A"),
        ("[track]\ntitle = 5\n", 2, "title is a text"),
        ("\n[track]\nbpm = 1000\n", 3, "bpm is a number from 20 to 400"),
        ("[track]\nbpm = true\n", 2, "bpm is a number"),
        ("[track]\nbpm = nan\n", 2, "bpm is a number"),
        ("[track]\nbmp = 120\n", 2, "bmp means nothing here"),
        ("[trak]\nbpm = 120\n", 1, "trak means nothing here"),
        ("track = 5\n", 1, "write [track]"),
        ("[track]\nvocals = [[5, 1]]\n", 2, "ascending"),
        ("[track]\nvocals = 5\n", 2, "list of [begin, end]"),
        ("[track]\nsections = []\n", 2, "write [[section]]"),
        ('[[section]]\nbegin = 0\nend = 4\nkind = "solo"\n', 4, "kind is one of intro"),
        ('[[section]]\nbegin=0\nend=4\nkind="drop"\n[[section]]\nbegin=2\nend=9\nkind="drop"',
         6, "begins before"),
        ('[[section]]\nbegin = 0\nkind = "drop"\n', 1, "end is missing"),
        ("[section]\nbegin = 0\n", 1, "write [[section]]"),
        ("[grid]\nbpm = 5\n", 1, "out of range"),
        ("[track]\nkey = \n", 2, "Invalid value"),
        ("[track\n", 1, "Expected"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line_and_its_reason(
    sidecar: Path, text: str, line: int, reason: str
) -> None:
    sidecar.write_text(text, encoding="utf-8")
    with pytest.raises(SidecarError) as told:
        read_sidecar(str(sidecar))
    assert f"song.crowdstream.toml line {line}: " in str(told.value)
    assert reason in str(told.value)
    # Nothing is written over a file with a mistake.
    with pytest.raises(SidecarError):
        write_sidecar(str(sidecar), made())
    assert sidecar.read_text(encoding="utf-8") == text


def test_what_is_no_text_or_too_long_or_a_folder(sidecar: Path) -> None:
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


def test_what_was_found_can_be_read_and_gives_the_loader_its_grid(sidecar: Path) -> None:
    assert write_sidecar(str(sidecar), made(), 'A "title"', "Somebody")
    values = tomllib.loads(sidecar.read_text(encoding="utf-8"))
    assert values["track"]["title"] == 'A "title"' and values["track"]["key"] == "8A"
    assert values["section"][1]["kind"] == "drop"
    grid = read_grid(sidecar)
    assert grid is not None and grid.steady
    assert grid.bpm == pytest.approx(120.0) and grid.anchors[0] == (0.0, 0.5)
    # It is no correction, and writing it again changes nothing.
    assert read_sidecar(str(sidecar)).names() == []
    assert not write_sidecar(str(sidecar), made(), 'A "title"', "Somebody")


def test_an_unsteady_grid_comes_back_whole(sidecar: Path) -> None:
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


def test_what_a_person_wrote_stays_to_the_letter(sidecar: Path) -> None:
    sidecar.write_text(OWN, encoding="utf-8")
    write_sidecar(str(sidecar), made())
    text = sidecar.read_text(encoding="utf-8")
    assert text.startswith(OWN)
    assert '# key = "8A"' in text  # found, and shown as a comment: the table is a person's
    write_sidecar(str(sidecar), made(bpm=90.0))
    text = sidecar.read_text(encoding="utf-8")
    assert text.startswith(OWN) and text.count("found by crowdstream") == 1
    assert read_sidecar(str(sidecar)).bpm == 124.0
    grid = read_grid(sidecar)
    assert grid is not None and grid.bpm == pytest.approx(90.0)


def test_a_changed_line_of_what_was_found_makes_it_a_persons(sidecar: Path) -> None:
    write_sidecar(str(sidecar), made())
    changed = sidecar.read_text(encoding="utf-8").replace('"8A"', '"9A"')
    sidecar.write_text(changed, encoding="utf-8")
    assert read_sidecar(str(sidecar)).key == "9A"
    write_sidecar(str(sidecar), made(bpm=90.0))
    said = read_sidecar(str(sidecar))
    assert said.key == "9A" and said.grid is not None
    assert said.grid.bpm == pytest.approx(120.0)


def test_a_table_written_beside_the_one_that_was_found_wins(sidecar: Path) -> None:
    write_sidecar(str(sidecar), made())
    text = "[grid]\nbpm = 100\n\n" + sidecar.read_text(encoding="utf-8") + "\n# the end\n"
    sidecar.write_text(text, encoding="utf-8")
    grid = read_grid(sidecar)  # though TOML knows no table twice
    assert grid is not None and grid.bpm == pytest.approx(100.0)
    write_sidecar(str(sidecar), made())
    text = sidecar.read_text(encoding="utf-8")
    assert "# the end" in text
    assert tomllib.loads(text)["grid"] == {"bpm": 100}


def test_a_link_stays_a_link_and_a_closed_folder_is_told(
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
def test_what_was_found_can_be_taken_out_again(comment: str) -> None:
    own = "".join(f"# {line}\n" for line in comment.splitlines() if line.isprintable())
    text = rewrite(own, "x = 1\n")
    assert split(text)[1] == "x = 1\n"
    assert split(text)[0].strip() == own.strip()
    assert rewrite(text, "y = 2\n") == rewrite(own, "y = 2\n")
    assert rewrite(text, "") == (own.rstrip() + "\n" if own.strip() else "")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_title_makes_a_readable_sidecar(title: str) -> None:
    lines = found_part(made(), title, "", {})
    assert tomllib.loads(lines)["track"].get("title", "") == title
