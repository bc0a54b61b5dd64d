"""The scan of a whole file for the recordings of which it was joined."""

from __future__ import annotations

from pathlib import Path

from crowdstream.audiofile.containers.file_range import ByteRange
from crowdstream.audiofile.containers.joined_parts import find_parts

FRAME = bytes.fromhex("fffb9064") + bytes(413)  # layer III, 128 kbit/s, 44.1 kHz, stereo


def test_the_scan_of_an_mp3_file_reports_progress(tmp_path: Path) -> None:
    """A loader without a sign of life for 30 s is killed; a slow network reads 100 MB longer."""
    path = tmp_path / "a.mp3"
    path.write_bytes(FRAME * 10_000)
    calls: list[int] = []
    with path.open("rb") as file:
        size = path.stat().st_size
        [part] = find_parts(ByteRange(file.fileno(), 0, size), lambda: calls.append(1))
    assert part.layout is not None and part.layout.count == 10_000
    assert len(calls) >= size >> 20
