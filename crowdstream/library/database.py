"""The library database: the analysis of every track, in one SQLite file.

Any number of processes may read while one process writes. Transactions are short. SQLite's
write-ahead log rolls back a transaction that a kill or a power failure has interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from crowdstream.analysis.result import Analysis
from crowdstream.library import schema
from crowdstream.library.corrections import Corrections
from crowdstream.library.models import (
    Entry,
    KnownTrack,
    Query,
    Row,
    corrections_of,
    entry_of,
    known_of,
    values_of,
)
from crowdstream.library.schema import SchemaTooNew, is_current, prepare, version_of
from crowdstream.system.text import printable

PATIENCE_SECONDS = 60.0  # a writer waits this long for another writer's lock
_WAIT_MS = int(PATIENCE_SECONDS * 1000)

_CORRUPT = (ValueError, KeyError, TypeError, AttributeError)  # of JSON in a column

T = TypeVar("T")


class LibraryError(Exception):
    """The library cannot be used; the message names the file, the reason and the remedy."""


class LibraryDamaged(LibraryError):
    """The file is not a library, or it is corrupt."""


class LibraryNotFound(LibraryError):
    """The library file does not exist, and was opened for reading only."""


def move_aside(path: Path) -> Path | None:
    """Rename a library's files to make room for a new library.

    Returns the new path, or None if there was no library.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.old-{stamp}")
    moved = None
    for ending in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{ending}", f"{aside}{ending}")
            moved = aside
    return moved


class Library:
    """An open library; use it from one thread at a time.

    `write=True` opens it for writing, and creates or migrates it if necessary. Every method raises
    `LibraryDamaged` if the file is corrupt, and `LibraryError` if it cannot be read or written.
    """

    def __init__(self, path: Path, write: bool = True) -> None:
        self.path = path
        self._db = self._guard(lambda: self._open(write))

    def _open(self, write: bool) -> sqlite3.Connection:
        if not write and not self.path.exists():
            raise LibraryNotFound(
                f"{printable(self.path)}: there is no library; "
                "make one with crowdstream analyze FOLDER"
            )
        if write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        name = self.path.absolute().as_uri() + ("" if write else "?mode=ro")
        database = sqlite3.connect(
            name, timeout=PATIENCE_SECONDS, isolation_level=None, uri=True, check_same_thread=False
        )
        try:
            database.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
            if write:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                prepare(database)
            elif not version_of(database):
                raise sqlite3.DatabaseError("it is empty")
            elif not is_current(database):
                # An older version created the library: migrate it, which requires write access.
                database.close()
                Library(self.path).close()
                return self._open(write)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close the database; further calls have no effect."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Writing --------------------------------------------------------------------------------

    def put(self, rows: Sequence[Row]) -> None:
        """Insert tracks, or replace the rows with the same paths, in one transaction.

        Existing corrections by --set are kept: another process may have changed them since these
        rows were read. Only `correct` changes them.
        """
        def work() -> None:
            for row in rows:
                before = self._corrections(row.path)
                if before is not None:
                    row.corrections = before
                    vars(row).pop("corrected", None)
                self._put(row)

        self._write(work)

    def correct(self, path: str, change: Callable[[Corrections], Corrections]) -> Row:
        """Apply `change` to the corrections of the track at a real path; return the new row.

        Raises KeyError if the library has no such track.
        """

        def work() -> Row:
            row = self._row(path)
            if row is None:
                raise KeyError(path)
            row.corrections = change(row.corrections)
            self._put(row)
            return row

        return self._write(work)

    def _put(self, row: Row) -> None:
        self._db.execute(schema.PUT, values_of(row))

    def mark_gone(self, numbers: Iterable[int], gone: bool = True) -> None:
        """Mark tracks, by number, as missing from the disk, or with `gone=False` as present."""
        pairs = [(int(gone), number) for number in numbers]
        self._write(lambda: self._db.executemany(schema.GONE, pairs))

    def forget(self, paths: Iterable[str]) -> None:
        """Delete the tracks at these paths, their corrections included."""
        ones = [(os.fsencode(path),) for path in paths]
        self._write(lambda: self._db.executemany(schema.FORGET, ones))

    # Reading --------------------------------------------------------------------------------

    def known(self, roots: Sequence[str] = ()) -> dict[str, KnownTrack]:
        """Return what change detection needs about each track below `roots`, keyed by path.

        Without roots, all tracks are returned. Corrupt entries are left out: to the next run, their
        tracks are new.
        """
        where, values = schema.below(roots)
        sql = f"{schema.KNOWN} WHERE {where}"
        rows = self._guard(lambda: self._db.execute(sql, values).fetchall())
        return {known.path: known for known in _intact(known_of, rows)}

    def row(self, path: str) -> Row | None:
        """Return the complete row of the track at a real path, or None."""
        return self._guard(lambda: self._row(path))

    def _row(self, path: str) -> Row | None:
        sql = f"{schema.ROW} WHERE path = ?"
        found = self._db.execute(sql, (os.fsencode(path),)).fetchone()
        return self._row_of(found) if found else None

    def _corrections(self, path: str) -> Corrections | None:
        # They do not depend on the rest of the entry, which may be corrupt.
        found = self._db.execute(schema.CORRECTIONS, (os.fsencode(path),)).fetchone()
        try:
            return corrections_of(found[0]) if found else None
        except _CORRUPT:
            return None

    def _row_of(self, values: Sequence[Any]) -> Row:
        try:
            return Row.from_values(values)
        except _CORRUPT:
            raise self._destroyed(os.fsdecode(values[0])) from None

    def find_by_stamp(self, stamp: str) -> list[tuple[str, str]]:
        """Return path and probe of each good track with this stamp (see `models.stamp_of`).

        Equal sizes and times suggest equal files; equal probes confirm it.
        """
        found = self._guard(lambda: self._db.execute(schema.ALIKE, (stamp,)).fetchall())
        return [(os.fsdecode(path), probe) for path, probe in found]

    def find(self, query: Query | None = None) -> list[Entry]:
        """Return the tracks that match a query, ordered by path.

        Without a query, all good tracks that are present on the disk are returned. Corrupt entries
        are left out.
        """
        where, values = (query or Query()).where()
        below, more = schema.below(query.roots if query else ())
        sql = f"{schema.ENTRY} WHERE {where} AND {below} ORDER BY path"
        rows = self._guard(lambda: self._db.execute(sql, [*values, *more]).fetchall())
        return list(_intact(entry_of, rows))

    def find_by_path(self, path: str) -> Entry | None:
        """Return the good track at a real path, or None, as for a corrupt entry."""
        sql = f"{schema.ENTRY} WHERE (path = ? OR play = ?) AND error = ''"
        name = os.fsencode(path)
        row = self._guard(lambda: self._db.execute(sql, (name, name)).fetchone())
        return next(_intact(entry_of, [row] if row else []), None)

    def analysis(self, number: int) -> Analysis:
        """Return the analysis of a good track, with corrections applied.

        `number` is `Entry.number`. Raises KeyError if it is not that of a good track.
        """
        row = self._guard(lambda: self._db.execute(schema.ANALYSIS, (number,)).fetchone())
        if row is None or not row[0]:
            raise KeyError(number)
        try:
            return Analysis.from_dict(json.loads(row[0]))
        except _CORRUPT:
            raise self._destroyed(os.fsdecode(row[1])) from None

    # ----------------------------------------------------------------------------------------

    def _write(self, work: Callable[[], T]) -> T:
        def transaction() -> T:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                done = work()
                self._db.execute("COMMIT")
                return done
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

        return self._guard(transaction)

    def _guard(self, work: Callable[[], T]) -> T:
        return _guard(self.path, work)

    def _destroyed(self, path: str) -> LibraryDamaged:
        return LibraryDamaged(
            f"{printable(self.path)}: the entry of {printable(path)} is corrupt; "
            "analyse that track with --again"
        )


