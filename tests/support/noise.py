"""Noise to play, and which frames of it a recording is made of."""

from __future__ import annotations

import numpy as np

RATE = 44100


def noise(seconds: float, seed: int) -> np.ndarray:
    """16-bit stereo noise between a second and a quarter of silence; shape (frames, 2)."""
    generator = np.random.default_rng(seed)
    samples = generator.integers(-6000, 6000, (int(seconds * RATE), 2)).astype(np.int16)
    samples[:RATE] = samples[-RATE // 4 :] = 0
    return samples


def frames_of(heard: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Which frame of `source` each frame of `heard` is, in order, without those that are silent.

    Both float32 of shape (frames, 2). Raises `AssertionError` where one is no frame of `source`.
    """
    known = _keys(source)
    order = np.argsort(known, kind="stable")
    keys = _keys(heard[heard.any(axis=1)])
    found: np.ndarray = order[np.searchsorted(known, keys, sorter=order).clip(max=len(known) - 1)]
    wrong = np.count_nonzero(known[found] != keys)
    assert not wrong, f"{wrong} of {len(keys)} frames are not of what was rendered"
    return found


def longest_run(place: np.ndarray) -> int:
    """How many of these frames at most follow each other without a break."""
    ends = np.flatnonzero(np.diff(place) != 1)
    return int(np.diff(np.concatenate([[-1], ends, [len(place) - 1]])).max())


def _keys(frames: np.ndarray) -> np.ndarray:
    # Both channels of a frame as one number. Adding 0 makes -0 the same as 0.
    whole = np.ascontiguousarray(frames.astype(np.float32) + np.float32(0.0))
    keys: np.ndarray = whole.view(np.int64)[:, 0]
    return keys
