"""The library: what is known of every track, in one SQLite file.

Any number of processes may read it while one writes; transactions are short, and one that was
interrupted, by a kill or the power, leaves nothing behind (write-ahead log).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from crowdstream.analysis.result import Analysis
from crowdstream.library import queries
from crowdstream.library.corrections import Corrections
from crowdstream.library.models import Entry, Known, Query, Row, entry_of, known_of, values_of
from crowdstream.library.schema import TooNew, is_current, prepare, version_of
from crowdstream.system.text import printable

PATIENCE_SECONDS = 60.0  # that a writer waits for another one
_WAIT_MS = int(PATIENCE_SECONDS * 1000)

T = TypeVar("T")


class LibraryError(Exception):
    """The library can't be used; the message names the file, the reason and what to do."""


class LibraryDamaged(LibraryError):
    """The file is no library, or parts of it are destroyed."""


class NoLibrary(LibraryError):
    """There is no such file, and nobody asked to make one."""


def default_place() -> Path:
    """`~/.local/share/crowdstream/library.db`, or where XDG_DATA_HOME says."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "crowdstream" / "library.db"


def move_aside(path: Path) -> Path | None:
    """Rename a library's files, so that a new one can be made; the new name, None without one."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.old-{stamp}")
    moved = None
    for ending in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{ending}", f"{aside}{ending}")
            moved = aside
    return moved


class Library:
    """An open library. `write`: it is made where there is none. For one thread.

    Every method raises `LibraryDamaged` where the file turns out to be destroyed, and
    `LibraryError` where it can't be read or written.
    """

    def __init__(self, path: Path, write: bool = True) -> None:
        self.path = path
        self._db = self._guard(lambda: self._open(write))

    def _open(self, write: bool) -> sqlite3.Connection:
        if not write and not self.path.exists():
            raise NoLibrary(
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
                raise sqlite3.DatabaseError("it holds nothing")
            elif not is_current(database):
                # An earlier version has made it, and nobody has written to it since.
                database.close()
                Library(self.path).close()
                return self._open(write)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close it; may be called again."""
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
        """Keep tracks, each in the place of what was known under its path; all or none.

        Corrections that were made meanwhile stay; see `correct` for how they are changed.
        """
        def work() -> None:
            for row in rows:
                before = self._row(row.path, strict=False)
                if before is not None:
                    row.corrections = before.corrections
                    vars(row).pop("corrected", None)
                self._put(row)

        self._write(work)

    def correct(self, path: str, change: Callable[[Corrections], Corrections]) -> Row:
        """Change what a person says of the track at a real path. Raises KeyError without one."""

        def work() -> Row:
            row = self._row(path)
            if row is None:
                raise KeyError(path)
            row.corrections = change(row.corrections)
            self._put(row)
            return row

        return self._write(work)

    def _put(self, row: Row) -> None:
        self._db.execute(queries.PUT, values_of(row))

    def mark_gone(self, numbers: Iterable[int], gone: bool = True) -> None:
        """Remember that tracks are not there, or there again."""
        pairs = [(int(gone), number) for number in numbers]
        self._write(lambda: self._db.executemany(queries.GONE, pairs))

    def forget(self, paths: Iterable[str]) -> None:
        """Delete all that is known of the tracks at these paths, corrections too."""
        ones = [(os.fsencode(path),) for path in paths]
        self._write(lambda: self._db.executemany(queries.FORGET, ones))

    # Reading --------------------------------------------------------------------------------

    def known(self, roots: Sequence[str] = ()) -> dict[str, Known]:
        """What is needed to see which tracks have changed, by path: those below `roots`."""
        where, values = queries.below(roots)
        sql = f"{queries.KNOWN} WHERE {where}"
        rows = self._guard(lambda: self._db.execute(sql, values).fetchall())
        return {known.path: known for known in map(known_of, rows)}

    def row(self, path: str) -> Row | None:
        """All that is kept of the track at a real path."""
        return self._guard(lambda: self._row(path))

    def _row(self, path: str, strict: bool = True) -> Row | None:
        sql = f"{queries.ROW} WHERE path = ?"
        found = self._db.execute(sql, (os.fsencode(path),)).fetchone()
        try:
            return self._row_of(found) if found else None
        except LibraryDamaged:
            if strict:
                raise
            return None

    def _row_of(self, values: Sequence[Any]) -> Row:
        try:
            return Row.of_values(values)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._destroyed(os.fsdecode(values[0])) from None

    def with_stamp(self, stamp: str) -> list[tuple[str, str]]:
        """Path and probe of tracks whose files have these sizes and times: the same, perhaps."""
        found = self._guard(lambda: self._db.execute(queries.ALIKE, (stamp,)).fetchall())
        return [(os.fsdecode(path), probe) for path, probe in found]

    def find(self, query: Query | None = None) -> list[Entry]:
        """Tracks by what is asked for, ordered by path; the good ones that are there."""
        where, values = (query or Query()).where()
        below, more = queries.below(query.roots if query else ())
        sql = f"{queries.ENTRY} WHERE {where} AND {below} ORDER BY path"
        rows = self._guard(lambda: self._db.execute(sql, [*values, *more]).fetchall())
        return [entry_of(row) for row in rows]

    def about(self, path: str) -> Entry | None:
        """The good track at a real path, None where there is none."""
        sql = f"{queries.ENTRY} WHERE (path = ? OR play = ?) AND error = ''"
        name = os.fsencode(path)
        row = self._guard(lambda: self._db.execute(sql, (name, name)).fetchone())
        return entry_of(row) if row else None

    def analysis(self, number: int) -> Analysis:
        """The analysis of a good track, with corrections. Raises KeyError for any other number."""
        row = self._guard(lambda: self._db.execute(queries.ANALYSIS, (number,)).fetchone())
        if row is None or not row[0]:
            raise KeyError(number)
        try:
            return Analysis.from_dict(json.loads(row[0]))
        except (ValueError, KeyError, TypeError, AttributeError):
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
        shown = printable(self.path)
        try:
            return work()
        except TooNew:
            raise LibraryError(
                f"{shown}: a later version of CrowdStream has made it; use that, "
                "or another file (--library FILE)"
            ) from None
        except sqlite3.OperationalError as error:
            if str(error).startswith(("no such table", "no such column")):
                raise self._damaged(error) from None
            raise LibraryError(f"{shown}: it can't be used ({error})") from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        except OSError as error:
            raise LibraryError(f"{shown}: it can't be used ({error.strerror})") from None

    def _destroyed(self, path: str) -> LibraryDamaged:
        return LibraryDamaged(
            f"{printable(self.path)}: what it says of {printable(path)} is destroyed; "
            "analyse it with --again"
        )

    def _damaged(self, error: Exception) -> LibraryDamaged:
        return LibraryDamaged(
            f"{printable(self.path)}: this is no library, or it is damaged ({error}); "
            "--new-library puts it aside and begins another one"
        )
