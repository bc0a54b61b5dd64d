"""A stand-in for an open file that no longer has to be read, or no longer can be."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crowdstream.audiofile.containers.file_range import Samples
from crowdstream.audiofile.errors import FileUnreadable


class ClosedFile:
    """Has the attributes of a `StemReader`, but no file behind it; `read` raises FileUnreadable."""

    def __init__(
        self, path: Path, frames: int, channels: int, dtype: Literal["int16", "float32"]
    ) -> None:
        self.path = path
        self.frames = frames
        self.channels = channels
        self.dtype = dtype
        self.identity = 0, 0

    def read(self, start: int, count: int, out: Samples | None = None) -> Samples:
        """Raise FileUnreadable."""
        raise FileUnreadable(self.path, "it is no longer open; load it again")

    def close(self) -> None:
        """Do nothing: no file is open."""
