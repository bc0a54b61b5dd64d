"""The tables of the library, and how those of older versions become today's."""

from __future__ import annotations

import sqlite3

APPLICATION = 0x43524F57  # "CROW" in the file's header: a database that is ours

# Each step makes one version of the next lower one; what was released is not changed any more.
STEPS: list[str] = [
    """
    CREATE TABLE tracks (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,      -- real path, in the system's bytes
        play BLOB NOT NULL,             -- what a deck loads: the same, or a folder of its stems
        kind TEXT NOT NULL,             -- 'stems', 'stem file' or 'file'
        files TEXT NOT NULL,            -- JSON: [stem, path, size, mtime in ns, inode] of each
        stamp TEXT NOT NULL,            -- sizes and times of the files
        probe TEXT NOT NULL,            -- hash of some of their bytes, '' where they are unread
        error TEXT NOT NULL,            -- why it is a bad track; '' for a good one
        version INTEGER NOT NULL,       -- of the analysis
        analysis TEXT NOT NULL,         -- JSON, as found; '' of a bad track
        tags TEXT NOT NULL,             -- JSON
        sidecar INTEGER NOT NULL,       -- mark of the sidecar that was read, 0: there was none
        written TEXT NOT NULL,          -- JSON: corrections in the sidecar
        corrections TEXT NOT NULL,      -- JSON: corrections by --set
        corrected TEXT NOT NULL,        -- JSON: the analysis with both; '' where there are none
        gone INTEGER NOT NULL DEFAULT 0,  -- it was looked for and not there
        -- To search by; corrections are in them.
        name TEXT NOT NULL, title TEXT NOT NULL, artist TEXT NOT NULL, words TEXT NOT NULL,
        bpm REAL, key TEXT, level REAL, lufs REAL, seconds REAL, silent INTEGER
    ) STRICT;
    CREATE INDEX tracks_by_bpm ON tracks (bpm);
    CREATE INDEX tracks_by_play ON tracks (play);
    CREATE INDEX tracks_by_stamp ON tracks (stamp);
    """,
    """
    ALTER TABLE tracks ADD COLUMN sure REAL;   -- confidence of the grid, 0 to 1
    ALTER TABLE tracks ADD COLUMN doubt TEXT;  -- what speaks against it, in words
    """,
]


class TooNew(Exception):
    """The database was made by a later version of the program."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring old ones up to date, in one transaction each.

    Raises `TooNew`, and `sqlite3.DatabaseError` for a file that is no database, or not ours.
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
    """The version of the tables, 0 where there are none yet. Raises as `prepare` does."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (tables or application):
        raise sqlite3.DatabaseError("it is a database of another program")
    if version > len(STEPS):
        raise TooNew
    return int(version)


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the tables are those of this version. Raises as `prepare` does."""
    return version_of(connection) == len(STEPS)


def _statements(script: str) -> list[str]:
    # sqlite3's executescript would commit before it begins.
    statements, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements
