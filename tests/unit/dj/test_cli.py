"""`crowdstream plan`, and `crowdstream render` of the sets it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from crowdstream.analysis.result import Analysis
from crowdstream.cli import main
from crowdstream.dj.setfile.reader import read_set
from crowdstream.dj.setfile.timed_commands import placements
from crowdstream.library.database import Library
from crowdstream.library.models import Row
from crowdstream.library.scanner import STEMS, FileState
from tests.support.track_analyses import analysis, click_track

BARS = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three tracks of 16 bars, and their library."""
    for number in range(3):
        click_track(tmp_path, f"t{number}", 118 + number, 0.1, 4 * BARS)
    with Library(tmp_path / "library.db") as library:
        library.put([
            _row(
                tmp_path / f"t{n}",
                analysis(118 + n, f"{8 + n}A", n / 3, BARS, ("drums", "bass"), ()),
            )
            for n in range(3)
        ])  # fmt: skip
    return tmp_path


def _row(path: Path, known: Analysis) -> Row:
    files = tuple(FileState(file.stem, str(file), 1, 1, 1) for file in sorted(path.iterdir()))
    return Row(str(path), str(path), STEMS, files, path.name, "p", "", known.version, known)


def plan(folder: Path, *more: str) -> int:
    return main(["plan", str(folder), "--library", str(folder / "library.db"), *more])


def test_plan_writes_a_set_and_its_plot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "night.toml"
    assert plan(folder, "--minutes", "2", "-o", str(out), "--explain") == 0
    mix = read_set(out)
    assert {Path(entry.path).name for entry in mix.entries} == {"t0", "t1", "t2"}
    assert 'path = "t' in out.read_text()
    assert out.with_suffix(".svg").read_text().startswith("<svg")
    printed = capsys.readouterr()
    assert "opens the set" in printed.out
    assert "add more tracks" in printed.err


def test_a_planned_set_can_be_rendered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night, out = folder / "night.toml", folder / "night.wav"
    assert plan(folder, "--minutes", "2", "-o", str(night)) == 0
    assert main(["render", str(night), str(out), "--explain"]) == 0
    printed = capsys.readouterr()
    assert "-> " in printed.out
    assert not [line for line in printed.err.splitlines() if "past" in line]
    assert out.with_suffix(".svg").exists()
    mix = read_set(night)
    assert soundfile.info(out).duration > placements(mix)[-1].end * 60 / 125


def test_rendering_a_set_twice_gives_the_same_bits(folder: Path) -> None:
    night = folder / "night.toml"
    assert plan(folder, "--minutes", "1", "-o", str(night)) == 0
    outs = [folder / "one.wav", folder / "two.wav"]
    for out in outs:
        assert main(["render", str(night), str(out), "--quiet"]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert len(outs[0].read_bytes()) > 1_000_000


def test_unplayable_tracks_are_named_and_the_rest_is_planned(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Library(folder / "library.db") as library:
        bad = replace(_row(folder / "t1", analysis()), error="the file is empty", analysis=None)
        library.put([bad])
    (folder / "t2").rename(folder / "elsewhere")
    assert plan(folder, "--minutes", "2") == 0
    printed = capsys.readouterr()
    assert printed.out.count("[[track]]") == 1
    assert "t1: the file is empty" in printed.err
    assert "t2: the file no longer exists" in printed.err
    assert "the only track" in printed.err
    (folder / "t0").rename(folder / "somewhere")
    assert plan(folder, "--minutes", "2") == 1
    assert "no track can be played" in capsys.readouterr().err


def test_paths_are_relative_to_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    night = Path(folder.name) / "night.toml"
    assert plan(folder, "--minutes", "1", "-o", str(night)) == 0
    assert 'path = "t' in night.read_text()
    out = Path(folder.name) / "night.wav"
    assert main(["render", str(night), str(out), "--quiet", "--duration", "1"]) == 0
    assert out.exists()


def test_without_a_file_name_the_set_goes_to_standard_output(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(folder, "--seed", "3") == 0
    first = capsys.readouterr().out
    assert first.startswith("[set]")
    assert plan(folder, "--seed", "3") == 0
    assert capsys.readouterr().out == first


def test_render_reports_an_error_in_a_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = folder / "night.toml"
    night.write_text('[[track]]\npath = "t0"\nbpm = 118\nleave = 8\nleave_at = 3\n')
    assert main(["render", str(night), str(folder / "o.wav")]) == 1
    assert "night.toml, line 5: unknown key 'leave_at'" in capsys.readouterr().err
    text = folder / "plain.set"
    text.write_text("0 /deck/A/load t0\n")
    assert main(["render", str(text), str(folder / "o.wav"), "--explain"]) == 1
    assert "--explain needs a DJ's set" in capsys.readouterr().err


def test_errors_in_planning_are_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    library = ("--library", str(folder / "library.db"))
    assert main(["plan", str(empty), *library]) == 1
    assert "no analysed tracks here; run crowdstream analyze" in capsys.readouterr().err
    assert main(["plan", str(tmp_path / "nowhere"), *library]) == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert main(["plan", str(folder), "--library", str(folder / "none.db")]) == 1
    assert "make one with crowdstream analyze" in capsys.readouterr().err
    assert plan(folder, "--energy", "sideways") == 1
    assert "must be one of rise, wave, peak" in capsys.readouterr().err
    assert plan(folder, "-o", str(folder / "no" / "where.toml")) == 1
    assert "cannot be written" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        plan(folder, "--minutes", "0")
    assert caught.value.code == 2
