"""The token and its file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from crowdstream.settings.files import TOKEN_FILE
from crowdstream.web.auth.middleware import AccessMiddleware
from crowdstream.web.auth.token import kept_token
from tests.support.web_client import settings


def test_the_token_survives_restarts_in_a_private_file(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    shared_settings = settings(http_host="0.0.0.0")
    first = AccessMiddleware(shared_settings, environ)
    assert AccessMiddleware(shared_settings, environ).token == first.token
    assert len(first.token) == 24, "as much chance as a small QR code holds"
    path = tmp_path / "crowdstream" / TOKEN_FILE
    assert first.token_file == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert first.token in first.open(8080)
    assert not AccessMiddleware(settings(), environ).token, "on this machine alone none is needed"


@pytest.mark.parametrize("spoil", ["open", "empty", "link", "pipe"])
def test_a_token_file_that_others_could_read_or_write_is_ignored(
    tmp_path: Path, spoil: str
) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    token, path = kept_token(environ)
    assert path is not None
    if spoil == "open":
        path.chmod(0o644)
    elif spoil == "empty":
        path.write_text("")
    elif spoil == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
        os.mkfifo(path, 0o600)
    again, kept = kept_token(environ)
    assert again != token and kept == path
    assert path.is_file() and not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_service_stores_its_token_in_a_writable_folder(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    environ = {
        "HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null/nowhere",
        "STATE_DIRECTORY": f"{tmp_path}/state:/other",
    }  # fmt: skip
    token, path = kept_token(environ)
    assert path == tmp_path / "state" / TOKEN_FILE
    assert kept_token(environ) == (token, path)


def test_a_token_exists_without_a_writable_folder() -> None:
    environ = {"XDG_CONFIG_HOME": "/dev/null/x", "XDG_CACHE_HOME": "/dev/null/y"}
    token, path = kept_token(environ)
    assert len(token) >= 24 and path is None
