"""Read tiles from a peak file, finished or not."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from crowdstream.web.waveforms.peak_file import (
    BLOCK_LEVEL,
    BUCKET_BYTES,
    EXACT,
    FACTOR,
    HEADER_BYTES,
    MISSING,
    ROUGH,
    TILE,
    Shape,
)

_HEAD = struct.Struct("<II")
_RUN = struct.Struct("<HBx")


class NoTile(LookupError):
    """The level does not exist, or it ends before the tile."""


class PeakFile:
    """An open peak file, closed when no thread uses it any more. Thread-safe."""

    def __init__(self, path: Path, shape: Shape) -> None:
        """Open the file. Raises `OSError`."""
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.shape = shape

    def __del__(self) -> None:
        # Closing earlier could let a thread read another file that has the same descriptor.
        if self._fd >= 0:
            os.close(self._fd)

    def tile(self, level: int, number: int, rough: int) -> tuple[bytes, bool]:
        """A tile's bytes, and whether all of it is exact. Raises `NoTile`.

        The bytes, little-endian: uint32 number of buckets, uint32 number of runs; for each run
        uint16 number of buckets, uint8 their state (0 missing, 1 rough, 2 exact), one padding byte;
        then four bytes for each bucket.
        `rough`: the first level that is completely known, at least roughly; -1: none.
        """
        counts = self.shape.counts
        if not 0 <= level < len(counts) or not 0 <= number * TILE < counts[level]:
            raise NoTile
        begin = number * TILE
        count = min(TILE, counts[level] - begin)
        # Read the map first: the data that it promises was written before it.
        known = self._known(level, begin, count, rough)
        offset = self.shape.offsets[level] + begin * BUCKET_BYTES
        data = os.pread(self._fd, count * BUCKET_BYTES, offset)
        data = data.ljust(count * BUCKET_BYTES, b"\0")
        edges = np.flatnonzero(np.diff(known)) + 1
        starts = [0, *edges.tolist()]
        ends = [*edges.tolist(), count]
        runs = b"".join(
            _RUN.pack(end - start, int(known[start]))
            for start, end in zip(starts, ends, strict=True)
        )
        exact = len(starts) == 1 and int(known[0]) == EXACT
        return _HEAD.pack(count, len(starts)) + runs + data, exact

    def first_missing_block(self, level: int, number: int) -> int | None:
        """The first block of a tile that is not exact; None if all are exact."""
        per_tile = max(1, TILE * FACTOR**level // FACTOR**BLOCK_LEVEL)
        begin = number * per_tile
        blocks = os.pread(self._fd, min(per_tile, self.shape.blocks - begin), HEADER_BYTES + begin)
        found = blocks.find(b"\0")
        return begin + found if found >= 0 else None

    def _known(self, level: int, begin: int, count: int, rough: int) -> Any:
        unknown = ROUGH if 0 <= rough <= level else MISSING
        if level <= BLOCK_LEVEL:
            per_block = FACTOR ** (BLOCK_LEVEL - level)
            first, last = begin // per_block, -(-(begin + count) // per_block)
            blocks = self._blocks(first, last)
            known = np.repeat(blocks, per_block)[begin - first * per_block :][:count]
            return np.where(known > 0, EXACT, unknown).astype(np.uint8)
        per_bucket = FACTOR ** (level - BLOCK_LEVEL)
        first = begin * per_bucket
        last = min(self.shape.blocks, (begin + count) * per_bucket)
        blocks = self._blocks(first, last)
        rows = np.ones(count * per_bucket, np.uint8)  # nothing is missing after the end
        rows[: len(blocks)] = blocks
        whole = rows.reshape(count, per_bucket).all(axis=1)
        partly = np.add.reduceat(blocks, np.arange(0, len(blocks), per_bucket)) > 0
        return np.where(whole, EXACT, np.where(partly, ROUGH, unknown)).astype(np.uint8)

    def _blocks(self, first: int, last: int) -> Any:
        data = os.pread(self._fd, last - first, HEADER_BYTES + first)
        return np.frombuffer(data.ljust(last - first, b"\0"), np.uint8)
