"""The database schema of the library, and its migrations from older versions.

SQL statements of the library; values are always bound, never part of a statement.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from crowdstream.library.models import COLUMNS
from crowdstream.system.safe_open import nearest_spelling

APPLICATION = 0x43524F57  # "CROW", SQLite's application_id: marks the file as a library of ours

# Each step migrates the schema by one version. Released steps must not be changed.
STEPS: list[str] = [
    """
    CREATE TABLE tracks (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,      -- real path, in the file system's encoding
        play BLOB NOT NULL,             -- path that a deck loads: the same, or a folder of stems
        kind TEXT NOT NULL,             -- 'stems', 'stem file' or 'file'
        files TEXT NOT NULL,            -- JSON: [stem, path, size, mtime in ns, inode] of each
        stamp TEXT NOT NULL,            -- sizes and modification times of the files
        probe TEXT NOT NULL,            -- hash of samples of their bytes, '' if they were not read
        error TEXT NOT NULL,            -- reason why the track cannot be used, '' for a good track
        version INTEGER NOT NULL,       -- version of the analysis method
        analysis TEXT NOT NULL,         -- JSON, without corrections, '' for a bad track
        tags TEXT NOT NULL,             -- JSON
        sidecar INTEGER NOT NULL,       -- mark of the sidecar that was read, 0 without a sidecar
        written TEXT NOT NULL,          -- JSON: corrections in the sidecar
        corrections TEXT NOT NULL,      -- JSON: corrections by --set
        corrected TEXT NOT NULL,        -- JSON: the analysis with all corrections, '' without any
        gone INTEGER NOT NULL DEFAULT 0,  -- 1 if the last run did not find the track
        -- Columns to search by, with corrections applied.
        name TEXT NOT NULL, title TEXT NOT NULL, artist TEXT NOT NULL, words TEXT NOT NULL,
        bpm REAL, key TEXT, level REAL, lufs REAL, seconds REAL, silent INTEGER
    ) STRICT;
    CREATE INDEX tracks_by_bpm ON tracks (bpm);
    CREATE INDEX tracks_by_play ON tracks (play);
    CREATE INDEX tracks_by_stamp ON tracks (stamp);
    """,
    """
    ALTER TABLE tracks ADD COLUMN sure REAL;   -- confidence in the beat grid, 0 to 1
    ALTER TABLE tracks ADD COLUMN doubt TEXT;  -- why the grid may be wrong, as text
    """,
    """
    ALTER TABLE tracks ADD COLUMN downbeat REAL;  -- confidence in the downbeat, 0 to 1
    """,
]


class SchemaTooNew(Exception):
    """The database was written by a newer version of CrowdStream."""


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables, or migrate old ones, with one transaction per version.

    Raises `SchemaTooNew`, and `sqlite3.DatabaseError` if the file is not a database or belongs to
    another program.
    """
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = version_of(connection)
            if version == len(STEPS):
                connection.execute("ROLLBACK")
                return
            for statement in _statements(STEPS[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version, 0 for an empty database. Raises the errors of `prepare`."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (tables or application):
        raise sqlite3.DatabaseError("it is the database of another program")
    if version > len(STEPS):
        raise SchemaTooNew
    return int(version)


def is_current(connection: sqlite3.Connection) -> bool:
    """Return whether the schema is up to date. Raises the errors of `prepare`."""
    return version_of(connection) == len(STEPS)


def _statements(script: str) -> list[str]:
    # `executescript` cannot be used: it commits the pending transaction first.
    statements, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements


_NAMES = ", ".join(COLUMNS)
_MARKS = ", ".join("?" * len(COLUMNS))
_NEW = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "path")

ROW = f"SELECT {_NAMES} FROM tracks"  # nosec B608  # our own columns
PUT = (
    f"INSERT INTO tracks ({_NAMES}) VALUES ({_MARKS}) "  # nosec B608  # our own columns
    f"ON CONFLICT (path) DO UPDATE SET {_NEW}"
)
KNOWN = (
    "SELECT id, path, play, files, stamp, probe, error, version, sidecar, gone, "
    """error <> '' OR instr(tags, '"labels"') > 0 FROM tracks"""
)
ENTRY = (
    "SELECT id, path, play, kind, name, title, artist, bpm, key, level, lufs, seconds, silent, "
    "error, gone, files, tags, corrected <> '', sure, doubt, downbeat FROM tracks"
)
ANALYSIS = "SELECT iif(corrected = '', analysis, corrected), path FROM tracks WHERE id = ?"
CORRECTIONS = "SELECT corrections FROM tracks WHERE path = ?"
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
