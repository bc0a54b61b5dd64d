"""Files of the same music in rooms with different folders."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdstream.rooms import files
from crowdstream.rooms.files import RoomFiles, replace_paths


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine takes its time.
    monkeypatch.setattr(files, "WAIT_SECONDS", 30.0)


def test_a_file_is_found_by_its_path_or_by_its_content(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours / "house", theirs / "house", theirs / "elsewhere"):
        folder.mkdir(parents=True)
    (ours / "house" / "one.wav").write_bytes(b"one" * 100_000)
    (theirs / "house" / "one.wav").write_bytes(b"one" * 100_000)
    (ours / "house" / "two.wav").write_bytes(b"two" * 100_000)
    (theirs / "house" / "two.wav").write_bytes(b"2" * 300_000)  # another one of that name and size
    (theirs / "elsewhere" / "zwei.wav").write_bytes(b"two" * 100_000)
    leader, room = RoomFiles(str(ours)), RoomFiles(str(theirs))
    one = leader.describe(str(ours / "house" / "one.wav"))
    assert one["path"] == "house/one.wav"
    assert room.find(one) == str(theirs / "house" / "one.wav")
    two = leader.describe(str(ours / "house" / "two.wav"))
    assert room.find(two) == str(theirs / "elsewhere" / "zwei.wav")
    assert room.missing == 0


def test_a_folder_of_stems_is_found_by_its_content(tmp_path: Path) -> None:
    for place in ("ours/song", "theirs/other/song"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "drums.wav").write_bytes(b"d" * 1000)
        (folder / "bass.wav").write_bytes(b"b" * 1000)
    leader, room = RoomFiles(str(tmp_path / "ours")), RoomFiles(str(tmp_path / "theirs" / "other"))
    song = leader.describe(str(tmp_path / "ours" / "song"))
    assert room.find(song) == str(tmp_path / "theirs" / "other" / "song")


def test_a_missing_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_bytes(b"one")
    room = RoomFiles(str(tmp_path / "empty"))
    found = room.find(RoomFiles(str(tmp_path)).describe(str(tmp_path / "one.wav")))
    assert found == str(tmp_path / "empty" / "one.wav")
    assert room.missing == 1


def test_the_search_of_a_large_folder_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "WAIT_SECONDS", 0.05)
    walk, go_on = os.walk, threading.Event()
    walks: list[Path] = []

    def slow(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        walks.append(folder)
        go_on.wait(60.0)
        yield from walk(folder)

    monkeypatch.setattr(os, "walk", slow)
    for place in ("ours/one.wav", "theirs/other/one.wav"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(b"one")
    (tmp_path / "ours" / "two.wav").write_bytes(b"more")
    leader, now = RoomFiles(str(tmp_path / "ours")), [0.0]
    room = RoomFiles(str(tmp_path / "theirs"), lambda: now[0])
    one, two = (leader.describe(str(tmp_path / "ours" / f"{name}.wav")) for name in ("one", "two"))
    begin = time.monotonic()
    for described in (one, two, one):
        assert room.find(described) == str(tmp_path / "theirs" / str(described["path"]))
    assert time.monotonic() - begin < 30.0
    assert room.missing == 0
    go_on.set()
    while room.find(two) and not room.missing:
        time.sleep(0.01)
    assert room.find(one) == str(tmp_path / "theirs" / "other" / "one.wav")
    assert len(walks) == 1 and room.missing == 1
    (tmp_path / "theirs" / "new.wav").write_bytes(b"more")
    now[0] += files.SEARCH_SECONDS
    while room.find(two) != str(tmp_path / "theirs" / "new.wav"):
        time.sleep(0.01)
    assert len(walks) == 2 and room.missing == 1


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[object] = []
    reading = threading.Thread(
        target=lambda: found.append(RoomFiles(None).describe(str(tmp_path / "pipe"))), daemon=True
    )
    reading.start()
    reading.join(20.0)
    assert found == [{"path": str(tmp_path / "pipe"), "size": 0, "print": ""}]


def test_a_path_from_the_network_stays_below_the_folder(tmp_path: Path) -> None:
    room = RoomFiles(str(tmp_path / "music"))
    for path in ("../../etc/passwd", "/etc/passwd", "a/../../../x"):
        found = room.find({"path": path, "size": 0, "print": ""})
        assert found.startswith(str(tmp_path / "music") + "/")


def test_files_are_replaced_wherever_they_are() -> None:
    message = {"a": [{"file": "x"}, {"file": "y", "more": 1}], "file": "z"}
    assert replace_paths(message, str.upper) == {
        "a": ["X", {"file": "y", "more": 1}], "file": "z",
    }  # fmt: skip
