"""Set files: their contents, and errors with the line number."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from crowdstream.dj.setfile.errors import SetError
from crowdstream.offline.cues import Moment, Set
from crowdstream.offline.set_formats import read_set
from tests.support.set_rendering import score


def read(folder: Path, text: str | bytes) -> Set:
    path = folder / "evening.set"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_set(path)


def test_a_line_is_a_time_an_address_and_arguments(folder: Path) -> None:
    mix = read(
        folder,
        "# a comment\n\n  0.5 /deck/a/load steady.wav 0.25  # cue\n"
        "@64 /deck/B/level 1 2.5\r\n@96.5 end\n",
    )
    load, level = mix.cues
    assert load.at == Moment(0.5)
    assert load.address == "/deck/a/load"
    assert load.arguments == (str(folder / "steady.wav"), 0.25)
    assert load.place == f"{folder}/evening.set, line 3"
    assert level.at == Moment(64.0, beats=True)
    assert level.arguments == (1, 2.5)
    assert mix.end == Moment(96.5, beats=True)


def test_paths_may_be_quoted_and_are_relative_to_the_sets_folder(folder: Path) -> None:
    (folder / "my stems").mkdir()
    (folder / "steady.wav").rename(folder / "my stems" / "#1.wav")
    for text in ('"my stems/#1.wav"', r"my\ stems/\#1.wav", f"'{folder}/my stems/#1.wav'"):
        (cue,) = read(folder, f"0 /deck/A/load {text}").cues
        assert cue.arguments == (str(folder / "my stems/#1.wav"),)


def test_a_tilde_is_the_users_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (cue,) = read(folder, "0 /deck/A/load ~/steady.wav").cues
    assert cue.arguments == (str(folder / "steady.wav"),)


def test_a_path_that_looks_like_a_number_is_a_path(folder: Path) -> None:
    (folder / "steady.wav").rename(folder / "303")
    (cue,) = read(folder, "0 /cue A 303").cues
    assert cue.arguments == ("A", str(folder / "303"))


def test_floats_have_the_precision_of_an_osc_message(folder: Path) -> None:
    (cue,) = read(folder, "0 /deck/A/rate 1.06").cues
    assert cue.arguments == (float(np.float32(1.06)),)


def test_a_group_start_accepts_its_number_anywhere(folder: Path) -> None:
    first, last = read(folder, "0 /start_group 8 A B\n0 /start_group A B 8").cues
    assert first.arguments == (8, "A", "B")
    assert last.arguments == ("A", "B", 8)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 /deck/A/leval 1", r"/deck/A/leval: unknown address \(did you mean /deck/A/level\?\)"),
        ("0 /deck/A/level", r"/deck/A/level: gain is missing \(/deck/"),
        ("0 /deck/A/level loud", "/deck/A/level: gain: 'loud' is not a number"),
        ("0 /deck/A/level 9", "gain: 9 is out of range, 0 to 4"),
        ("0 /deck/A/level nan", "gain: nan is not finite"),
        ("0 /deck/A/play 0 0.5", "loop: 0.5 is not a whole number"),
        ("0 /deck/A/stop now", "1 arguments are too many"),
        ("0 /cue E steady.wav", "deck: 'E' must be one of A, B, C, D"),
        ("0 /deck/A/load gone.wav", "/deck/A/load: .*gone.wav: there is no such file"),
        ("0 /deck/A/load 'gone.wav", "no closing quotation"),
        ("/deck/A/play", "a line must begin with its time in seconds .12.5. or beats .@64."),
        ("@ /deck/A/play", "a line must begin with its time"),
        ("inf /deck/A/play", "a line must begin with its time"),
        ("-1 /deck/A/play", "a time must be 0 to 1e.06 seconds, not -1"),
        ("@1e9 /deck/A/play", "a time must be 0 to 1e.07 beats, not 1e.09"),
        ("7", "the command at 7 is missing"),
        ("7 end now", "nothing can follow `end`"),
        ("7 end\n8 end", "the end is already set"),
    ],
)
def test_errors_are_reported_with_the_line(folder: Path, line: str, reason: str) -> None:
    number = 2 + line.count("\n")
    with pytest.raises(SetError, match=rf"evening.set, line {number}: .*{reason}"):
        read(folder, f"0 /deck/A/load steady.wav\n{line}\n")


def test_a_file_that_is_not_text_is_refused(folder: Path) -> None:
    with pytest.raises(SetError, match="line 2: it is not UTF-8"):
        read(folder, b"# fine\n\xff\xfe\x00")
    with pytest.raises(SetError, match=r"it can't be read \(No such file"):
        read_set(folder / "none.set")


def test_a_score_consists_of_bundles(folder: Path) -> None:
    mix = read(
        folder,
        score(
            (0.0, [("/deck/A/load", ("steady.wav",)), ("/deck/A/play", ())]),
            (1.5, [("/deck/A/level", (0.5,))]),
            (3.0, []),
        ),
    )
    assert [cue.at.value for cue in mix.cues] == pytest.approx([0.0, 0.0, 1.5], abs=1e-6)
    assert mix.cues[0].arguments == (str(folder / "steady.wav"),)
    assert mix.cues[2].place.endswith("evening.set, bundle 2")
    assert mix.end == Moment(3.0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (score((0.0, [("/nothing", ())])), "bundle 1: /nothing: unknown address"),
        (score((0.0, []), (1.0, [])), "bundle 2: the empty bundle before it"),
        (score((0.0, [("/deck/A/play", ())]))[:-4], "bundle 1: its length is 40 bytes, but 36"),
        (score((0.0, [("/deck/A/play", ())])) + b"\0", "bundle 2: the file ends within"),
        (struct.pack(">i", 20) + b"#bundle\0" + bytes(12), "bundle 1: an element of a bundle"),
        (struct.pack(">i", -1) + b"#bundle\0" + bytes(8), "bundle 1: its length is -1 bytes"),
    ],
)
def test_errors_in_a_score_name_the_bundle(folder: Path, data: bytes, reason: str) -> None:
    with pytest.raises(SetError, match=reason):
        read(folder, data)
