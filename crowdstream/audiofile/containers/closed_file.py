"""A file that is not open, in place of one that is: of what need not or can't be read any more."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crowdstream.audiofile.containers.file_range import Samples
from crowdstream.audiofile.errors import FileUnreadable


class ClosedFile:
    """Has the shape of a `StemReader`, and nothing to read. Raises FileUnreadable on `read`."""

    def __init__(
        self, path: Path, frames: int, channels: int, dtype: Literal["int16", "float32"]
    ) -> None:
        self.path = path
        self.frames = frames
        self.channels = channels
        self.dtype = dtype
        self.identity = 0, 0

    def read(self, start: int, count: int, out: Samples | None = None) -> Samples:
        """Refuse to read."""
        raise FileUnreadable(self.path, "it is not open any more; load it again")

    def close(self) -> None:
        """There is nothing to close."""
