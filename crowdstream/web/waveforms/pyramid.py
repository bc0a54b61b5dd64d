"""A pyramid of peaks in progress: first rough as a whole, then exact block by block."""

from __future__ import annotations

import os
import zlib
from dataclasses import replace

import numpy as np

from crowdstream.web.waveforms.peak_file import (
    BLOCK,
    BLOCK_LEVEL,
    BUCKET_BYTES,
    FACTOR,
    HEADER_BYTES,
    Header,
    Shape,
)
from crowdstream.web.waveforms.peaks import ENERGY, Buckets, coarser, encode


class Pyramid:
    """Writes a peak file such that concurrent readers find everything that its map promises.

    The levels above the blocks are kept in memory (100 KB for three hours) and written by `flush`
    after changes.
    """

    def __init__(self, fd: int, header: Header) -> None:
        """`fd`: an empty file, open for reading and writing; the caller closes it."""
        self._fd = fd
        self._header = header
        self.shape: Shape = header.shape
        os.ftruncate(fd, self.shape.size)
        os.pwrite(fd, header.packed(), 0)
        self.exact = np.zeros(self.shape.blocks, np.bool_)
        self.left = self.shape.blocks
        levels = range(BLOCK_LEVEL, len(self.shape.counts))
        counts = self.shape.counts
        self._upper: dict[int, Buckets] = {
            level: np.zeros((counts[level], BUCKET_BYTES), np.uint8) for level in levels
        }
        self._known = {level: np.zeros(counts[level], np.bool_) for level in levels}
        self._changed: tuple[int, int] | None = None

    @property
    def rough(self) -> int:
        """The first level that is completely known, at least roughly; -1: none."""
        return self._header.rough

    def look(self, level: int, buckets: Buckets) -> None:
        """Write a rough preview of a whole level and all coarser ones, before anything is exact."""
        for above in range(level, len(self.shape.counts)):
            if above > level:
                buckets = coarser(buckets)
            self._write(above, 0, buckets)
            if above in self._upper:
                self._upper[above][:] = buckets
                self._known[above][:] = True
        self._header = replace(self._header, rough=level)
        os.pwrite(self._fd, self._header.packed(), 0)

    def put(self, block: int, buckets: Buckets) -> None:
        """Write buckets of level 0 from a block on: whole blocks, or all up to the end."""
        blocks = -(-len(buckets) // BLOCK)
        at = block * BLOCK
        self._write(0, at, buckets)
        for level in range(1, min(BLOCK_LEVEL + 1, len(self.shape.counts))):
            buckets = coarser(buckets)
            at //= FACTOR
            if level == BLOCK_LEVEL:
                self._upper[level][at : at + len(buckets)] = buckets
                self._known[level][at : at + len(buckets)] = True
            self._write(level, at, buckets)
        begin, end = self._changed or (block, block)
        self._changed = min(begin, block), max(end, block + blocks)
        fresh = blocks - int(np.count_nonzero(self.exact[block : block + blocks]))
        self.exact[block : block + blocks] = True
        self.left -= fresh

    def flush(self) -> None:
        """Update the coarser levels and the map with everything that was `put`."""
        if self._changed is None:
            return
        begin, end = first, last = self._changed
        self._changed = None
        for level in range(BLOCK_LEVEL + 1, len(self.shape.counts)):
            begin, end = begin // FACTOR, -(-end // FACTOR)
            self._combine(level, begin, end)
            self._write(level, begin, self._upper[level][begin:end])
        # The map comes last: a reader that reads it before the levels finds what it promises.
        os.pwrite(self._fd, self.exact[first:last].tobytes(), HEADER_BYTES + first)

    def finish(self) -> None:
        """Mark the file as finished, with its checksum. All blocks must be exact."""
        self.flush()
        check, at = 0, HEADER_BYTES
        while data := os.pread(self._fd, 1 << 20, at):
            check = zlib.crc32(data, check)
            at += len(data)
        self._header = replace(self._header, finished=True, check=check)
        os.pwrite(self._fd, self._header.packed(), 0)

    def _write(self, level: int, at: int, buckets: Buckets) -> None:
        offset = self.shape.offsets[level] + at * BUCKET_BYTES
        data = buckets.tobytes()
        if os.pwrite(self._fd, data, offset) != len(data):
            raise OSError("not enough space for the waveform")

    def _combine(self, level: int, begin: int, end: int) -> None:
        # Like `coarser`, but some of the buckets below may be unknown.
        below, known = self._upper[level - 1], self._known[level - 1]
        count = end - begin
        fours = np.zeros((count * FACTOR, BUCKET_BYTES), np.uint8)
        there = np.zeros(count * FACTOR, np.bool_)
        some = below[begin * FACTOR : end * FACTOR]
        fours[: len(some)] = some
        there[: len(some)] = known[begin * FACTOR : end * FACTOR]
        there[len(some) :] = True  # silence after the end
        peaks = fours[:, 0].reshape(count, FACTOR).max(axis=1)
        of_four = there.reshape(count, FACTOR).sum(axis=1)
        energy = ENERGY[fours[:, 1:]].reshape(count, FACTOR, 3).sum(axis=1)
        mean = energy / np.maximum(of_four, 1)[:, None]
        bands = encode(mean.astype(np.float32, copy=False))
        mine = self._upper[level][begin:end]
        partly = (of_four < FACTOR) & self._known[level][begin:end] & (level == self.rough)
        # The preview counts until all buckets below are known.
        mine[:, 0] = np.where(partly, np.maximum(mine[:, 0], peaks), peaks)
        mine[:, 1:] = np.where(partly[:, None], mine[:, 1:], bands)
        self._known[level][begin:end] |= of_four > 0
