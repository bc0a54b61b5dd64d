"""Files left by killed processes are found and removed; files in use are not."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import pytest

from crowdstream.engine.jit import kernel_cache
from crowdstream.settings import save_user_setting
from crowdstream.supervisor.stale_files import OLD_KERNELS_SECONDS, OLD_SECONDS, remove_stale_files
from crowdstream.web.waveforms.store import cache_place


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the test."""
    for name in ("cache", "config", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def aged(path: Path, seconds: float) -> Path:
    """Make a path look old."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def killed_while_saving(config: Path) -> Path:
    """Leave the temporary file of settings that are being written; return its path."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "replace", lambda *_: None)
        save_user_setting("port", 5, os.environ)
    (left,) = config.glob(".*")
    return left


def test_temporary_files_without_an_owner_are_removed_and_others_are_not(tmp_path: Path) -> None:
    kernels = tmp_path / "cache" / "crowdstream" / "kernels"
    config = tmp_path / "config" / "crowdstream"
    folder = tmp_path / "tmp" / "crowdstream-kernels-abc"
    young = tmp_path / "tmp" / "crowdstream-kernels-def"
    for made in (kernels, config, folder, young):
        made.mkdir(parents=True)
    kept = [kernels / "1234.code", config / "config.toml", tmp_path / "tmp" / "song.part"]
    left = [kernels / "tmpxyz.part", killed_while_saving(config), folder / "index.nbi"]
    for path in (*kept, *left):
        path.write_bytes(b"1")
        aged(path, 2 * OLD_KERNELS_SECONDS)
    aged(folder, 2 * OLD_KERNELS_SECONDS)
    aged(young, 2 * OLD_SECONDS)
    written_now = kernels / "tmpnow.part"
    written_now.write_bytes(b"1")
    assert sorted(remove_stale_files()) == sorted([left[0], left[1], folder])
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in (*kept, young, written_now))
    assert remove_stale_files() == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "music"
    precious.mkdir()
    (precious / "song.wav").write_bytes(b"1")
    aged(precious, 2 * OLD_KERNELS_SECONDS)
    (tmp_path / "tmp" / "crowdstream-kernels-link").symlink_to(precious)
    assert remove_stale_files() == []
    assert (precious / "song.wav").exists()


def test_missing_folders_are_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/no/such/cache")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/no/such/config")
    assert remove_stale_files() == []


def test_a_full_disk_does_not_end_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", full)
    part = tmp_path / "cache" / "crowdstream" / "kernels" / "tmpxyz.part"
    part.parent.mkdir(mode=0o700, parents=True)
    part.write_bytes(b"1")
    assert remove_stale_files() == []
    aged(part, 2 * OLD_SECONDS)
    assert remove_stale_files() == [part]
    # The next steps of a start: where the kernels are, and where waveforms will be.
    assert kernel_cache._choose().is_relative_to(tmp_path / "cache")
    assert cache_place(os.environ)[0].is_relative_to(tmp_path / "cache")
