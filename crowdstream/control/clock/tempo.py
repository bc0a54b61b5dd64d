"""The tempo as a function of the frame: stretches in which it moves in a line, then is steady.

The engine computes the same, in the same order (`engine/schedule/beat_clock.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-6  # a beat that falls so little (in frames) after a frame belongs to that frame


@dataclass(frozen=True)
class Stretch:
    """The clock from one frame on: a straight ramp of the tempo, then a steady tempo.

    `beat`: beats at `frame`; `rate`: beats a frame there; `end`: what that comes to within
    `frames` frames, and stays.
    """

    frame: int
    beat: float
    rate: float
    end: float
    frames: int

    @classmethod
    def steady(cls, frame: int, beat: float, rate: float) -> Stretch:
        """One tempo from `frame` on."""
        return cls(frame, beat, rate, rate, 0)

    @property
    def slope(self) -> float:
        """By how much the beats a frame grow each frame of the ramp."""
        return (self.end - self.rate) / self.frames if self.frames else 0.0

    def at(self, frame: float) -> float:
        """Beats at a frame, the integral of the tempo; before its beginning it was steady."""
        passed = frame - self.frame
        ramp, before = min(max(0, passed), self.frames), min(0, passed)
        beat = self.beat + self.rate * (before + ramp)
        return beat + 0.5 * self.slope * ramp * ramp + self.end * (passed - ramp - before)

    def rate_at(self, frame: float) -> float:
        """Beats a frame at a frame."""
        passed = frame - self.frame
        return self.end if passed >= self.frames else self.rate + self.slope * max(0, passed)

    def frame_of(self, beat: float) -> float:
        """The frame of a beat, between whole ones: the inverse of `at`.

        In the ramp it solves slope / 2 d^2 + rate d = beats for d, in the form that does not
        subtract two numbers of one size.
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

    def going_on(self, frame: int, beat: float) -> Stretch:
        """The same tempo told from a later frame on, which is to be that beat."""
        left = self.frame + self.frames - frame
        if left <= 0:
            return Stretch.steady(frame, beat, self.end)
        return Stretch(frame, beat, self.rate_at(frame), self.end, left)


def first_frame(frame: float) -> int:
    """The whole frame at which something happens that falls between two: the next one."""
    return math.ceil(frame - ROUNDING)


def ramp_frames(rate: float, end: float, beats: float) -> int:
    """Whole frames of a straight ramp of the tempo during which so many beats pass.

    In a straight line the mean tempo is half the sum of both ends.
    """
    return max(1, round(beats / (0.5 * (rate + end))))
