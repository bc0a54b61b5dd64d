"""Noise to play, and identification of its frames in a recording."""

from __future__ import annotations

import numpy as np

RATE = 44100


def noise(seconds: float, seed: int) -> np.ndarray:
    """Return 16-bit stereo noise between 1 s and 0.25 s of silence; shape `(frames, 2)`."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(-6000, 6000, (int(seconds * RATE), 2)).astype(np.int16)
    samples[:RATE] = samples[-RATE // 4 :] = 0
    return samples


def frames_of(heard: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return the index in `source` of each frame of `heard` that is not silent, in order.

    Both are float32 of shape `(frames, 2)`. Raises `AssertionError` if a frame is not in `source`.
    """
    known = _keys(source)
    order = np.argsort(known, kind="stable")
    keys = _keys(heard[heard.any(axis=1)])
    found: np.ndarray = order[np.searchsorted(known, keys, sorter=order).clip(max=len(known) - 1)]
    wrong = np.count_nonzero(known[found] != keys)
    assert not wrong, f"{wrong} of {len(keys)} frames were not rendered"
    return found


def longest_run(place: np.ndarray) -> int:
    """Return the largest number of consecutive frames without a break."""
    ends = np.flatnonzero(np.diff(place) != 1)
    return int(np.diff(np.concatenate([[-1], ends, [len(place) - 1]])).max())


def _keys(frames: np.ndarray) -> np.ndarray:
    # Both channels of a frame as one number. Adding 0 turns -0 into 0.
    whole = np.ascontiguousarray(frames.astype(np.float32) + np.float32(0.0))
    keys: np.ndarray = whole.view(np.int64)[:, 0]
    return keys
