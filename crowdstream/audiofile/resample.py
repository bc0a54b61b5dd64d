"""Sample-rate conversion of any part of a file, the same samples whatever the order of reads.

The file is cut into segments on a fixed grid: whole numbers of `rate_in / g` input frames
become whole numbers of `rate_out / g` output frames (g is the rates' greatest common divisor).
Each segment is converted on its own, with enough input on either side that its edges come out
as in a conversion of the whole file, and the last segments are kept for the next read.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

Floats = npt.NDArray[np.float32]

# How far soxr's VHQ filters reach: measured, samples further than 1024 frames of the lower of the
# two rates from where a conversion begins or ends are the same bit for bit wherever that is.
_MARGIN = 1024  # frames at the lower rate
_SEGMENT = 65_536  # output frames, about: small enough for a quick start, large enough to amortise
_KEPT = 2  # segments: a read across a border, and the one before for a read that overlaps


def converted_length(frames: int, rate_in: int, rate_out: int) -> int:
    """Frames at `rate_out` that hold all of `frames` at `rate_in`: rounded up."""
    return -(-frames * rate_out // rate_in)


class RateConverter:
    """Random access to a file's samples at another rate.

    read_input(start, count): float32 samples of shape (count, channels) at `rate_in`, for any
    range inside the file's `frames`. Memory: two segments of output and one of input.
    """

    def __init__(
        self,
        read_input: Callable[[int, int], npt.NDArray[Any]],
        frames: int,
        channels: int,
        rate_in: int,
        rate_out: int,
    ) -> None:
        common = gcd(rate_in, rate_out)
        self._unit_in, self._unit_out = rate_in // common, rate_out // common
        self._rates = rate_in, rate_out
        self._read_input = read_input
        self._frames_in = frames
        self._channels = channels
        self.frames = converted_length(frames, rate_in, rate_out)
        self._margin = -(-_MARGIN * max(rate_in, rate_out) // rate_out)  # input frames
        # The margin before a segment counts in whole units, so that its output can be cut off.
        self._lead_units = -(-self._margin // self._unit_in)
        # A long unit (44099 to 44100: one second) costs a long margin, so take more per segment.
        units = max(1, round(_SEGMENT / self._unit_out), 3 * self._lead_units)
        self._units = min(units, max(1, 8 * _SEGMENT // self._unit_out))
        self._segment_out = self._units * self._unit_out
        self._segments: dict[int, Floats] = {}
        self._input = np.empty((0, channels), np.float32)
        self._input_at = 0

    def read(self, start: int, count: int) -> Floats:
        """Frames `start` to `start + count`, all within `frames`: (count, channels), C order."""
        out = np.empty((count, self._channels), np.float32)
        done = 0
        while done < count:
            number, offset = divmod(start + done, self._segment_out)
            part = self._segment(number)[offset : offset + count - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out

    def _segment(self, number: int) -> Floats:
        found = self._segments.pop(number, None)
        if found is None:
            found = self._convert(number)
            while len(self._segments) >= _KEPT:
                del self._segments[next(iter(self._segments))]
        self._segments[number] = found  # the one used last goes to the end
        return found

    def _convert(self, number: int) -> Floats:
        # The first segment starts as a conversion of the whole file does, with nothing before it.
        lead = min(self._lead_units, number * self._units)
        first = (number * self._units - lead) * self._unit_in
        length = (lead + self._units) * self._unit_in + self._margin
        block = self._padded_input(first, length)
        made = soxr.resample(block, *self._rates, quality="VHQ")
        skip = lead * self._unit_out
        made = made[skip : skip + self._segment_out]
        # Samples near the largest float can overflow in the filter.
        clean: Floats = np.nan_to_num(made, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return clean

    def _padded_input(self, first: int, length: int) -> Floats:
        """Input frames from `first` on, with silence after the file's end.

        What the previous segment already read is not decoded twice.
        """
        block = np.zeros((length, self._channels), np.float32)
        start, end = first, min(self._frames_in, first + length)
        kept_end = self._input_at + len(self._input)
        if self._input_at <= start < kept_end < end:
            known = self._input[start - self._input_at :]
            block[start - first : kept_end - first] = known
            start = kept_end
        if end > start:
            block[start - first : end - first] = self._read_input(start, end - start)
        self._input = block[: max(0, end - first)]
        self._input_at = first
        return block
