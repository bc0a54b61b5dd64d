"""Folders from which code is loaded: private to this user, or not used."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crowdstream.system.private_dirs import NotPrivate, check_private, create_private_folder
from tests.support.environment import child_environment


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_folders_are_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = create_private_folder(tmp_path / "base", "a", "b", "c")
    finally:
        os.umask(before)
    assert made == tmp_path / "base" / "a" / "b" / "c"
    for folder in (made, made.parent, made.parent.parent):
        assert mode(folder) == 0o700
    (made / "kept").touch()
    assert create_private_folder(tmp_path / "base", "a", "b", "c") == made
    assert (made / "kept").exists()


@pytest.mark.parametrize("opened", ["a", "a/b", "a/b/c"])
def test_a_folder_open_to_others_is_closed_and_emptied(tmp_path: Path, opened: str) -> None:
    made = create_private_folder(tmp_path, "a", "b", "c")
    (made / "sub").mkdir()
    (made / "sub" / "kernel.nbc").touch()
    (made / "index.nbi").touch()
    (tmp_path / "a" / "b" / "other.code").touch()
    (tmp_path / opened).chmod(0o775)
    with pytest.raises(NotPrivate, match="chmod go-w"):
        check_private(tmp_path / opened)
    create_private_folder(tmp_path, "a", "b", "c")
    assert mode(tmp_path / opened) == 0o755
    check_private(tmp_path / opened)
    assert os.listdir(made) == []
    assert (tmp_path / "a/b/other.code").exists() is (opened == "a/b/c")


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_private_folder(tmp_path, "a", "b")
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(NotPrivate, match=f"belongs to user {me}, not to {me + 1}"):
        create_private_folder(tmp_path, "a", "b")


def test_a_link_of_another_user_or_a_file_is_refused(tmp_path: Path) -> None:
    real = create_private_folder(tmp_path / "big disk", "a")
    (tmp_path / "a").symlink_to(real)
    assert create_private_folder(tmp_path, "a") == tmp_path / "a", "one's own link is fine"
    (tmp_path / "b").touch()
    with pytest.raises(NotPrivate, match="is not a folder"):
        create_private_folder(tmp_path, "b")


def cache_dir(**env: str) -> subprocess.CompletedProcess[str]:
    code = "from crowdstream.engine.jit import compile; import numba; print(numba.config.CACHE_DIR)"
    changes: dict[str, str | None] = {"NUMBA_CACHE_DIR": None, **env}
    return subprocess.run(
        [sys.executable, "-P", "-c", code], env=child_environment(**changes),
        capture_output=True, text=True, check=False,
    )


def test_the_compiler_never_uses_a_folder_created_by_another_user(tmp_path: Path) -> None:
    """In /tmp any user can create the folder of that name first."""
    shared = tmp_path / "tmp"
    planted = shared / f"crowdstream-{os.geteuid()}"
    planted.mkdir(parents=True)
    (planted / "kernels").symlink_to("/proc")  # its folders are not this user's to close
    (tmp_path / "home").touch()  # no cache can be created there
    done = cache_dir(TMPDIR=str(shared), XDG_CACHE_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    used = Path(done.stdout.strip())
    assert used.parent == shared and used.name.startswith("crowdstream-kernels-")
    assert mode(used) == 0o700


def test_a_configured_cache_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    given = tmp_path / "cache"
    given.mkdir()
    given.chmod(0o777)
    done = cache_dir(NUMBA_CACHE_DIR=str(given))
    assert done.returncode != 0
    assert f"others may write to {given}: chmod go-w" in done.stderr
    given.chmod(0o755)
    assert cache_dir(NUMBA_CACHE_DIR=str(given)).stdout.strip() == str(given)
    assert cache_dir(NUMBA_CACHE_DIR=str(tmp_path / "new")).returncode == 0
    assert mode(tmp_path / "new") == 0o700
