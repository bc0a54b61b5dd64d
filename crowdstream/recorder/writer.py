"""Open an audio file for writing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crowdstream.recorder.disk import RecordingFile
from crowdstream.recorder.flac import FlacWriter
from crowdstream.recorder.formats import FLAC
from crowdstream.recorder.wav import WavWriter

Writer = WavWriter | FlacWriter


def open_audio(
    path: Path, sample_rate: int, channels: int, form: str, roots: Sequence[Path] = ()
) -> Writer:
    """Create a new file in one of the `FORMATS`, inside `roots`; never overwrites a file.

    `write(frames)` appends float32 of shape `(count, channels)`, `save()` makes everything
    written so far readable and safe, `close()` finishes the file; `frames` is its length. All of
    them raise `OSError`. `kept`: number of frames that the file keeps if the next call fails.
    """
    disk = RecordingFile(path, roots)
    try:
        return FlacWriter(disk, sample_rate, channels) if form == FLAC else WavWriter(
            disk, sample_rate, channels, form
        )
    except BaseException:
        disk.close()
        disk.remove()
        raise
