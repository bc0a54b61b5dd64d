"""Loudness of a track according to EBU R128, that is ITU-R BS.1770-4 with its gates.

    K-weighting -> mean square of 400 ms, every 100 ms -> -0.691 + 10 log10(left + right)

The integrated loudness is that of all 400 ms blocks above -70 LUFS that are not more than 10 LU
below the mean of those. The K-weighting is a convolution with the filters' impulse response, by
FFT, one slice at a time: the cost of a slice is known in advance, and slices may arrive at any
time.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from crowdstream.desk.dsp_tables import k_weighting

SILENCE = -70.0  # LUFS: the absolute gate, and the lowest value reported
RELATIVE_GATE = -10.0  # LU
OFFSET = -0.691  # dB: a 997 Hz sine of 0 dBFS in one channel reads -3.01 LUFS

HOPS_PER_SECOND = 10
MOMENTARY_HOPS = 4  # 400 ms
SHORT_TERM_HOPS = 30  # 3 s
RESPONSE_SECONDS = 0.25  # of the weighting's impulse response, which is below -120 dB by then


@functools.lru_cache(maxsize=4)
def _response(sample_rate: float) -> np.ndarray:
    # The impulse response of both K-weighting filters in series, float64.
    samples = [1.0] + [0.0] * round(RESPONSE_SECONDS * sample_rate)
    for b0, b1, b2, a1, a2 in k_weighting(sample_rate):
        s1 = s2 = 0.0
        for i, x in enumerate(samples):
            y = b0 * x + s1
            s1 = b1 * x - a1 * y + s2
            s2 = b2 * x - a2 * y
            samples[i] = y
    return np.array(samples)


@functools.lru_cache(maxsize=8)
def _spectrum(sample_rate: float, size: int) -> np.ndarray:
    return np.fft.rfft(_response(sample_rate), size)[:, None]


def lufs(power: float) -> float:
    """Return the loudness in LUFS of a K-weighted mean square summed over the channels.

    The result is at least `SILENCE`.
    """
    return max(SILENCE, OFFSET + 10.0 * math.log10(power)) if power > 0.0 else SILENCE


class LoudnessMeter:
    """Loudness meter that is fed consecutive slices of samples at `sample_rate` (Hz).

    `peak`: the largest absolute sample so far (linear). `hop`: frames in 100 ms. For one thread at
    a time.
    """

    def __init__(self, sample_rate: float) -> None:
        self.sample_rate = sample_rate
        self.hop = round(sample_rate / HOPS_PER_SECOND)
        self.peak = 0.0  # linear
        self._response = _response(sample_rate)
        self._history = np.zeros((len(self._response) - 1, 2))
        self._unmeasured = np.zeros((0, 2))
        self._powers: list[float] = []

    @property
    def powers(self) -> np.ndarray:
        """K-weighted mean square of each 100 ms, summed over the channels: `(n,)`, see `lufs`."""
        return np.array(self._powers)

    @property
    def seconds(self) -> float:
        """Seconds of audio measured so far."""
        return len(self._powers) / HOPS_PER_SECOND

    def feed(self, samples: np.ndarray) -> None:
        """Measure the next frames: float samples of shape (frames, 2), left and right."""
        if not len(samples):
            return
        self.peak = max(self.peak, float(np.max(np.abs(samples))))
        line = np.concatenate([self._history, samples])
        self._history = line[-len(self._history) :]
        size = 1 << (len(line) - 1).bit_length()
        spectrum = np.fft.rfft(line, size, axis=0)
        spectrum *= _spectrum(self.sample_rate, size)
        weighted = np.fft.irfft(spectrum, size, axis=0)
        weighted = weighted[len(self._response) - 1 : len(line)]
        whole = np.concatenate([self._unmeasured, weighted])
        hops = len(whole) // self.hop
        self._unmeasured = whole[hops * self.hop :]
        blocks = whole[: hops * self.hop].reshape(hops, self.hop, 2)
        self._powers += np.square(blocks).sum(axis=2).mean(axis=1).tolist()

    def mark_gap(self) -> None:
        """Note a gap: the next frames do not follow directly on the previous ones."""
        self._history[:] = 0.0
        self._unmeasured = self._unmeasured[:0]

    def _windows(self, hops: int) -> np.ndarray:
        # Mean squares of overlapping windows of `hops` hops, or of all audio if it is shorter.
        powers = self.powers
        hops = min(hops, len(powers))
        if hops == 0:
            return np.zeros(0)
        sums = np.concatenate([[0.0], np.cumsum(powers)])
        means: np.ndarray = (sums[hops:] - sums[:-hops]) / hops
        return means

    def integrated(self) -> float:
        """Return the gated loudness of all frames in LUFS; `SILENCE` if no block passes."""
        powers = self._windows(MOMENTARY_HOPS)
        powers = powers[powers > 10.0 ** ((SILENCE - OFFSET) / 10.0)]
        if not len(powers):
            return SILENCE
        gate = np.mean(powers) * 10.0 ** (RELATIVE_GATE / 10.0)
        return lufs(float(np.mean(powers[powers > gate])))

    def momentary(self) -> float:
        """Return the loudness of the loudest 400 ms in LUFS."""
        return lufs(float(np.max(self._windows(MOMENTARY_HOPS), initial=0.0)))

    def short_term(self) -> float:
        """Return the loudness of the loudest 3 s in LUFS."""
        return lufs(float(np.max(self._windows(SHORT_TERM_HOPS), initial=0.0)))
