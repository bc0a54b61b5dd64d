"""The token, which is required to change anything if other machines can reach the page.

It is stored in a file that only this user can read, and so survives restarts.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from crowdstream.settings.files import TOKEN_FILE, token_folders
from crowdstream.system.private_dirs import check_private

BYTES = 18  # of randomness: 24 characters, which still fit into a QR code of a few lines
_FORM = re.compile(r"[A-Za-z0-9_-]{8,200}")
_MAX_READ = 512
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def kept_token(environ: Mapping[str, str] = os.environ) -> tuple[str, Path | None]:
    """The user's token, generated if there is none yet, and the file that stores it.

    The file is in the folder of the user's settings. A service, which may not write there, uses its
    state folder (`$STATE_DIRECTORY`) or the cache. If no folder is writable, the token is a new one
    and the path None.
    """
    folders = token_folders(environ)
    for folder in folders:
        token = _read(folder / TOKEN_FILE)
        if token:
            return token, folder / TOKEN_FILE
    token = secrets.token_urlsafe(BYTES)
    for folder in folders:
        with contextlib.suppress(OSError):
            return _keep(folder, token), folder / TOKEN_FILE
    return token, None


def _read(path: Path) -> str:
    # A file that another user wrote, or could have read, is not accepted.
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status = os.fstat(file)
        own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if not own or status.st_mode & _OTHERS:
            return ""
        text = os.read(file, _MAX_READ).decode("ascii", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(file)
    return text if _FORM.fullmatch(text) else ""


def _keep(folder: Path, token: str) -> str:
    # Written to a temporary file first, so that a reader finds a complete file or none.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(folder)
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{TOKEN_FILE}-")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token + "\n")
        os.replace(name, folder / TOKEN_FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    return token


def same(given: str, wanted: str) -> bool:
    """Compare two texts in constant time, which does not reveal where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def cookie_value(token: str) -> str:
    """The cookie's value, from which the token cannot be computed."""
    return hmac.new(token.encode(), b"crowdstream cookie", hashlib.sha256).hexdigest()
