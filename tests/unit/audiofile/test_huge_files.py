"""Files of several hours and of more than 4 GB: bounded time and memory, and exact samples."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.reader import open_stem
from crowdstream.desk.constants import PAGE_BYTES
from tests.support.offline_server import RATE, Rig

HOURS = 6
FRAMES = HOURS * 3600 * RATE
MARK = 2 * 16384  # frames written at each position; between them are holes

KINDS = [
    ("WAV", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"),
    ("RF64", "PCM_24"), ("W64", "PCM_24"), ("CAF", "PCM_24"), ("AU", "PCM_24"),
    ("RF64", "FLOAT"), ("W64", "FLOAT"),
]  # fmt: skip


def mark(number: int) -> np.ndarray:
    """Return audio that identifies its position: it counts up, and differs from mark to mark."""
    count = (np.arange(MARK) % 8000 + 1000 * number).astype(np.float32)
    return np.stack([count, -count], 1) / 32768


def huge(path: Path, kind: str, subtype: str, frames: int = FRAMES) -> Path:
    """Write a sparse file with a mark at its beginning, in its middle and at its end."""
    with soundfile.SoundFile(path, "w", RATE, 2, subtype, format=kind) as file:
        for number, at in enumerate(places(frames)):
            file.seek(at)
            file.write(mark(number))
    assert path.stat().st_blocks * 512 < 4 << 20, "this file system does not support sparse files"
    return path


def places(frames: int) -> tuple[int, int, int]:
    """Return the frames at which the marks lie."""
    return 0, frames // 2, frames - MARK


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_six_hours_are_read_exactly_at_any_position(
    tmp_path: Path, kind: str, subtype: str
) -> None:
    path = huge(tmp_path / "huge", kind, subtype)
    with open_stem(path, RATE) as reader:
        assert reader.frames == FRAMES
        scale = 32768 if reader.dtype == "int16" else 1
        for number, at in reversed(list(enumerate(places(FRAMES)))):
            assert np.array_equal(reader.read(at, MARK), mark(number) * scale)
            assert not reader.read(at + MARK, 10).any()
        assert len(reader.read(FRAMES, 10)) == 0


@pytest.mark.parametrize("claimed", ["unknown", "zero", "2 GB", "wrapped"])
def test_a_wav_larger_than_its_header_allows_is_read_to_its_end(
    tmp_path: Path, claimed: str
) -> None:
    path = tmp_path / "huge.wav"
    size = 6 * FRAMES
    claims = {"unknown": 0xFFFFFFFF, "zero": 0, "2 GB": 0x7FFFF000, "wrapped": size % 2**32}
    claim = claims[claimed]
    total = (size + 36) % 2**32 if claimed == "wrapped" else claim
    head = b"RIFF" + struct.pack("<I", total) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, 1, 2, RATE, 6 * RATE, 6, 24
    ) + b"data" + struct.pack("<I", claim)  # fmt: skip
    path.write_bytes(head)
    os.truncate(path, len(head) + size)
    with path.open("r+b") as file:
        for number, at in enumerate(places(FRAMES)):
            file.seek(len(head) + 6 * at)
            samples = np.round(mark(number).reshape(-1) * 2**23).astype("<i4")
            file.write(samples.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    with open_stem(path, RATE) as reader:
        assert reader.frames == FRAMES
        for number, at in enumerate(places(FRAMES)):
            assert np.array_equal(reader.read(at, MARK), mark(number))


def test_a_wav_of_three_gigabytes_from_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe.wav"
    head = b"RIFF" + struct.pack("<I", 0x7FFFF024) + b"WAVEfmt " + struct.pack(
        "<IHHIIHH", 16, 1, 2, RATE, 4 * RATE, 4, 16
    ) + b"data" + struct.pack("<I", 0x7FFFF000)  # fmt: skip
    path.write_bytes(head)
    os.truncate(path, len(head) + 3_000_000_000)
    with open_stem(path, RATE) as reader:
        assert reader.frames == 750_000_000


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("W64", "PCM_24")])
def test_six_hours_play_from_anywhere_in_32_megabytes(
    tmp_path: Path, kind: str, subtype: str
) -> None:
    path = huge(tmp_path / "huge", kind, subtype)
    with Rig(memory_mb=32) as rig:
        rig.send("/load_buffer", 100, str(path))
        rig.step()
        assert rig.core.track_table.find(100).streamed
        rig.send("/play_stem", 100, 1.0, 1.0, 0)
        for number, at in enumerate(places(FRAMES)):
            if number:
                rig.send("/deck/A/seek", at / RATE)
            rig.run(4096)
            position = int(rig.desk.voices["position"][0])
            begin = position - 2048 - at
            assert 0 <= begin < MARK - 2048
            assert np.array_equal(rig.out[-2048:], mark(number)[begin : begin + 2048])
        assert rig.loader.status()["used"] * PAGE_BYTES <= 32e6
        assert int(rig.desk.ledger["missing_pages"]) == 0
        assert rig.fails() == []


def test_a_file_larger_than_the_page_table_is_refused_with_its_size(tmp_path: Path) -> None:
    path = huge(tmp_path / "huge", "W64", "FLOAT", 2 * FRAMES)
    with Rig(memory_mb=32) as rig:
        rig.send("/load_buffer", 100, str(path))
        rig.step()
        [reason] = rig.fails()
        assert f"{2 * FRAMES} frames are more than" in reason
