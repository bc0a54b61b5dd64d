"""Two channels made one, without losing what has opposite polarity in them.

Half the sum of both channels is silent where one is the other turned over: a swapped cable, a
"widened" sound. There half the difference has all of it. Which of the two is taken is decided block
by block, and only where one has much more than the other, so that ordinary stereo gives its middle.
"""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.source import Floats

MUCH = 4.0  # times the power (6 dB) that the sides must have to be taken
RAMP_SECONDS = 0.02  # in which one passes into the other


class Mono:
    """Makes one channel of a stream's two. `rate`: Hz."""

    def __init__(self, rate: float) -> None:
        self._ramp = max(1, round(RAMP_SECONDS * rate))
        self._turned = False  # the sides are taken

    def feed(self, block: Floats) -> tuple[Floats, Floats]:
        """The next samples, `(frames, 2)`: what is to be looked at, and the rest of it."""
        mid = (block[:, 0] + block[:, 1]) * np.float32(0.5)
        side = (block[:, 0] - block[:, 1]) * np.float32(0.5)
        mids, sides = float(np.dot(mid, mid)), float(np.dot(side, side))
        before = self._turned
        if sides > MUCH * mids:
            self._turned = True
        elif mids > sides or not sides:
            self._turned = False
        if before == self._turned:
            return (side, mid) if before else (mid, side)
        # The share of the sides, from what it was to what it is.
        share = np.full(len(block), self._turned, np.float32)
        count = min(self._ramp, len(block))
        ramp = np.linspace(0, 1, count, dtype=np.float32)
        share[:count] = ramp if self._turned else 1 - ramp
        return mid + share * (side - mid), side + share * (mid - side)
