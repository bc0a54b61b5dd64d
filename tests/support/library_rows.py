"""Rows for a library's database, without any files or analysis."""

from __future__ import annotations

from pathlib import Path

from crowdstream.analysis.result import VERSION
from crowdstream.library.models import Row
from crowdstream.library.scanner import SINGLE, FileState
from tests.support.instant_analysis import made


def row(path: str, bpm: float = 120.0, error: str = "", **tags: str) -> Row:
    """Return a track with one file."""
    found = None if error else made(200.0, bpm)
    files = (FileState("a", path, 100, 5, 7),)
    name = Path(path).stem
    return Row(path, path, SINGLE, files, name, "p", error, VERSION, found, dict(tags))
