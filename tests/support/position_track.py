"""A track that tells where it is: a slow ramp whose samples say which frame they are.

So the sound itself tells the place in the file, to a hundredth of a frame, between frames too.
"""

from __future__ import annotations

import numpy as np

from crowdstream.desk.opcodes import OP_SYNC
from tests.support.render_harness import RenderHarness

LENGTH = 1 << 18
BEAT = 22050.0  # frames of a beat at the clock's 120 beats a minute
FIRST = 1234.5  # file frame of the grid's beat 0
TRACK_BEAT = 20000.25  # frames of a beat in the file
SETTLED = 400  # frames after a jump until nothing of the old place sounds


def track(harness: RenderHarness) -> int:
    """Load the track; its source."""
    ramp = (np.arange(LENGTH) / LENGTH).astype(np.float32)
    return harness.load(ramp)


def grid(harness: RenderHarness) -> int:
    """Enter the track's beat grid; its number."""
    return harness.grid((0.0, FIRST), (1.0, FIRST + TRACK_BEAT))


def places(out: np.ndarray) -> np.ndarray:
    """The file frame that is heard at each frame of `out`."""
    return out[:, 0].astype(np.float64) * LENGTH


def synced(harness: RenderHarness, start: int = 0, **how: float) -> None:
    """Play the track, tied to the clock; `how`: x and y of OP_SYNC."""
    harness.start(0, track(harness), start=start, grid=grid(harness))
    harness.send(OP_SYNC, target=0, index=1, x=how.get("x", 1.0), y=how.get("y", 1.0))


def phase_error(
    harness: RenderHarness, out: np.ndarray, begin: int, ratio: float = 1.0
) -> np.ndarray:
    """How far the beat that is heard is off the clock's, in file frames, at each frame of `out`."""
    beats = np.array([harness.beat(begin + i) for i in range(len(out))])
    heard = (places(out) - FIRST) / TRACK_BEAT
    off = heard - ratio * beats
    error: np.ndarray = (off - np.round(off)) * TRACK_BEAT
    return error
