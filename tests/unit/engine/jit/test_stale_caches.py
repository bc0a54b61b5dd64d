"""Old kernel caches are deleted, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from crowdstream.engine.jit import stale_caches

LONG_AGO = time.time() - stale_caches.UNUSED_SECONDS - 3600


def made(folder: Path, name: str, old: bool) -> Path:
    """Create a folder of kernels, or a file of machine code."""
    path = folder / name
    if name.endswith(".code"):
        path.write_bytes(b"code")
        files = [path]
    else:
        (path / "engine_1").mkdir(parents=True)
        (path / "engine_1" / "a.nbc").write_bytes(b"code")
        files = [path / "engine_1" / "a.nbc", path / "engine_1", path]
    if old:
        for file in files:
            os.utime(file, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    folder = tmp_path / "crowdstream" / "kernels"
    folder.mkdir(parents=True)
    return folder


def test_caches_unused_for_a_month_are_deleted(kernels: Path) -> None:
    present = made(kernels, "0" * 16, True)
    code = made(kernels, "1" * 16 + ".code", True)
    recent = made(kernels, "2" * 16, False)
    used = made(kernels, "3" * 16, True)
    os.utime(used / "engine_1" / "a.nbc", (time.time(), LONG_AGO))  # read, not written
    gone = [made(kernels, "4" * 16, True), made(kernels, "5" * 16 + ".code", True)]
    assert stale_caches.unused_caches([present, code]) == gone
    assert stale_caches.prune([present, code]) == 2
    assert all(path.exists() for path in (present, code, recent, used))
    assert not any(path.exists() for path in gone)
    assert (present / "engine_1" / "a.nbc").exists()
    # The present cache counts as used from now on, even without access times.
    assert stale_caches.prune([recent]) == 0
    assert present.exists() and code.exists()


def test_foreign_files_are_kept(kernels: Path, tmp_path: Path) -> None:
    present = made(kernels, "0" * 16, True)
    others = [made(kernels, name, True) for name in ("notes", "A" * 16, "1" * 15, "1" * 17)]
    outside = made(tmp_path, "2" * 16, True)
    link = kernels / ("3" * 16)
    link.symlink_to(outside)
    os.utime(link, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    stale_caches.prune([present])
    assert all(path.exists() for path in others)
    assert (outside / "engine_1" / "a.nbc").exists()


@pytest.mark.parametrize("name", ["other/kernels", "crowdstream/things"])
def test_a_folder_with_another_name_is_not_touched(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    present, old = made(folder, "0" * 16, True), made(folder, "1" * 16, True)
    assert stale_caches.prune([present]) == 0
    assert old.exists()


def test_a_symbolic_link_is_not_touched(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "crowdstream").mkdir()
    (tmp_path / "crowdstream" / "kernels").symlink_to(real)
    old = made(real, "1" * 16, True)
    present = made(tmp_path / "crowdstream" / "kernels", "0" * 16, True)
    assert stale_caches.prune([present]) == 0
    assert old.exists()


def test_a_missing_cache_is_not_an_error(tmp_path: Path) -> None:
    assert stale_caches.prune([tmp_path / "crowdstream" / "kernels" / ("0" * 16)]) == 0
