"""The output file: complete under its name, or absent with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.offline.output import Output, OutputError

SOUND = np.random.default_rng(3).uniform(-1, 1, (5000, 2)).astype(np.float32)


def save(path: Path, format: str = "float", sound: np.ndarray = SOUND) -> None:
    with Output(path, 44100, format) as output:
        output.write(sound[:2000])
        output.write(sound[2000:])
        output.finish()


@pytest.mark.parametrize(
    ("name", "format", "step"),
    [("a.wav", "16", 2**-15), ("a.wav", "24", 2**-23), ("a.wav", "float", 0.0),
     ("a.flac", "16", 2**-15), ("A.FLAC", "24", 2**-23)],
)  # fmt: skip
def test_a_written_file_can_be_read(tmp_path: Path, name: str, format: str, step: float) -> None:
    save(tmp_path / name, format)
    read, rate = soundfile.read(tmp_path / name, dtype="float32")
    assert rate == 44100
    assert np.abs(read - SOUND).max() <= step
    assert os.listdir(tmp_path) == [name]


def test_a_small_file_is_a_plain_wav_without_a_date(tmp_path: Path) -> None:
    save(tmp_path / "a.wav")
    data = (tmp_path / "a.wav").read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    assert b"PEAK" not in data[:300]  # that chunk contains a time stamp


def test_an_unfinished_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), Output(tmp_path / "a.wav", 44100, "24") as output:
        output.write(SOUND)
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"before"


@pytest.mark.parametrize(
    ("name", "format", "reason"),
    [
        ("a.mp3", "24", r"its name must end in .wav or .flac"),
        ("a.flac", "float", "FLAC does not support floats"),
        ("none/a.wav", "24", "No such file or directory; choose another folder"),
        ("folder.wav", "24", "it exists and is not a regular file"),
    ],
)
def test_an_unwritable_file_is_refused(tmp_path: Path, name: str, format: str, reason: str) -> None:
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(OutputError, match=rf"{name} can't be written: {reason}"):
        save(tmp_path / name, format)
    assert os.listdir(tmp_path) == ["folder.wav"]


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_RDWR)
    opened = os.open

    def to_full(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith(".part"):
            os.close(opened(path, flags, mode, dir_fd=dir_fd))
            return os.dup(full)
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", to_full)
    try:
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            save(tmp_path / "a.wav", "24", np.zeros((200_000, 2), np.float32))
    finally:
        os.close(full)
    assert not os.listdir(tmp_path)


def test_temporary_files_of_killed_renders_are_removed(tmp_path: Path) -> None:
    dead = 2**22 + 1  # above the largest process id
    for name in (f".a.wav.{dead}.part", f".b.wav.{dead}.part", f".a.wav.{os.getppid()}.part"):
        (tmp_path / name).write_bytes(b"1")
    save(tmp_path / "a.wav")
    left = {f".b.wav.{dead}.part", f".a.wav.{os.getppid()}.part", "a.wav"}
    assert set(os.listdir(tmp_path)) == left
