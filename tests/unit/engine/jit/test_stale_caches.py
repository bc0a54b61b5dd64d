"""Old kernels are deleted, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from crowdstream.engine.jit import stale_caches

LONG_AGO = time.time() - stale_caches.UNUSED_SECONDS - 3600


def made(folder: Path, name: str, old: bool) -> Path:
    """A folder of kernels, or a file of machine code."""
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


def test_what_was_not_used_for_a_month_goes(kernels: Path) -> None:
    present = made(kernels, "0" * 16, True)
    code = made(kernels, "1" * 16 + ".code", True)
    recent = made(kernels, "2" * 16, False)
    used = made(kernels, "3" * 16, True)
    os.utime(used / "engine_1" / "a.nbc", (time.time(), LONG_AGO))  # read, not written
    gone = [made(kernels, "4" * 16, True), made(kernels, "5" * 16 + ".code", True)]
    assert stale_caches.leftovers([present, code]) == gone
    assert stale_caches.prune([present, code]) == 2
    assert all(path.exists() for path in (present, code, recent, used))
    assert not any(path.exists() for path in gone)
    assert (present / "engine_1" / "a.nbc").exists()
    # The present one counts as used from now on, also where no access times are kept.
    assert stale_caches.prune([recent]) == 0
    assert present.exists() and code.exists()


def test_what_is_not_ours_stays(kernels: Path, tmp_path: Path) -> None:
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
def test_a_folder_of_another_name_is_left_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    present, old = made(folder, "0" * 16, True), made(folder, "1" * 16, True)
    assert stale_caches.prune([present]) == 0
    assert old.exists()


def test_a_folder_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "crowdstream").mkdir()
    (tmp_path / "crowdstream" / "kernels").symlink_to(real)
    old = made(real, "1" * 16, True)
    present = made(tmp_path / "crowdstream" / "kernels", "0" * 16, True)
    assert stale_caches.prune([present]) == 0
    assert old.exists()


def test_a_cache_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert stale_caches.prune([tmp_path / "crowdstream" / "kernels" / ("0" * 16)]) == 0
