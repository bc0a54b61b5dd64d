"""This project's keylock: its engine, block by block, with nothing else playing."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.stretchers import Stretched
from crowdstream.audiofile.onsets import CONTEXT, find_onsets
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import PAGE_BYTES
from crowdstream.desk.dtypes import COMMAND
from crowdstream.desk.opcodes import OP_KEYLOCK, OP_START
from crowdstream.desk.pages import Arena
from crowdstream.desk.rings import push_commands
from crowdstream.engine.render import render

ENGINE_BLOCK = 256


def _load(desk: Desk, arena: Arena, source: int, samples: np.ndarray) -> None:
    size = arena.describe(source, len(samples), samples.shape[1], samples.dtype == np.int16)
    for page in range(-(-len(samples) // size)):
        first = page * size
        part = samples[first : first + size]
        before = samples[max(0, first - CONTEXT) : first]
        place = arena.take()
        assert place is not None
        arena.publish(source, page, place, part, find_onsets(part, before))


class Here:
    """Stereo in, stereo out. With more channels, each pair is a stem; the output is their sum.

    The CPU time is that of the whole engine, including deck and limiter.
    """

    name = "here"

    def check(self) -> None:
        """Do nothing: it is always available."""

    def stretch(self, samples: np.ndarray, tempo: float, sample_rate: int) -> Stretched:
        """See `Stretcher.stretch`."""
        stems = [
            np.ascontiguousarray(samples[:, at : at + 2], np.float32)
            for at in range(0, samples.shape[1], 2)
        ]
        pages = sum(-(-stem.nbytes // PAGE_BYTES) + 1 for stem in stems)
        desk = Desk.create(pages * PAGE_BYTES, float(sample_rate))
        arena = Arena(desk)
        for source, stem in enumerate(stems):
            _load(desk, arena, source, stem)
        start = np.zeros(2, COMMAND)
        start["op"] = (OP_START, OP_KEYLOCK)
        start["index"] = (len(stems), 1)
        start["x"][0], start["y"][0] = tempo, 1.0
        start["grid"][0] = -1
        start["end"][0] = start["loop_out"][0] = len(samples)
        start["sources"][0, : len(stems)] = range(len(stems))
        start["gains"][0, : len(stems)] = 1.0
        push_commands(desk, start)
        out = np.zeros((round(len(samples) / tempo), 2), np.float32)
        begin = time.process_time()
        for at in range(0, len(out), ENGINE_BLOCK):
            render(desk, out[at : at + ENGINE_BLOCK])
        used = time.process_time() - begin
        del arena
        desk.close()
        return Stretched(out, 0.0, used)
