"""Files contain what was written, at any moment, even when the disk is full or fails."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.recorder import writers
from crowdstream.recorder.writers import WavWriter, open_audio
from tests.support.recording import FORMATS, STEP, DyingDisk, FullDisk, check, size, sound

every_format = pytest.mark.parametrize(("form", "extension"), FORMATS)


@every_format
def test_a_file_reads_back_as_written(tmp_path: Path, form: str, extension: str) -> None:
    frames = sound(50_001)
    path = tmp_path / f"a{extension}"
    made = open_audio(path, 44100, 2, form)
    for at in range(0, len(frames), 1234):
        made.write(frames[at : at + 1234])
    assert made.frames == 50_001
    made.close()
    assert check(path, frames, form) == 50_001
    assert soundfile.info(path).subtype == {
        "wav16": "PCM_16", "wav24": "PCM_24", "float": "FLOAT", "flac": "PCM_24",
    }[form]


@every_format
def test_mono_and_empty_files_are_valid(
    tmp_path: Path, form: str, extension: str
) -> None:
    mono = sound(4001)[:, :1]
    made = open_audio(tmp_path / f"mono{extension}", 48000, 1, form)
    made.write(mono)
    made.close()
    samples, rate = soundfile.read(tmp_path / f"mono{extension}", always_2d=True)
    assert rate == 48000 and samples.shape == (4001, 1)
    if form != "flac":
        head = (tmp_path / "mono.wav").read_bytes()[:8]
        assert struct.unpack("<I", head[4:])[0] + 8 == size(tmp_path / "mono.wav")
        assert size(tmp_path / "mono.wav") % 2 == 0
    assert np.abs(samples - mono).max() <= STEP[form]
    open_audio(tmp_path / f"none{extension}", 44100, 2, form).close()
    if form != "flac":  # its header is written with the first frames
        assert soundfile.info(tmp_path / f"none{extension}").frames == 0


@every_format
def test_saved_frames_are_readable_while_recording(
    tmp_path: Path, form: str, extension: str
) -> None:
    frames = sound(60_000)
    path = tmp_path / f"a{extension}"
    made = open_audio(path, 44100, 2, form)
    for at in range(0, 60_000, 4096):  # a block of the encoder
        made.write(frames[at : at + 4096])
        made.save()
        if at:  # FLAC writes its first block only when the second begins
            check(path, frames[: at + 4096], form, at)
    made.close()
    check(path, frames, form)


@every_format
def test_a_file_is_never_overwritten(tmp_path: Path, form: str, extension: str) -> None:
    path = tmp_path / f"a{extension}"
    path.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in (path, tmp_path / "link"):
        with pytest.raises(FileExistsError):
            open_audio(name, 44100, 2, form)
    assert path.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


@every_format
@pytest.mark.parametrize("room", [200_001, 100, 20])
def test_a_full_disk_leaves_a_valid_file(
    tmp_path: Path, form: str, extension: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RecordingFile", FullDisk)
    monkeypatch.setattr(FullDisk, "room", room)
    frames = sound(100_000)
    path = tmp_path / f"a{extension}"
    if room < 40 and form != "flac":
        with pytest.raises(OSError, match="No space"):
            open_audio(path, 44100, 2, form)
        assert not path.exists()
        return
    made = open_audio(path, 44100, 2, form)
    with pytest.raises(OSError, match="No space"):
        for at in range(0, 100_000, 1234):
            made.write(frames[at : at + 1234])
    made.close()
    if room > 1000:
        held = check(path, frames, form, 24_000)
        assert held == made.frames
        # And nothing after it: no part of a frame or block.
        if isinstance(made, WavWriter):
            assert size(path) == made._begin + held * made._frame_bytes
        else:
            assert size(path) == made._good_bytes < room


@every_format
def test_a_failing_disk_leaves_a_valid_file(
    tmp_path: Path, form: str, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "RecordingFile", DyingDisk)
    frames = sound(20_000)
    path = tmp_path / f"a{extension}"
    made = open_audio(path, 44100, 2, form)
    made.write(frames)
    with pytest.raises(OSError, match="error"):
        made.save()
    made.close()
    check(path, frames, form, 20_000 - 4096)
    path = tmp_path / f"b{extension}"
    made = open_audio(path, 44100, 2, form)
    made.write(frames)
    with pytest.raises(OSError, match="error"):
        made.close()
    check(path, frames, form, 20_000 - 4096)


# Past 4 GiB ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["wav16", "wav24", "float"])
def test_a_file_past_4_gib_becomes_rf64(tmp_path: Path, form: str) -> None:
    path = tmp_path / "long.wav"
    made = open_audio(path, 44100, 2, form)
    assert isinstance(made, WavWriter)
    frame_bytes = made._frame_bytes
    first, last = sound(1000), sound(1000, 2)
    made.write(first)
    made.save()
    assert path.read_bytes()[:4] == b"RIFF"
    # As if that much had been written; the file is sparse and uses no space.
    made.frames = edge = 2**32 // frame_bytes - 500
    made.write(last)
    made.save()
    with path.open("rb") as file:
        head = file.read(80)
    assert head[:16] == b"RF64\xff\xff\xff\xffWAVEds64"
    riff, data, frames = struct.unpack("<QQQ", head[20:44])
    assert riff == path.stat().st_size - 8
    assert data == (edge + 1000) * frame_bytes and frames == edge + 1000
    made.close()
    with soundfile.SoundFile(path) as file:
        assert file.format == "RF64" and file.frames == edge + 1000
        assert np.abs(file.read(1000) - first).max() <= STEP[form]
        file.seek(edge)
        assert np.abs(file.read() - last).max() <= STEP[form]
    os.truncate(path, 0)
