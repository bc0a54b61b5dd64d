"""Opening a file to write sound to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crowdstream.recorder.disk import Disk
from crowdstream.recorder.flac import FlacWriter
from crowdstream.recorder.formats import FLAC
from crowdstream.recorder.wav import WavWriter

Writer = WavWriter | FlacWriter


def open_audio(
    path: Path, sample_rate: int, channels: int, form: str, roots: Sequence[Path] = ()
) -> Writer:
    """Make a new file of one of the `FORMATS`; never one that exists, nor one outside `roots`.

    `write(frames)` appends float32 of shape `(count, channels)`, `save()` makes what was written
    so far readable and safe, `close()` finishes the file; `frames` is what it holds. All of them
    raise `OSError`. `kept`: frames that it will still hold if the next call does.
    """
    disk = Disk(path, roots)
    try:
        return FlacWriter(disk, sample_rate, channels) if form == FLAC else WavWriter(
            disk, sample_rate, channels, form
        )
    except BaseException:
        disk.close()
        disk.remove()
        raise
