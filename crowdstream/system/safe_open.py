"""Open files only inside given folders, even while an attacker replaces files by links.

A path is resolved first. Then it is walked from its root down, one name at a time, without
following links: a link found there was created after the path was resolved, and is refused.
(`openat2` with RESOLVE_BENEATH does this in one call, but Python does not offer it.)
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

MAX_SPELLINGS = 100_000  # entries of a folder that are searched for a name
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def real_path(path: Path) -> Path:
    """Resolve '~', '..' and links in `path`, and spell its names as on disk.

    Raises `OSError` for an invalid path.
    """
    try:
        real = nearest_spelling(path.expanduser()).resolve()
    except (RuntimeError, ValueError) as error:  # circular links, unknown user, a zero byte
        raise OSError(errno.ENOENT, str(error)) from None
    # From Python 3.13 on, a circular link is returned unchanged.
    try:
        circle = stat.S_ISLNK(real.lstat().st_mode)
    except OSError as error:
        circle = error.errno == errno.ELOOP
    if circle:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def nearest_spelling(path: Path) -> Path:
    """Spell the names in `path` as on disk where only the encoding of accents differs.

    'é' is one character (NFC) or two (NFD, as written by macOS), which look the same. An exact
    match takes precedence.
    """
    try:
        if os.path.lexists(path) or str(path).isascii():
            return path
    except ValueError:  # a zero byte
        return path
    found = Path()
    for part in path.parts:
        step = found / part
        if not part.isascii() and not os.path.lexists(step):
            step = found / _spelled(found, part)
        found = step
    return found if os.path.lexists(found) else path


def _spelled(folder: Path, name: str) -> str:
    wanted = unicodedata.normalize("NFC", name)
    try:
        with os.scandir(folder) as entries:
            for entry in itertools.islice(entries, MAX_SPELLINGS):
                if unicodedata.normalize("NFC", entry.name) == wanted:
                    return entry.name
    except OSError:
        pass  # the name stays unchanged, and opening it reports the error
    return name


def root_of(real: Path, roots: Sequence[Path]) -> Path | None:
    """The resolved path of the first of `roots` that contains or equals a real path, or None."""
    reals = (real_path(root) for root in roots)
    return next((root for root in reals if real.is_relative_to(root)), None)


def open_inside(path: Path, roots: Sequence[Path], flags: int, mode: int = 0o666) -> int:
    """Open the file at `path` if it lies inside `roots`; returns a descriptor like `os.open`.

    Without roots any file may be opened. Raises `OSError`: EXDEV if the file lies outside, ELOOP
    or ENOTDIR if part of the path has become a link meanwhile.
    """
    if not roots:
        return os.open(path, flags | os.O_CLOEXEC, mode)
    folder, name = _open_folder(path, roots)
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    finally:
        os.close(folder)


def remove_inside(path: Path, roots: Sequence[Path]) -> None:
    """Remove the file at `path` if it lies inside `roots`. Raises `OSError`."""
    if not roots:
        os.unlink(path)
        return
    folder, name = _open_folder(path, roots)
    try:
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)


def open_to_read(path: Path, roots: Sequence[Path]) -> BinaryIO:
    """Open a regular file inside `roots` for reading bytes. Never blocks. Raises `OSError`."""
    # O_NONBLOCK: opening a named pipe must not block until a process writes to it.
    fd = open_inside(path, roots, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, os.strerror(code), str(path))
    return os.fdopen(fd, "rb")


def _open_folder(path: Path, roots: Sequence[Path]) -> tuple[int, str]:
    # A descriptor of the folder that contains the file, and the file's name.
    real = real_path(path)
    root = root_of(real, roots)
    if root is None:
        raise OSError(errno.EXDEV, "it lies outside the allowed folders", str(path))
    if real == root:
        return os.open(root.parent, _STEP), root.name or "."
    *folders, name = real.relative_to(root).parts
    folder = os.open(root, _STEP)
    try:
        for step in folders:
            below = os.open(step, _STEP, dir_fd=folder)
            os.close(folder)
            folder = below
    except BaseException:
        os.close(folder)
        raise
    return folder, name
