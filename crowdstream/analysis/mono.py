"""Mix stereo down to mono without cancelling sounds of opposite polarity.

Half the sum of both channels (mid) cancels sounds that have opposite polarity in the channels,
such as those of a swapped cable or of a stereo widener. Half the difference (side) contains them.
Each block selects one of the two, and selects the side only if it is much louder than the mid, so
ordinary stereo gives its mid.
"""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.source import Floats

SIDE_POWER_RATIO = 4.0  # power ratio of side to mid (6 dB) above which the side is selected
RAMP_SECONDS = 0.02  # of the crossfade between mid and side


class Mono:
    """Mix a stereo stream down to mono, block by block. `rate` is in Hz."""

    def __init__(self, rate: float) -> None:
        self._ramp = max(1, round(RAMP_SECONDS * rate))
        self._side_selected = False  # the side is selected

    def feed(self, block: Floats) -> tuple[Floats, Floats]:
        """Process the next samples, `(frames, 2)`.

        Returns the selected signal and the other one, `(frames,)` each: mid and side, or side
        and mid.
        """
        mid = (block[:, 0] + block[:, 1]) * np.float32(0.5)
        side = (block[:, 0] - block[:, 1]) * np.float32(0.5)
        mids, sides = float(np.dot(mid, mid)), float(np.dot(side, side))
        before = self._side_selected
        if sides > SIDE_POWER_RATIO * mids:
            self._side_selected = True
        elif mids > sides or not sides:
            self._side_selected = False
        if before == self._side_selected:
            return (side, mid) if before else (mid, side)
        # Crossfade: the share of the side, from its previous to its new value.
        share = np.full(len(block), self._side_selected, np.float32)
        count = min(self._ramp, len(block))
        ramp = np.linspace(0, 1, count, dtype=np.float32)
        share[:count] = ramp if self._side_selected else 1 - ramp
        return mid + share * (side - mid), side + share * (mid - side)
