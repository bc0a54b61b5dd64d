"""Folders of short tracks, and a library that has analysed them."""

from __future__ import annotations

from pathlib import Path

from crowdstream.library.database import Library
from crowdstream.library.models import Row
from crowdstream.library.scanner import Scanner
from tests.support.simulated_dj import BPM, tone_set
from tests.support.track_analyses import analysis

KEYS = ("8A", "9A", "8A", "7A")


def analyse(library: Path, folder: Path, bars: int = 24, bpm: float = BPM) -> None:
    """Write an analysis of each track in the folder to the library."""
    found = list(Scanner(lambda _path, _reason: None).find([str(folder)]))
    rows = []
    for number, track in enumerate(found):
        known = analysis(bpm, KEYS[number % 4], number / len(found), bars, (), sung=())
        rows.append(Row(track.path, track.path, track.kind, track.files, track.name, "p", "",
                        known.version, known))  # fmt: skip
    with Library(library) as opened:
        opened.put(rows)


def music(folder: Path, names: str, beats: int = 100) -> Path:
    """Make a folder with a track for each letter."""
    folder.mkdir()
    tone_set(folder, names, beats)
    return folder
