"""Compute the peaks of one sound in short turns: first a rough preview, then exactly."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crowdstream.audiofile.reader import StemReader, open_stem
from crowdstream.web.waveforms.peak_file import BLOCK, BUCKET_BYTES, Header, Shape, name_digest
from crowdstream.web.waveforms.peaks import Analyser, merged
from crowdstream.web.waveforms.pyramid import Pyramid
from crowdstream.web.waveforms.store import Store, Unfinished

LOOK_BUCKETS = 800  # maximum size of the previewed level: what a wide screen shows
FIRST_PART = 4  # the first preview reads one place in four, so that all stems soon show something
# Time for the first and the second preview. If a file is slower to seek, fewer places are read.
LOOK_SECONDS, CLOSER_SECONDS = 0.01, 0.05
LOOK_BLOCKS = 16  # shorter sounds are computed as fast as they would be previewed
TURN_SECONDS = 0.015  # for one sound, before the next sound's turn
TURN_BLOCKS = 128  # maximum number kept in memory until they are written

OPENING, LOOKING, LOOKING_CLOSER, REFINING, FINISHED = range(5)


def spread(count: int) -> npt.NDArray[np.int64]:
    """The numbers below `count`, ordered so that any first ones of them are spread evenly."""
    bits = max(1, (count - 1).bit_length())
    order = [int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits)]
    return np.array([number for number in order if number < count])


class Job:
    """The computation of one sound's peaks. Call `turn` until `phase` is FINISHED.

    Raises `AudioFileError` if the file cannot be read, `TooLong`, and `OSError` if the peaks cannot
    be written.
    """

    def __init__(
        self, path: str, roots: Sequence[Path], store: Store, progress: Callable[[], None]
    ) -> None:
        self.path = path
        self.phase = OPENING
        self.file: Path | None = None
        self.header: Header | None = None
        self._roots = roots
        self._store = store
        self._progress = progress
        self._near = 0
        self._reader: StemReader | None = None
        self._unfinished: Unfinished | None = None

    @property
    def ready(self) -> float:
        """The part that is exact, 0 to 1."""
        if self.phase in (OPENING, FINISHED):
            return float(self.phase == FINISHED)
        return 1.0 - self._pyramid.left / self._pyramid.shape.blocks

    @property
    def rough(self) -> int:
        """The first level that is known roughly; -1: none."""
        return self._pyramid.rough if self.phase in (LOOKING_CLOSER, REFINING) else -1

    def near(self, block: int) -> None:
        """Continue at this block of 256 buckets."""
        self._near = block

    def turn(self) -> None:
        """Work for a short time, about `TURN_SECONDS`."""
        if self.phase == OPENING:
            self._open()
        elif self.phase == LOOKING:
            self._look(len(self._places) // FIRST_PART, LOOK_SECONDS)
        elif self.phase == LOOKING_CLOSER:
            self._look(len(self._places), CLOSER_SECONDS)
        elif self.phase == REFINING:
            self._refine()

    def close(self) -> None:
        """Discard unfinished work."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._unfinished is not None:
            self._unfinished.drop()
            self._unfinished = None

    def _open(self) -> None:
        status = os.stat(self.path) if os.path.exists(self.path) else None
        if status is not None:
            found = self._store.find(self.path, (status.st_size, status.st_mtime_ns))
            if found is not None:
                self.file, self.header = found
                self.phase = FINISHED
                return
        reader = self._reader = open_stem(Path(self.path), None, self._progress, self._roots)
        shape = Shape.of(reader.source_rate, reader.frames)
        self.header = Header(name_digest(self.path), reader.identity, shape)
        unfinished = self._unfinished = self._store.begin(self.path, reader.identity, shape)
        self.file = unfinished.path
        self._pyramid = Pyramid(unfinished.fd, self.header)
        self._analyser = Analyser(shape, reader.channels, reader.dtype)
        worth_it = reader.seek_cost == "cheaply" and shape.blocks > LOOK_BLOCKS
        self.phase = LOOKING if worth_it else REFINING
        if worth_it:
            self._level = next(i for i, n in enumerate(shape.counts) if n <= LOOK_BUCKETS)
            count = shape.counts[self._level]
            self._seen = np.zeros((count, BUCKET_BYTES), np.uint8)
            self._looked = np.zeros(count, np.bool_)
            self._places = spread(count)

    def _look(self, most: int, seconds: float) -> None:
        assert self._reader is not None
        shape = self._pyramid.shape
        span = shape.frames / len(self._seen)
        width = max(shape.window, shape.bucket)
        at_once = self._analyser.chunk // width
        places, self._places = self._places[:most], self._places[most:]
        until = time.monotonic() + seconds
        for begin in range(0, len(places), at_once):
            some = places[begin : begin + at_once]
            for row, place in enumerate(some.tolist()):
                start = int((place + 0.5) * span - width / 2)
                start = max(0, min(start, shape.frames - width))
                room = self._analyser.room((row + 1) * width)[row * width :]
                self._reader.read(start, width, room)
                if time.monotonic() > until:
                    some = some[: row + 1]
                    break
            buckets = self._analyser.buckets(len(some) * width)
            self._seen[some] = merged(buckets, width // shape.bucket)
            self._looked[some] = True
            if time.monotonic() > until:
                break
        # Other places get the value of the nearest one that was read.
        there = np.flatnonzero(self._looked)
        edges = (there[1:] + there[:-1] + 1) // 2
        nearest = there[np.searchsorted(edges, np.arange(len(self._seen)), side="right")]
        self._pyramid.look(self._level, self._seen[nearest])
        slow = time.monotonic() > until
        self.phase = REFINING if slow or not len(self._places) else LOOKING_CLOSER

    def _fill(self, start: int, count: int) -> int:
        assert self._reader is not None
        self._reader.read(start, count, self._analyser.room(count))
        return count

    def _refine(self) -> None:
        shape, exact = self._pyramid.shape, self._pyramid.exact
        first = self._next_block()
        most = min(len(exact), first + TURN_BLOCKS)
        until = time.monotonic() + TURN_SECONDS
        parts = []
        frames = BLOCK * shape.bucket
        at, block = first * frames, first
        while block < most and not exact[block]:
            end = min((block + 1) * frames, shape.frames)
            while at < end:
                # Fill the buffer: with several short blocks, or with a part of a long one.
                count = min(self._analyser.chunk, shape.frames - at)
                count -= count % frames if count > frames else 0
                count = min(count, end - at) if count <= frames else count
                parts.append(self._analyser.buckets(self._fill(at, count)))
                at += count
            block = -(-at // frames)
            if time.monotonic() > until:
                break
        self._pyramid.put(first, np.concatenate(parts))
        self._near = block
        self._pyramid.flush()
        if self._pyramid.left == 0:
            self._finish()

    def _next_block(self) -> int:
        exact = self._pyramid.exact
        assert self._reader is not None
        # A file that can only be decoded from its beginning is best read in order.
        near = 0 if self._reader.seek_cost == "never" else min(self._near, len(exact) - 1)
        ahead = np.flatnonzero(~exact[near:])
        return near + int(ahead[0]) if len(ahead) else int(np.flatnonzero(~exact)[0])

    def _finish(self) -> None:
        assert self._unfinished is not None
        self._pyramid.finish()
        self._unfinished.keep()
        self.file = self._unfinished.path
        self._unfinished = None
        self.close()
        self.phase = FINISHED
