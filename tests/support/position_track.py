"""A track that encodes its position: a slow ramp whose samples identify their frame.

The sound itself gives the position in the file, with a precision of a hundredth of a frame.
"""

from __future__ import annotations

import numpy as np

from crowdstream.desk.opcodes import OP_SYNC
from tests.support.render_harness import RenderHarness

LENGTH = 1 << 18
BEAT = 22050.0  # frames per beat at the clock's 120 BPM
FIRST = 1234.5  # file frame of the grid's beat 0
TRACK_BEAT = 20000.25  # frames per beat in the file
SETTLED = 400  # frames after a jump until the old position is no longer audible


def track(harness: RenderHarness) -> int:
    """Load the track; return its source."""
    ramp = (np.arange(LENGTH) / LENGTH).astype(np.float32)
    return harness.load(ramp)


def grid(harness: RenderHarness) -> int:
    """Add the track's beat grid; return its number."""
    return harness.grid((0.0, FIRST), (1.0, FIRST + TRACK_BEAT))


def places(out: np.ndarray) -> np.ndarray:
    """Return the file frame that is audible at each frame of `out`."""
    return out[:, 0].astype(np.float64) * LENGTH


def synced(harness: RenderHarness, start: int = 0, **how: float) -> None:
    """Play the track in sync with the clock; `how`: x and y of OP_SYNC."""
    harness.start(0, track(harness), start=start, grid=grid(harness))
    harness.send(OP_SYNC, target=0, index=1, x=how.get("x", 1.0), y=how.get("y", 1.0))


def phase_error(
    harness: RenderHarness, out: np.ndarray, begin: int, ratio: float = 1.0
) -> np.ndarray:
    """Return the distance of the audible beat from the clock's, in file frames, per frame."""
    beats = np.array([harness.beat(begin + i) for i in range(len(out))])
    heard = (places(out) - FIRST) / TRACK_BEAT
    off = heard - ratio * beats
    error: np.ndarray = (off - np.round(off)) * TRACK_BEAT
    return error
