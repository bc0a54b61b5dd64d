"""Files of the same music in rooms with different folders."""

from __future__ import annotations

from pathlib import Path

from crowdstream.rooms.files import RoomFiles, replace_paths


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
