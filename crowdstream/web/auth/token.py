"""The token: what one has to know to change anything, where others than this machine see the page.

It outlives restarts in a file that only this user can read.
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

from crowdstream.settings.files import home_folder, user_config_path
from crowdstream.system.private_dirs import check_private

FILE = "http-token"
BYTES = 18  # of chance: 24 letters, which a QR code of a few lines still holds
_FORM = re.compile(r"[A-Za-z0-9_-]{8,200}")
_MAX_READ = 512
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def kept_token(environ: Mapping[str, str] = os.environ) -> tuple[str, Path | None]:
    """The token of this user, made where there is none yet, and the file that it is kept in.

    The file is beside the user's settings; of a service, which may not write there, in its state
    folder (`$STATE_DIRECTORY`) or cache. Where none of them can be had the token is a new one,
    and the path None.
    """
    folders = token_folders(environ)
    for folder in folders:
        token = _read(folder / FILE)
        if token:
            return token, folder / FILE
    token = secrets.token_urlsafe(BYTES)
    for folder in folders:
        with contextlib.suppress(OSError):
            return _keep(folder, token), folder / FILE
    return token, None


def token_folders(environ: Mapping[str, str]) -> list[Path]:
    """Where the file may be, the first choice first."""
    found = [user_config_path(environ).parent]
    found += [Path(text) for text in environ.get("STATE_DIRECTORY", "").split(":")[:1] if text]
    cache = environ.get("XDG_CACHE_HOME") or str(home_folder(environ) / ".cache")
    return [*found, Path(cache) / "crowdstream"]


def _read(path: Path) -> str:
    # What somebody else wrote, or could have read, is no token.
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
    # Written whole under another name first, so that a reader finds all of it or nothing.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(folder)
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}-")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token + "\n")
        os.replace(name, folder / FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    return token


def same(given: str, wanted: str) -> bool:
    """Whether two texts are the same, in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def cookie_value(token: str) -> str:
    """What a browser keeps instead of the token, which can't be told from it."""
    return hmac.new(token.encode(), b"crowdstream cookie", hashlib.sha256).hexdigest()
