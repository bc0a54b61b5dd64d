"""Conversion from the desk's sample rate to that of a device that does not support it.

The first engine sets the desk to the rate of its device, and files are converted to that rate. If
another device takes over while music is playing, the desk's rate can no longer change. The mix
itself is then converted by a polyphase filter (a sinc truncated by a Kaiser window), in numpy and
in preallocated buffers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# Between 44.1 and 48 kHz, the filter preserves everything below 20 kHz and attenuates images and
# aliases in that band by 90 dB; measured in the tests.
TAPS = 64
BETA = 9.0
CHUNK = 512  # frames that are computed together: their gathered input fits the cache
MAX_PHASES = 96_000  # rates without a common divisor: 25 MB of coefficients


class RateConverter:
    """Converts a source at `rate` into blocks at `device_rate` of at most `most` frames.

    Both rates are in Hz. `delay`: seconds by which it delays the sound.
    """

    def __init__(self, rate: float, device_rate: float, channels: int, most: int) -> None:
        source, device = round(rate), round(device_rate)
        divisor = math.gcd(source, device)
        self._up, self._down = device // divisor, source // divisor
        if self._up > MAX_PHASES:
            raise ValueError(f"{source} Hz can't be converted to {device} Hz")
        stretch = max(1.0, source / device)  # a lower rate needs a lower cutoff and more taps
        self._taps = 2 * math.ceil(TAPS * stretch / 2)
        self._rows = _filter(self._up, self._taps, 1.0 / stretch)
        self._most = most
        self._channels = channels
        room = most * self._down // self._up + 2 * self._taps + 2
        self._history = np.zeros((room, channels), np.float32)
        # The middle of the filter starts on the first frame of the source.
        self._have = self._taps // 2 - 1
        self._at = 0  # position of the next frame in the history, in units of 1 / _up frames
        self._out = np.zeros((most, channels), np.float32)
        self._steps = np.arange(CHUNK, dtype=np.int64) * self._down
        self._places = np.zeros(CHUNK, np.int64)
        self._phases = np.zeros(CHUNK, np.int64)
        self._reach = np.arange(self._taps, dtype=np.int64)
        self._index = np.zeros((CHUNK, self._taps), np.int64)
        self._weights = np.zeros((CHUNK, self._taps), np.float32)
        self._gathered = np.zeros((CHUNK, self._taps, channels), np.float32)
        self.delay = self._taps / 2 / rate

    def read(self, frames: int, fill: Callable[[int], np.ndarray]) -> np.ndarray:
        """Return the next block, float32 `(frames, channels)`, valid until the next call.

        `fill(count)` returns the next `count` frames of the source.
        """
        if frames > self._most:  # no device requests so many; fewer frames would end its stream
            return np.zeros((frames, self._channels), np.float32)
        last = (self._at + (frames - 1) * self._down) // self._up
        need = last + self._taps - self._have
        if need > 0:
            self._history[self._have : self._have + need] = fill(need)
            self._have += need
        for begin in range(0, frames, CHUNK):
            self._convert(begin, min(CHUNK, frames - begin))
        passed, self._at = divmod(self._at + frames * self._down, self._up)
        self._have -= passed
        self._history[: self._have] = self._history[passed : passed + self._have]
        return self._out[:frames]

    def _convert(self, begin: int, count: int) -> None:
        places, phases = self._places[:count], self._phases[:count]
        np.add(self._steps[:count], self._at + begin * self._down, out=places)
        np.remainder(places, self._up, out=phases)
        np.floor_divide(places, self._up, out=places)
        index, weights = self._index[:count], self._weights[:count]
        np.add(places[:, None], self._reach, out=index)
        gathered = self._gathered[:count]
        np.take(self._history, index, axis=0, out=gathered, mode="clip")
        np.take(self._rows, phases, axis=0, out=weights, mode="clip")
        np.einsum("ft,ftc->fc", weights, gathered, out=self._out[begin : begin + count])


def _filter(phases: int, taps: int, cutoff: float) -> np.ndarray:
    """Row p: taps for the position p / phases past tap `taps / 2 - 1`; each row sums to 1."""
    half = taps // 2
    time = np.arange(taps)[None, :] - (half - 1) - np.arange(phases)[:, None] / phases
    window = np.i0(BETA * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
    rows = np.sinc(cutoff * time) * window
    scaled: np.ndarray = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled
