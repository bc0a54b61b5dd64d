"""Breaks in the recorded output of the sound card: silences that begin in the middle of a sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MIN_SECONDS = 0.001  # shorter silences are not audible as such
EDGE = 0.003  # -50 dB: the server fades every stop to less than that
CHUNK_FRAMES = 1 << 20
NEAR_SECONDS = 1.5  # between a break and its entry: the card buffers, the log has a grid


@dataclass(frozen=True)
class Break:
    """A break in a recording: when it begins and how long it lasts, in frames."""

    begin: int
    frames: int


def breaks(samples: np.ndarray, rate: float) -> Iterator[Break]:
    """Find the breaks in `samples`, float32 `(frames, channels)`, which may be a `np.memmap`.

    A break is a run of exact zeros that begins after a sample of at least `EDGE`. A last run that
    does not end counts too.
    """
    shortest = max(1, round(MIN_SECONDS * rate))
    since = -1  # beginning of the current run of zeros
    loud = False  # whether the frame before that run was loud
    last = 0.0  # peak of the latest frame that is not zero
    for begin in range(0, len(samples), CHUNK_FRAMES):
        peaks = np.abs(samples[begin : begin + CHUNK_FRAMES]).max(axis=1)
        silent = peaks == 0.0
        edges = np.flatnonzero(np.diff(silent, prepend=since >= 0))
        for edge in edges.tolist():
            if silent[edge]:
                since = begin + edge
                loud = (float(peaks[edge - 1]) if edge else last) >= EDGE
            else:
                if loud and begin + edge - since >= shortest:
                    yield Break(since, begin + edge - since)
                since = -1
        last = float(peaks[-1]) if len(peaks) else last
    if since >= 0 and loud and len(samples) - since >= shortest:
        yield Break(since, len(samples) - since)


def open_recording(path: Path, channels: int) -> np.ndarray:
    """Map a file of interleaved float32 samples as `(frames, channels)`."""
    frames = path.stat().st_size // (4 * channels)
    return np.memmap(path, "<f4", "r", shape=(frames, channels))


def unexplained(
    found: Sequence[dict[str, Any]], gaps: Sequence[float], kills: Sequence[tuple[float, float]]
) -> list[dict[str, Any]]:
    """Return the breaks (`at`, in seconds of the log) without a gap of the ledger or a kill."""
    times = np.array([*gaps, *(begin for begin, _ in kills)])
    return [
        one for one in found
        if not len(times) or float(np.abs(times - one["at"]).min()) > NEAR_SECONDS
    ]  # fmt: skip