def _intact(make: Callable[[Sequence[Any]], T], rows: Iterable[Sequence[Any]]) -> Iterator[T]:
    for row in rows:
        with contextlib.suppress(*_CORRUPT):
            yield make(row)


def _guard(path: Path, work: Callable[[], T]) -> T:
    shown = printable(path)
    try:
        return work()
    except SchemaTooNew:
        raise LibraryError(
            f"{shown}: a newer version of CrowdStream has written it; use that version, "
            "or another file (--library FILE)"
        ) from None
    except sqlite3.OperationalError as error:
        if str(error).startswith(("no such table", "no such column")):
            raise _damaged(path, error) from None
        raise LibraryError(f"{shown}: it can't be used ({error})") from None
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise LibraryError(f"{shown}: it can't be used ({error.strerror})") from None


def _damaged(path: Path, error: object) -> LibraryDamaged:
    return LibraryDamaged(
        f"{printable(path)}: this is not a library, or it is damaged ({error}); "
        "--new-library moves it aside and starts a new one"
    )


@dataclass(frozen=True)
class LibraryCondition:
    """What `examine_library` found.

    `current`: the schema is that of this version; an older one is migrated when it is used.
    `tracks`: all of them, by path, but corrupt entries, which the next run replaces.
    """

    version: int
    current: bool
    tracks: dict[str, KnownTrack]


def examine_library(path: Path, immutable: bool = False) -> LibraryCondition:
    """Read and verify a library without changing it, not even by a migration.

    `immutable`: no other process uses the file, and none of SQLite's own files may be created
    beside it. Raises `LibraryDamaged`, `LibraryNotFound` and `LibraryError`, as `Library` does.
    """
    def work() -> LibraryCondition:
        if not path.exists():
            raise LibraryNotFound(f"{printable(path)}: there is no library")
        name = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' * immutable}"
        database = sqlite3.connect(name, timeout=PATIENCE_SECONDS, uri=True)
        with contextlib.closing(database):
            version = version_of(database)
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            tracks = _intact(known_of, database.execute(schema.KNOWN) if version else ())
            return LibraryCondition(
                version, is_current(database), {track.path: track for track in tracks}
            )

    return _guard(path, work)
