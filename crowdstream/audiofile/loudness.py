"""Loudness of a track according to EBU R128, that is ITU-R BS.1770-4 with its gates.

    K-weighting -> mean square of 400 ms, every 100 ms -> -0.691 + 10 log10(left + right)

The integrated loudness is that of all 400 ms blocks above -70 LUFS that are not more than 10 LU
below the mean of those. The K-weighting's recursive filters are computed block by block, as
products of matrices (a state space over blocks, Barnes and Shinnaka, "Block-shift invariance and
block implementation of discrete-time filters", 1980), which takes a sixth of the time of an FFT.
The cost of a slice is known in advance, and slices may arrive at any time.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from crowdstream.desk.dsp_tables import k_weighting

SILENCE = -70.0  # LUFS: the absolute gate, and the lowest value reported
RELATIVE_GATE = -10.0  # LU
OFFSET = -0.691  # dB: a 997 Hz sine of 0 dBFS in one channel reads -3.01 LUFS

HOPS_PER_SECOND = 10
MOMENTARY_HOPS = 4  # 400 ms
SHORT_TERM_HOPS = 30  # 3 s
BLOCK, GROUP = 32, 32  # frames of a block, and blocks of a group


@dataclass(frozen=True)
class _Weighting:
    """Both K-weighting filters in series, as matrices for rows of blocks.

    output: from the frames of a block to its output, `(BLOCK, BLOCK)`.
    free: from the state before a block to its output, `(4, BLOCK)`.
    state: from the frames of a block to the state after it, `(BLOCK, 4)`.
    powers: from a state to the one n frames later, n from 0 to BLOCK, `(BLOCK + 1, 4, 4)`.
    states: from the `state` of each block of a group to the states before these blocks and the
    next one, `(4 * GROUP, 4 * (GROUP + 1))`.
    carried: from the state before a group to the same, `(4, 4 * (GROUP + 1))`.
    """

    output: np.ndarray
    free: np.ndarray
    state: np.ndarray
    powers: np.ndarray
    states: np.ndarray
    carried: np.ndarray


@functools.lru_cache(maxsize=4)
def _weighting(sample_rate: float) -> _Weighting:
    (a0, a1, a2, c1, c2), (b0, b1, b2, d1, d2) = k_weighting(sample_rate)
    # States of both filters in the transposed direct form II, as rows: after = before @ step + x *
    # enter, y = before @ leave + x * direct.
    step = np.array([
        [-c1, -c2, b1 - d1 * b0, b2 - d2 * b0], [1, 0, 0, 0], [0, 0, -d1, -d2], [0, 0, 1, 0],
    ], np.float64)  # fmt: skip
    enter = np.array([a1 - c1 * a0, a2 - c2 * a0, (b1 - d1 * b0) * a0, (b2 - d2 * b0) * a0])
    leave, direct = np.array([b0, 0.0, 1.0, 0.0]), a0 * b0
    powers = np.stack([np.linalg.matrix_power(step, n) for n in range(BLOCK + 1)])
    response = np.array([direct, *(enter @ powers[n] @ leave for n in range(BLOCK - 1))])
    delays = np.arange(BLOCK)[None, :] - np.arange(BLOCK)[:, None]
    output = np.where(delays >= 0, response[delays], 0.0)
    free = np.stack([powers[n] @ leave for n in range(BLOCK)], axis=1)
    state = np.stack([enter @ powers[BLOCK - 1 - n] for n in range(BLOCK)])
    blocks = [np.linalg.matrix_power(powers[BLOCK], n) for n in range(GROUP + 1)]
    states = np.zeros((4 * GROUP, 4 * (GROUP + 1)))
    for block in range(GROUP):
        for later in range(block + 1, GROUP + 1):
            states[4 * block : 4 * block + 4, 4 * later : 4 * later + 4] = blocks[later - block - 1]
    return _Weighting(output, free, state, powers, states, np.concatenate(blocks, axis=1))


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
        self._weighting = _weighting(sample_rate)
        self._state = np.zeros((2, 4))
        self._unmeasured = np.zeros(0)  # squares, summed over the channels
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
        weighted = self._weighted(samples)
        squares = np.square(weighted[0]) + np.square(weighted[1])
        whole = np.concatenate([self._unmeasured, squares])
        hops = len(whole) // self.hop
        self._unmeasured = whole[hops * self.hop :]
        self._powers += whole[: hops * self.hop].reshape(hops, self.hop).mean(axis=1).tolist()

    def _weighted(self, samples: np.ndarray) -> np.ndarray:
        # The K-weighted samples, (2, frames). Frames are padded to whole groups of blocks.
        by = self._weighting
        count = len(samples)
        groups = -(-count // (BLOCK * GROUP))
        line = np.zeros((2, groups * GROUP * BLOCK))
        line[:, :count] = samples.T
        blocks = line.reshape(2, groups * GROUP, BLOCK)
        added = (blocks @ by.state).reshape(2, groups, 4 * GROUP) @ by.states
        states = np.empty((2, groups, GROUP + 1, 4))
        state = self._state
        for group in range(groups):
            row = added[:, group] + state @ by.carried
            states[:, group] = row.reshape(2, GROUP + 1, 4)
            state = states[:, group, GROUP]
        before = states[:, :, :GROUP].reshape(2, groups * GROUP, 4)
        last, rest = divmod(count, BLOCK)
        if rest:
            self._state = (
                before[:, last] @ by.powers[rest] + blocks[:, last, :rest] @ by.state[-rest:]
            )
        else:
            self._state = state if last == groups * GROUP else before[:, last]
        found: np.ndarray = (blocks @ by.output + before @ by.free).reshape(2, -1)[:, :count]
        return found

    def mark_gap(self) -> None:
        """Note a gap: the next frames do not follow directly on the previous ones."""
        self._state = np.zeros((2, 4))
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
