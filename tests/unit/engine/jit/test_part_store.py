"""Saved parts of a compilation as files: bounded in size, and never damaged."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crowdstream.engine.jit.part_store import MAX_UNFINISHED_SECONDS, PartStore
from crowdstream.engine.jit.stale_caches import UNUSED_SECONDS


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_saved_content_is_loaded_by_another_process(place: Path) -> None:
    assert PartStore(place).load(key(1)) is None
    assert PartStore(place).save(key(1), b"code")
    assert PartStore(place).save(key(2), b"")
    assert PartStore(place).load(key(1)) == b"code"
    assert PartStore(place).load(key(2)) == b""
    assert sorted(path.name for path in place.iterdir()) == sorted([key(1), key(2)])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data + b"\0",
        lambda data: bytes(len(data)),  # as after a power failure
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: bytes([data[0] ^ 1]) + data[1:],
    ],
)
def test_damaged_entries_are_deleted(place: Path, damage: Callable[[bytes], bytes]) -> None:
    store = PartStore(place)
    store.save(key(1), b"code of a part")
    path = place / key(1)
    path.write_bytes(damage(path.read_bytes()))
    assert store.load(key(1)) is None
    assert not path.exists()
    assert store.save(key(1), b"again") and store.load(key(1)) == b"again"


def test_an_entry_under_another_name_is_not_loaded(place: Path) -> None:
    store = PartStore(place)
    store.save(key(1), b"code")
    (place / key(1)).rename(place / key(2))
    assert store.load(key(2)) is None


def test_a_full_disk_or_a_missing_folder_saves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = PartStore(None)
    assert not nowhere.save(key(1), b"code") and nowhere.load(key(1)) is None
    nowhere.discard(key(1))
    gone = PartStore(place / "gone")
    assert not gone.save(key(1), b"code") and gone.load(key(1)) is None

    def full(*_paths: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(Path, "replace", full)
    assert not PartStore(place).save(key(1), b"code")
    assert not list(place.iterdir()), "no half of an entry stays"


def test_a_folder_that_others_may_write_to_is_not_used(place: Path) -> None:
    place.chmod(0o777)
    assert not PartStore(place).save(key(1), b"code")


def test_the_least_recently_used_entries_are_deleted_above_the_limit(place: Path) -> None:
    store = PartStore(place, max_bytes=1000)
    now = time.time()
    for number in range(9):
        store.save(key(number), bytes(68))  # 100 with its hash
        os.utime(place / key(number), (now - 100 + number, now - 100 + number))
    assert store.load(key(0)) is not None  # used now
    store.save(key(9), bytes(68))
    assert len(list(place.iterdir())) == 10
    store.save(key(10), bytes(68))
    kept = {number for number in range(11) if (place / key(number)).exists()}
    assert kept == {0, 5, 6, 7, 8, 9, 10}, "three quarters of the limit"


def test_old_and_unfinished_entries_are_deleted_but_foreign_files_are_kept(place: Path) -> None:
    now = time.time()
    ages = {
        key(1): UNUSED_SECONDS + 60, key(2): UNUSED_SECONDS - 60,
        f"{key(3)}.77-0": MAX_UNFINISHED_SECONDS + 60, f"{key(3)}.78-5": 60.0,
        "notes": 2 * UNUSED_SECONDS,
    }  # fmt: skip
    for name, age in ages.items():
        (place / name).write_bytes(b"something")
        os.utime(place / name, (now - age, now - age))
    PartStore(place).save(key(4), b"code")
    left = {path.name for path in place.iterdir()}
    assert left == {key(2), f"{key(3)}.78-5", "notes", key(4)}
