"""Live inputs of an offline render: files, read in step with the mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crowdstream.audiofile.reader import open_stem
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import INPUT_FRAMES
from crowdstream.desk.inputs import DECAY_SECONDS, InputWriter


class InputFile:
    """A file that plays on one input, counted from 0, as a device would.

    `frames`: its length at the sample rate of the mix. `plays`: whether it was started, and not
    stopped since. Raises `AudioFileError`, as `fill` does. Close it.
    """

    def __init__(self, desk: Desk, number: int, path: Path) -> None:
        self._desk = desk
        self._reader = open_stem(path, round(desk.sample_rate))
        self._writer = InputWriter(desk, number)
        self.frames = self._reader.frames
        self._origin = 0
        self.plays = False
        self._tail = round(DECAY_SECONDS * desk.sample_rate)
        self._last = np.zeros((1, 2), np.float32)

    def start(self, origin: int) -> None:
        """Begin at frame `origin` of the mix."""
        self._origin = origin
        self._writer.start_file(self._desk.sample_rate, origin)
        self.plays = True

    def stop(self) -> None:
        """End it before its end, as a device that disappears does: the engine fades it out."""
        self._writer.stop()
        self.plays = False

    @property
    def left(self) -> int:
        """Frames of the file that have not been played yet."""
        return max(0, self._origin + self.frames - self._desk.frame)

    def fill(self, until: int) -> None:
        """Read what is due before frame `until` of the mix, at most `INPUT_FRAMES` at a time."""
        if not self.plays:
            return
        need = min(until - self._origin, self.frames + self._tail) - self._writer.head
        if need > INPUT_FRAMES:
            raise ValueError(f"{need} frames do not fit into the ring of an input")
        if need <= 0:
            return
        head = self._writer.head
        samples = self._reader.read(head, need)
        if samples.dtype == np.int16:
            samples = samples.astype(np.float32) / np.float32(32768.0)
        stereo = np.array(np.broadcast_to(samples, (len(samples), 2)), np.float32)
        if len(stereo):
            self._last = stereo[-1:]
        silent = need - len(stereo)
        if silent:  # the last sample decays, if the file does not end with silence
            done = max(0, head - self.frames)
            fall = 1.0 - np.arange(done + 1, done + 1 + silent, dtype=np.float32) / self._tail
            stereo = np.concatenate([stereo, self._last * fall[:, None]])
        self._writer.write_file(stereo)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
