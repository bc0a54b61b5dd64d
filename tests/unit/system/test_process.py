"""The command lines of processes, and the home folder of a user who has none."""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from crowdstream.engine.jit import kernel_cache
from crowdstream.library import default_path
from crowdstream.system.process import set_command_line, set_missing_home


def test_a_user_without_a_home_folder_gets_the_root_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(_user: int) -> NoReturn:
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, "")  # so that what is set meanwhile does not stay
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    bases: list[Path] = []

    def create(base: Path, *_names: str) -> Path:
        bases.append(base)
        return tmp_path

    monkeypatch.setattr(kernel_cache, "create_private_folder", create)
    set_missing_home()
    assert kernel_cache.folder() == tmp_path and bases == [Path("/.cache")]
    assert default_path() == Path("/.local/share/crowdstream/library.db")


def test_a_home_folder_that_is_known_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    set_missing_home()
    assert os.environ["HOME"] == "/somewhere"
    monkeypatch.delenv("HOME")
    set_missing_home()
    assert "HOME" not in os.environ, "the user database names it"


def test_a_command_line_may_contain_a_path_that_is_not_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[bytes] = []
    monkeypatch.setattr(ctypes, "memmove", lambda _to, text, _count: shown.append(text))
    set_command_line([os.fsdecode(b"/m\xfcsik/python"), "-m"])
    assert shown[0].startswith(b"/m\xfcsik/python\0-m"[: len(shown[0])])
