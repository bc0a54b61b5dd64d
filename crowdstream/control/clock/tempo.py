"""Tempo as a function of the frame: segments that ramp linearly, then hold.

The engine computes the same, in the same order of operations (`engine/schedule/beat_clock.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-6  # frames: a beat that falls this little after a frame belongs to that frame


@dataclass(frozen=True)
class TempoSegment:
    """The clock from `frame` on: a linear tempo ramp of `frames` frames, then a constant tempo.

    `beat`: beats at `frame`. `rate`: beats per frame at `frame`. `end`: beats per frame from the
    end of the ramp on.
    """

    frame: int
    beat: float
    rate: float
    end: float
    frames: int

    @classmethod
    def steady(cls, frame: int, beat: float, rate: float) -> TempoSegment:
        """Return a segment of constant tempo; `rate` is in beats per frame."""
        return cls(frame, beat, rate, rate, 0)

    @property
    def slope(self) -> float:
        """Change of the rate per frame of the ramp, in beats per frame squared."""
        return (self.end - self.rate) / self.frames if self.frames else 0.0

    def at(self, frame: float) -> float:
        """Return the beats at a frame: the integral of the tempo, constant before the segment."""
        passed = frame - self.frame
        ramp, before = min(max(0, passed), self.frames), min(0, passed)
        beat = self.beat + self.rate * (before + ramp)
        return beat + 0.5 * self.slope * ramp * ramp + self.end * (passed - ramp - before)

    def rate_at(self, frame: float) -> float:
        """Return the rate at a frame, in beats per frame."""
        passed = frame - self.frame
        return self.end if passed >= self.frames else self.rate + self.slope * max(0, passed)

    def frame_of(self, beat: float) -> float:
        """Return the (fractional) frame of a beat: the inverse of `at`.

        In the ramp it solves slope / 2 d^2 + rate d = beats for d, in the form that avoids
        cancellation: it never subtracts two numbers of similar size.
        """
        left = beat - self.beat
        if left <= 0.0:
            return self.frame + left / self.rate
        ramp, slope = float(self.frames), self.slope
        in_ramp = self.rate * ramp + 0.5 * slope * ramp * ramp
        if left >= in_ramp:
            return self.frame + ramp + (left - in_ramp) / self.end
        root = math.sqrt(self.rate**2 + 2.0 * slope * left)
        return self.frame + 2.0 * left / (self.rate + root)

    def continued(self, frame: int, beat: float) -> TempoSegment:
        """Return the rest of this segment from a later `frame` on, where the beat is `beat`."""
        left = self.frame + self.frames - frame
        if left <= 0:
            return TempoSegment.steady(frame, beat, self.end)
        return TempoSegment(frame, beat, self.rate_at(frame), self.end, left)


def first_frame(frame: float) -> int:
    """Round a fractional frame up to the whole frame at which its event happens."""
    return math.ceil(frame - ROUNDING)


def ramp_frames(rate: float, end: float, beats: float) -> int:
    """Return the length in frames of a linear tempo ramp that lasts `beats` beats.

    The mean of a linear ramp is half the sum of both ends. `rate` and `end` are in beats per frame.
    """
    return max(1, round(beats / (0.5 * (rate + end))))
