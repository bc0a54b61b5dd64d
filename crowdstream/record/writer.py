"""Opening a file to write sound to."""

from __future__ import annotations

from pathlib import Path

from crowdstream.record.disk import Disk
from crowdstream.record.flac import FlacWriter
from crowdstream.record.formats import FLAC
from crowdstream.record.wav import WavWriter

Writer = WavWriter | FlacWriter


def open_audio(path: Path, sample_rate: int, channels: int, form: str) -> Writer:
    """Make a new file of one of the `FORMATS`; never one that exists.

    `write(frames)` appends float32 of shape `(count, channels)`, `save()` makes what was written
    so far readable and safe, `close()` finishes the file; `frames` is what it holds. All of them
    raise `OSError`.
    """
    disk = Disk(path)
    try:
        return FlacWriter(disk, sample_rate, channels) if form == FLAC else WavWriter(
            disk, sample_rate, channels, form
        )
    except BaseException:
        disk.close()
        path.unlink()
        raise
