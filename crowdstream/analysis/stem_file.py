"""A stem in a file, read at the sample rate of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from crowdstream.audiofile.reader import StemReader, open_stem

ANY_RATE = 44_100


class StemFileSound:
    """A `source.Sound` that reads a file. Raises an `AudioFileError` if it cannot be read."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        reader = open_stem(path, ANY_RATE)
        if reader.source_rate != ANY_RATE:
            reader.close()
            reader = open_stem(path, reader.source_rate)
        self._reader: StemReader = reader
        self.sample_rate = reader.source_rate
        self.frames = reader.frames

    def read(self, start: int, count: int) -> npt.NDArray[np.generic]:
        """See `source.Sound`."""
        return self._reader.read(start, count)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
