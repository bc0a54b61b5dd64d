"""Set files: reading, writing, and errors with their line numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crowdstream.dj.planning.planner import Planner, PlanOptions
from crowdstream.dj.setfile.errors import SetError
from crowdstream.dj.setfile.model import AutomationPoint, Set
from crowdstream.dj.setfile.reader import parse_set, read_set
from crowdstream.dj.setfile.writer import write_set
from tests.support.track_analyses import click_track, club

GOOD = """\
[set]
bpm = 120

[[track]]
path = "one"
bpm = 120
first_downbeat = 0.5
enter = 4
leave = 68
gain = -1.5
  [track.transition]
  kind = "bass swap"  # by hand
  bars = 4
  moves = [
    [0, "in", "low", 0],
    [8, "in", "low", 1, 2], [8, "out", "low", 0],
    [-4, "clock", "tempo", 121, 16],
    [12, "out", "drums", 0.5, 4],
  ]

[[track]]
path = "two"
grid = [[0, 0.25], [32, 16.25], [64, 32.5]]
leave = 32
ratio = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    click_track(tmp_path, "one", 120, 0.5, 72)
    click_track(tmp_path, "two", 120, 0.25, 72)
    return tmp_path


def parse(folder: Path, text: str) -> Set:
    return parse_set(text.encode(), folder / "night.toml")


def test_a_set_file_is_read(folder: Path) -> None:
    mix = parse(folder, GOOD)
    one, two = mix.entries
    assert (mix.bpm, one.bpm, one.enter, one.leave, one.gain_db) == (120, 120, 4, 68, -1.5)
    assert one.second(8) == pytest.approx(4.5)
    assert one.stems == ("drums", "bass")
    assert one.path == str(folder / "one")
    assert one.transition is not None
    assert one.transition.beats == 16
    assert one.transition.rows[3] == AutomationPoint(-4, "clock", "tempo", 121, 16)
    assert (two.enter, two.leave, two.ratio, two.beats) == (0, 32, 2, 16)
    assert two.second(48) == pytest.approx(24.375)


def test_without_a_tempo_the_set_starts_at_that_of_the_first_track(folder: Path) -> None:
    assert parse(folder, GOOD.replace("bpm = 120\n\n[[", "\n[[")).bpm == 120


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('"one"', '"nowhere"', 5, "no such file or folder"),
        ("leave = 68", "leave = 2", 9, "leave 2 is not after enter 4"),
        ("leave = 68", "leaves = 68", 9, "unknown key 'leaves'"),
        ("leave = 68\n", "", 4, "leave is missing"),
        ("enter = 4", 'enter = "x"', 8, "enter must be from -4096 to 1e+06, not x"),
        ("enter = 4", "enter = -2", 8, "before the file begins"),
        ("gain = -1.5", "gain = true", 10, "gain must be from -24 to 24"),
        ("bars = 4", "bars = 400", 13, "bars must be from 0 to 256"),
        ("bars = 4", "bars = 32", 5, "its transitions need 128"),
        ('[0, "in", "low", 0]', '[0, "in", "low"]', 15, "a move is"),
        ('[0, "in", "low", 0]', '[0, "into", "low", 0]', 15, "\"clock\", not for 'into'"),
        ('[8, "out", "low", 0]', '[8, "out", "lo", 0]', 16, "neither a control"),
        ('[8, "out", "low", 0]', '[8, "out", "low", 9]', 16, "low must be from 0 to 4, not 9"),
        ('"tempo", 121', '"tempo", 12', 17, "tempo must be from 20 to 400, not 12"),
        ('"drums", 0.5', '"choir", 0.5', 18, "its stems are drums, bass"),
        ("ratio = 2", "ratio = 3", 25, "ratio must be from 0.5 to 2, not 3"),
        ("ratio = 2", "ratio = 1.5", 25, "ratio must be 0.5, 1 or 2, not 1.5"),
        ("[32, 16.25]", "[32, 0.1]", 23, "does not come after"),
        ("leave = 68", "leave = 6800", 9, "after the track's end: it lasts 37.5 s, to beat 74"),
        ("gain = -1.5", 'key = "Am"', 10, "key must be a Camelot key, 1A to 12B"),
        ("gain = -1.5", 'stems = ["drums"]', 10, "1 stem names, but the track has 2 stems"),
        ('[8, "out", "low", 0]', '[8, "out", "echo.size", 1]', 16, "echo has no 'size'"),
        ('[8, "out", "low", 0]', '[8, "out", "echo.feedback", 7]', 16, "feedback must be from"),
        ("[-4, ", "[-49, ", 17, "at beat 48, the set has not started"),
        ("[set]", "[sets]", 1, "unknown 'sets'"),
        ("bpm = 120\n\n", "bpm = 120\nbpm = 121\n\n", 3, "overwrite"),
    ],
)
def test_an_error_is_reported_with_its_line(
    folder: Path, old: str, new: str, line: int, reason: str
) -> None:
    assert old in GOOD
    with pytest.raises(SetError) as caught:
        parse(folder, GOOD.replace(old, new, 1))
    assert f"night.toml, line {line}: " in str(caught.value)
    assert reason in str(caught.value)


def test_incoming_automation_needs_a_following_track(folder: Path) -> None:
    text = GOOD[: GOOD.rindex("[[track]]")]
    with pytest.raises(SetError, match="line 15: no track follows"):
        parse(folder, text)
    # The last track may end with a transition of its own, such as a fade-out.
    kept = [line for line in text.splitlines() if '"in"' not in line]
    mix = parse(folder, "\n".join(kept))
    assert mix.entries[-1].transition is not None


@pytest.mark.parametrize("text", ["", "[set]\n", "track = 3\n", "[[track]]\n", "set = 1\n"])
def test_a_file_without_tracks_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(SetError, match=r"night\.toml, line 1: "):
        parse(folder, text)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SetError, match=r"none\.toml: cannot be read"):
        read_set(tmp_path / "none.toml")


def test_a_planned_set_survives_writing_and_reading(tmp_path: Path) -> None:
    mix = Planner(club(5), PlanOptions(8)).plan().mix
    first, *others = mix.entries
    mix = replace(mix, entries=(replace(first, pitch=-1.0), *others))
    for entry in mix.entries:
        folder = tmp_path / entry.path.rpartition("/")[2]
        folder.mkdir()
        for stem in entry.stems:
            (folder / f"{stem}.wav").touch()
    text = write_set(mix).replace('"/music/', '"')
    reread = parse_set(text.encode(), tmp_path / "set.toml")
    assert write_set(reread, tmp_path) == text
    for before, after in zip(mix.entries, reread.entries, strict=True):
        assert (before.enter, before.leave, before.ratio) == (after.enter, after.leave, after.ratio)
        assert (before.pitch, before.key) == (after.pitch, after.key)
        assert before.transition == after.transition
        for beat in (before.enter, before.leave):
            assert after.second(beat) == pytest.approx(before.second(beat), abs=1e-9)
