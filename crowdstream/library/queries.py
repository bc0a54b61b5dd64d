"""SQL statements of the library; values are always bound, never part of a statement."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from crowdstream.library.models import COLUMNS
from crowdstream.system.safe_open import nearest_spelling

_NAMES = ", ".join(COLUMNS)
_MARKS = ", ".join("?" * len(COLUMNS))
_NEW = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "path")

ROW = f"SELECT {_NAMES} FROM tracks"  # nosec B608  # our own columns
PUT = (
    f"INSERT INTO tracks ({_NAMES}) VALUES ({_MARKS}) "  # nosec B608  # our own columns
    f"ON CONFLICT (path) DO UPDATE SET {_NEW}"
)
KNOWN = "SELECT id, path, play, files, stamp, probe, error, version, sidecar, gone FROM tracks"
ENTRY = (
    "SELECT id, path, play, kind, name, title, artist, bpm, key, level, lufs, seconds, silent, "
    "error, gone, files, tags, corrected <> '', sure, doubt FROM tracks"
)
ANALYSIS = "SELECT iif(corrected = '', analysis, corrected), path FROM tracks WHERE id = ?"
ALIKE = "SELECT path, probe FROM tracks WHERE stamp = ? AND error = ''"
GONE = "UPDATE tracks SET gone = ? WHERE id = ?"
FORGET = "DELETE FROM tracks WHERE path = ?"


def below(roots: Sequence[str]) -> tuple[str, list[bytes]]:
    """Return an SQL condition that selects `roots` and all paths below them, and its values.

    Paths are compared as bytes: everything below a folder sorts between folder + "/" and
    folder + "0", the character after "/".
    """
    if not roots:
        return "1", []
    clauses, values = [], []
    for root in roots:
        name = os.fsencode(os.path.realpath(nearest_spelling(Path(root))))
        stem = name.rstrip(b"/")
        clauses.append("(path = ? OR (path > ? AND path < ?))")
        values += [name, stem + b"/", stem + b"0"]
    return "(" + " OR ".join(clauses) + ")", values
