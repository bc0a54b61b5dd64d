"""A recording that reaches the maximum file size continues in another file without a gap."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.recorder import writers
from crowdstream.recorder.recording import MAX_NAME_BYTES, Recording, _part_path
from tests.support.recording import FORMATS, STEP, FullDisk, SmallFiles, sound

Record = Callable[..., list[dict[str, Any]]]
CHUNK = 2205
SLACK = 4096 * 8  # a FLAC block, which is complete or missing


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Record frames in chunks on a disk with small files; returns the events."""

    def run(
        path: Path, frames: np.ndarray, form: str, most: int = 200_001, lost: int = 0
    ) -> list[dict[str, Any]]:
        monkeypatch.setattr(SmallFiles, "most", most)
        monkeypatch.setattr(writers, "RecordingFile", SmallFiles)
        events: list[dict[str, Any]] = []
        one = Recording(path, 44100, form, events.append)
        for at in range(0, len(frames), CHUNK):
            one.put(lost if at == 2 * CHUNK else 0, frames[at : at + CHUNK])
        one.finish()
        one.join(60.0)
        assert not one.open
        return events

    return run


def parts(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """The created files and their frames, as reported."""
    full = [(one["full"], one["frames"]) for one in events if one["event"] == "continued"]
    [closed] = [one for one in events if one["event"] == "closed"]
    return [*full, (closed["path"], closed["frames"])]


def joined(files: list[tuple[str, int]]) -> np.ndarray:
    """All files one after another; each contains as many frames as reported."""
    found = []
    for path, frames in files:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
        assert rate == 44100 and len(samples) == frames == soundfile.info(path).frames > 0
        found.append(samples)
    return np.concatenate(found)


@pytest.mark.parametrize(("form", "extension"), FORMATS)
@pytest.mark.parametrize("most", [200_001, 150_000, 99_999])
def test_no_frame_is_lost_or_repeated_between_files(
    tmp_path: Path, record: Record, form: str, extension: str, most: int
) -> None:
    frames = sound(120_000)
    events = record(tmp_path / f"mix{extension}", frames, form, most)
    files = parts(events)
    names = [f"mix{extension}", *(f"mix-{n}{extension}" for n in range(2, len(files) + 1))]
    assert [Path(path).name for path, _ in files] == names
    assert len(files) >= 3
    heard = joined(files)
    assert len(heard) == len(frames)
    assert np.abs(heard - frames).max() <= STEP[form]
    for path, _ in files:
        assert os.path.getsize(path) <= most
    for path, _ in files[:-1]:
        assert os.path.getsize(path) > most - SLACK, "a file takes what it can"
    assert {one["first"] for one in events} == {str(tmp_path / f"mix{extension}")}


def test_a_wav_file_is_filled_to_the_last_complete_frame(tmp_path: Path, record: Record) -> None:
    files = parts(record(tmp_path / "mix.wav", sound(40_000), "wav24", 100_000))
    head = os.path.getsize(files[0][0]) - 6 * files[0][1]
    assert files[0][1] == (100_000 - head) // 6


def test_the_last_flac_block_may_need_a_file_of_its_own(
    tmp_path: Path, record: Record
) -> None:
    frames = sound(20_000)
    whole = record(tmp_path / "whole.flac", frames, "flac", 10**9)
    size = os.path.getsize(whole[-1]["path"])
    for most in range(size - 8000, size, 1000):
        events = record(tmp_path / f"{most}.flac", frames, "flac", most)
        files = parts(events)
        assert len(files) == 2
        assert np.abs(joined(files) - frames).max() <= STEP["flac"]


def test_silence_for_lost_frames_continues_in_the_next_file(tmp_path: Path, record: Record) -> None:
    frames = sound(30_000)
    events = record(tmp_path / "mix.wav", frames, "float", lost=50_000)
    heard = joined(parts(events))
    at = 2 * CHUNK
    assert np.array_equal(heard[:at], frames[:at])
    assert not heard[at : at + 50_000].any()
    assert np.array_equal(heard[at + 50_000 :], frames[at:])


def test_existing_files_are_skipped(tmp_path: Path, record: Record) -> None:
    (tmp_path / "mix-2.wav").write_bytes(b"mine")
    (tmp_path / "mix-4.wav").symlink_to(tmp_path / "elsewhere")
    frames = sound(70_000)
    files = parts(record(tmp_path / "mix.wav", frames, "float"))
    assert [Path(path).name for path, _ in files] == ["mix.wav", "mix-3.wav", "mix-5.wav"]
    assert np.array_equal(joined(files), frames)
    assert (tmp_path / "mix-2.wav").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_limit_without_room_for_audio_ends_the_recording(
    tmp_path: Path, record: Record
) -> None:
    [failed] = record(tmp_path / "mix.wav", sound(10_000), "wav24", 81)
    assert (failed["event"], failed["reason"]) == ("failed", os.strerror(errno.EFBIG))
    assert [path.name for path in tmp_path.iterdir()] == ["mix.wav"]


def test_a_full_disk_does_not_start_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RecordingFile", FullDisk)
    events: list[dict[str, Any]] = []
    one = Recording(tmp_path / "mix.wav", 44100, "float", events.append)
    one.put(0, sound(60_000))
    one.finish()
    one.join(60.0)
    assert [message["event"] for message in events] == ["failed"]
    assert [path.name for path in tmp_path.iterdir()] == ["mix.wav"]


def test_a_continuation_file_stays_inside_the_recording_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RecordingFile", SmallFiles)
    folder = tmp_path / "in" / "sets"
    folder.mkdir(parents=True)
    events: list[dict[str, Any]] = []
    one = Recording(folder / "mix.wav", 44100, "float", events.append, [tmp_path / "in"])
    folder.rename(tmp_path / "out")
    folder.symlink_to(tmp_path / "out")
    one.put(0, sound(60_000))
    one.finish()
    one.join(60.0)
    assert [message["event"] for message in events] == ["failed"]


def test_the_name_of_a_continuation_file_respects_the_name_limit() -> None:
    assert _part_path(Path("/a/mix.wav"), 2) == Path("/a/mix-2.wav")
    long = _part_path(Path("/a") / ("é" * 125 + ".flac"), 12)
    assert len(os.fsencode(long.name)) <= MAX_NAME_BYTES
    assert long.name.endswith("é-12.flac")
