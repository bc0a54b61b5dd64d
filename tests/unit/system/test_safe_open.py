"""Files inside folders: no link leads out, not even one created a moment ago."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crowdstream.system import safe_open
from crowdstream.system.safe_open import open_inside, open_to_read, remove_inside
from tests.support.held_resources import nothing_left_behind

READ = os.O_RDONLY


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file in a subfolder, and a file outside."""
    folder = tmp_path / "root"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "a").write_bytes(b"inside")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a").write_bytes(b"outside")
    return folder


def content(path: Path, *roots: Path) -> bytes:
    with open_to_read(path, roots) as file:
        return file.read()


def refusal(path: Path, *roots: Path) -> int | None:
    with pytest.raises(OSError) as caught:
        open_inside(path, roots, READ)
    return caught.value.errno


def test_files_inside_the_roots_are_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = root / "deep"
    (root / "link").symlink_to(deep / "er" / "a")
    (root / "folder").symlink_to("deep")
    (root.parent / "way in").symlink_to(root)
    for path in (
        deep / "er" / "a", deep / ".." / "deep" / "er" / "a", root / "link", root / "folder/er/a",
        root.parent / "way in" / "deep/er/a",
    ):
        assert content(path, root) == b"inside"
        assert content(path, root.parent / "nowhere", root.parent / "way in") == b"inside"
        assert content(path) == content(path, Path("/")) == b"inside"
    monkeypatch.chdir(root.parent)
    assert content(Path("root/deep/er/a"), Path("root")) == b"inside"
    assert content(deep / "er" / "a", deep / "er" / "a") == b"inside", "a file may be a root"


def test_files_outside_the_roots_are_refused(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret" / "a"
    (root / "link").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "chain").symlink_to("folder")
    (tmp_path / "root2").mkdir()
    for path in (
        secret, root / "link", root / "folder" / "a", root / "chain" / "a",
        root / ".." / "secret" / "a", root / "folder" / ".." / "secret" / "a",
        tmp_path / "root2" / "a", Path("/dev/null"), Path("/proc/self/root/etc/passwd"),
    ):
        assert refusal(path, root) == errno.EXDEV
        with pytest.raises(OSError, match="outside"):
            remove_inside(path, [root])
    assert secret.exists()
    assert refusal(root / "none", root) == errno.ENOENT
    assert refusal(root / "a\0b", root) == errno.ENOENT


Swap = Callable[[Path, Path], None]


def swap_file(root: Path, secret: Path) -> None:
    (root / "deep/er/a").unlink()
    (root / "deep/er/a").symlink_to(secret)


def swap_folder(root: Path, secret: Path) -> None:
    (root / "deep/er").rename(root / "deep/gone")
    (root / "deep/er").symlink_to(secret.parent)


def swap_upper_folder(root: Path, secret: Path) -> None:
    (secret.parent / "er").mkdir()
    (secret.parent / "er" / "a").write_bytes(b"outside")
    (root / "deep").rename(root / "gone")
    (root / "deep").symlink_to(secret.parent)


@pytest.mark.parametrize("swap", [swap_file, swap_folder, swap_upper_folder])
def test_a_link_created_after_the_path_was_resolved_is_not_followed(
    root: Path, tmp_path: Path, swap: Swap, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_root_of = safe_open.root_of

    def late(real: Path, roots: list[Path]) -> Path | None:
        found = real_root_of(real, roots)
        swap(root, tmp_path / "secret" / "a")
        return found

    monkeypatch.setattr(safe_open, "root_of", late)
    assert refusal(root / "deep/er/a", root) in (errno.ELOOP, errno.ENOTDIR)


def test_nothing_is_created_or_removed_through_a_late_link(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_root_of = safe_open.root_of

    def late(real: Path, roots: list[Path]) -> Path | None:
        found = real_root_of(real, roots)
        if not (root / "deep/er").is_symlink():
            swap_folder(root, tmp_path / "secret" / "a")
        return found

    monkeypatch.setattr(safe_open, "root_of", late)
    with pytest.raises(NotADirectoryError):
        open_inside(root / "deep/er/new", [root], os.O_RDWR | os.O_CREAT | os.O_EXCL)
    (root / "deep/er").unlink()
    (root / "deep/gone").rename(root / "deep/er")
    with pytest.raises(NotADirectoryError):
        remove_inside(root / "deep/er/a", [root])
    assert os.listdir(tmp_path / "secret") == ["a"]


def test_nothing_outside_is_read_while_links_are_swapped_continuously(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret" / "er").mkdir()
    (tmp_path / "secret" / "er" / "a").write_bytes(b"outside")
    (root / "other").symlink_to(tmp_path / "secret")
    done = threading.Event()

    def swap() -> None:
        # Exchanges a folder and a link alternately and indefinitely.
        while not done.is_set():
            (root / "deep").rename(root / "spare")
            (root / "other").rename(root / "deep")
            (root / "deep").rename(root / "other")
            (root / "spare").rename(root / "deep")

    thread = threading.Thread(target=swap)
    thread.start()
    seen, refused = 0, 0
    try:
        while seen < 200 or refused < 200:
            try:
                assert content(root / "deep/er/a", root) == b"inside"
                seen += 1
            except OSError:
                refused += 1
    finally:
        done.set()
        thread.join()


def test_descriptors_are_closed_after_errors(root: Path) -> None:
    (root / "pipe").unlink(missing_ok=True)
    os.mkfifo(root / "pipe")
    with nothing_left_behind():
        for name in ("deep/er/a", "deep/none/a", "deep/er/a/b", "../secret/a", "pipe", "deep"):
            try:
                open_to_read(root / name, [root]).close()
            except OSError as error:
                assert error.strerror


def test_only_regular_files_are_read_and_a_pipe_does_not_block(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for path, code in ((root / "pipe", errno.EINVAL), (root / "deep", errno.EISDIR)):
        for roots in ((), (root,)):
            with pytest.raises(OSError) as caught:
                open_to_read(path, roots)
            assert caught.value.errno == code
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
