"""Sample-rate conversion with random access: the samples do not depend on the order of reads.

The file is cut into segments on a fixed grid: whole multiples of `rate_in / g` input frames become
whole multiples of `rate_out / g` output frames, where g is the rates' greatest common divisor. Each
segment is converted separately, with enough input on either side for its edges to come out as they
would in a conversion of the whole file. The most recent segments are cached for the next read.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

Floats = npt.NDArray[np.float32]

# How far soxr's VHQ filters reach. Measured: output samples further than 1024 frames (at the lower
# of the two rates) from the start or end of a conversion are bit-identical wherever that lies.
_MARGIN = 1024  # frames at the lower rate
# Output frames, approximately: small for a quick start, large to amortise the margins.
_SEGMENT = 65_536
_MAX_CACHED = 2  # segments: for a read across a border, and for one that overlaps the previous read


def converted_length(frames: int, rate_in: int, rate_out: int) -> int:
    """Return how many frames at `rate_out` hold `frames` frames at `rate_in`, rounded up."""
    return -(-frames * rate_out // rate_in)


class RateConverter:
    """Random access to a file's samples at another sample rate.

    read_input(start, count) returns float32 samples of shape (count, channels) at `rate_in`, for
    any range within the file's `frames`. rate_in, rate_out: Hz. `frames` is the length at
    `rate_out`. Memory: two segments of output and one of input. For one thread at a time.
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
        # The margin before a segment is a whole number of units, so that its output can be cut.
        self._lead_units = -(-self._margin // self._unit_in)
        # A long unit (one second for 44099 to 44100 Hz) needs a long margin; longer segments
        # amortise it.
        units = max(1, round(_SEGMENT / self._unit_out), 3 * self._lead_units)
        self._units = min(units, max(1, 8 * _SEGMENT // self._unit_out))
        self._segment_out = self._units * self._unit_out
        self._segments: dict[int, Floats] = {}
        self._input = np.empty((0, channels), np.float32)
        self._input_at = 0

    def read(self, start: int, count: int) -> Floats:
        """Return frames `start` to `start + count` (exclusive): shape (count, channels), C order.

        The range must lie within `frames`. The samples are float32.
        """
        out = np.empty((count, self._channels), np.float32)
        done = 0
        while done < count:
            number, offset = divmod(start + done, self._segment_out)
            part = self._segment(number)[offset : offset + count - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out

    def _segment(self, number: int) -> Floats:
        cached = self._segments.pop(number, None)
        if cached is None:
            cached = self._convert(number)
            while len(self._segments) >= _MAX_CACHED:
                del self._segments[next(iter(self._segments))]
        self._segments[number] = cached  # keep the most recently used segment last
        return cached

    def _convert(self, number: int) -> Floats:
        # The first segment has nothing before it, as in a conversion of the whole file.
        lead = min(self._lead_units, number * self._units)
        first = (number * self._units - lead) * self._unit_in
        length = (lead + self._units) * self._unit_in + self._margin
        block = self._padded_input(first, length)
        converted = soxr.resample(block, *self._rates, quality="VHQ")
        skip = lead * self._unit_out
        converted = converted[skip : skip + self._segment_out]
        # Samples near the largest float can overflow inside the filter.
        clean: Floats = np.nan_to_num(converted, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return clean

    def _padded_input(self, first: int, length: int) -> Floats:
        """Return `length` input frames from frame `first`, with silence after the file's end.

        Frames that the previous segment has already read are not decoded again.
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
