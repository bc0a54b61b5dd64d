"""The library of a stick, kept on the stick: it comes along to another machine.

SQLite never works on the stick itself. A database that is mapped into memory brings the process
down when its device disappears, and a lock on a device that no longer answers never ends. The
library is copied to this machine, used there, and written back as a whole: a stick that is pulled
in the middle keeps its earlier library.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import stat
from pathlib import Path

from crowdstream.library.database import Library, LibraryDamaged, LibraryError

FOLDER = ".crowdstream"
NAME = "library.db"
MAX_BYTES = 1 << 30  # of a library on a stick: a hundred thousand tracks take less
_NOT_A_LIBRARY = (0, errno.ELOOP, errno.EISDIR)  # errors of `_copy` for what is not a library file
MIN_FREE_BYTES = 1 << 16  # that a stick must have room for, or its library is not kept on it


class StickNotWritable(Exception):
    """The stick is read-only or full, or cannot be read any more. The message gives the reason."""


def working_copy(root: Path) -> Path:
    """Return where the library of the stick at `root` is kept while it is used."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return Path(home).expanduser() / "crowdstream" / "sticks" / f"{name}.db"


def fetch(root: Path, work: Path) -> str:
    """Copy the library of the stick at `root` to `work`, or start a new one there.

    Return why the stick's library was not used because it is damaged, an empty string if there is
    none or it was. Raise `StickNotWritable` if a library cannot be kept on the stick,
    `LibraryError` if none can be created here or a newer version has written the stick's, or
    `OSError`: then the stick's library must be left as it is.
    """
    _check_writable(root)
    work.parent.mkdir(parents=True, exist_ok=True)
    _remove(work)
    kept = root / FOLDER / NAME
    reason = ""
    try:
        _copy(kept, work)
        with contextlib.closing(sqlite3.connect(work)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        reason = "" if found == "ok" else str(found)
    except FileNotFoundError:
        pass
    except sqlite3.Error as error:
        reason = str(error)
    except OSError as error:
        if error.errno not in _NOT_A_LIBRARY:  # this disk is full, or the stick can't be read
            _remove(work)
            raise
        reason = str(error)
    if not reason:
        try:
            Library(work).close()
            return ""
        except LibraryDamaged as error:
            reason = str(error)
        except LibraryError:
            _remove(work)
            raise
    _remove(work)
    Library(work).close()
    return reason


def store(work: Path, root: Path) -> None:
    """Write the library `work` to the stick at `root`. Raise `StickNotWritable`."""
    kept = root / FOLDER / NAME
    new = kept.with_name(NAME + ".new")
    local = work.with_name(work.name + ".out")
    try:
        _folder(root)
        with contextlib.suppress(FileNotFoundError):
            local.unlink()
        with contextlib.closing(sqlite3.connect(work)) as database:
            database.execute("VACUUM INTO ?", (str(local),))
        _write(local, new)
        os.replace(new, kept)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise StickNotWritable(_text(error)) from None
    finally:
        with contextlib.suppress(OSError):
            local.unlink()


def merge(source: Path, target: Path, root: Path) -> None:
    """Add the tracks of the library `source` that are below `root` to the library `target`.

    Corrupt entries are left out. Raise `LibraryError`.
    """
    with Library(source, write=False) as work, Library(target) as own:
        for path in work.known([str(root)]):
            try:
                row = work.row(path)
            except LibraryDamaged:
                continue
            if row is not None:
                own.put([row])


def _check_writable(root: Path) -> None:
    probe = root / FOLDER / "probe"
    try:
        _folder(root)
        _write_bytes(probe, bytes(MIN_FREE_BYTES))
        probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink()
        raise StickNotWritable(_text(error)) from None


def _folder(root: Path) -> None:
    # Not through a link: a stick must not make this program write elsewhere.
    folder = root / FOLDER
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise NotADirectoryError(0, "it is not a folder", str(folder))


def _copy(kept: Path, work: Path) -> None:
    with open(os.open(kept, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            raise OSError(0, "it is not a file of a sensible size", str(kept))
        with open(work, "wb") as target:
            shutil.copyfileobj(source, target)


def _write(local: Path, new: Path) -> None:
    _write_bytes(new, local.read_bytes())


def _write_bytes(path: Path, data: bytes) -> None:
    # A file that was there is replaced, and a link is not followed.
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with open(opened, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(work: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{work}{ending}")


def _text(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
