"""The stems of a song: ducked, levelled, and limited together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from crowdstream.demo import arrange
from crowdstream.demo.dsp import Array
from crowdstream.demo.songs import STEMS, Song

STEM_CEILING = 10.0 ** (-3.3 / 20.0)
"""Maximum peak of a single stem: -3.3 dBFS."""

SUM_CEILING = 10.0 ** (-1.3 / 20.0)
"""Maximum peak of the sum of a song's four stems: -1.3 dBFS."""

BLOCK = 64
LOOK = 8
"""Look-ahead and hold of the limiter in blocks of 64 frames: 12 ms each."""

PARTS: dict[str, Callable[[Song], Array]] = {
    "drums": arrange.drums,
    "bass": arrange.bass,
    "vocals": arrange.vocals,
    "other": arrange.other,
}


def limiting(peaks: Array, ceiling: float) -> Array:
    """Return gains ``(frames,)`` that keep `peaks` (absolute values) at or below `ceiling`.

    The lowest gain required around each block is held, then smoothed over as many blocks, so that
    the gain is reached before the peak that requires it.
    """
    frames = len(peaks)
    blocks = -(-frames // BLOCK)
    padded = np.zeros(blocks * BLOCK)
    padded[:frames] = peaks
    needed = np.minimum(1.0, ceiling / np.maximum(padded.reshape(blocks, BLOCK).max(axis=1), 1e-9))
    # The hold is one block wider than the smoothing: a block's gain is interpolated from its own
    # knot to the next block's, and both must be low enough for it.
    around = np.pad(needed, (2 * LOOK + 1, 2 * LOOK + 2), mode="edge")
    held = np.lib.stride_tricks.sliding_window_view(around, 2 * LOOK + 3).min(axis=1)
    knots = np.lib.stride_tricks.sliding_window_view(held, 2 * LOOK + 1).mean(axis=1)
    line = np.arange(BLOCK) / BLOCK
    gains: Array = knots[:-1, None] + np.diff(knots)[:, None] * line
    return gains.reshape(-1)[:frames]


def _peaks(sound: Array) -> Array:
    peaks: Array = np.maximum(np.abs(sound[:, 0]), np.abs(sound[:, 1]))
    return peaks


def stems(song: Song) -> dict[str, npt.NDArray[np.int16]]:
    """Return the song's four stems by name in the order of `STEMS`, int16 ``(frames, 2)`` each."""
    duck = arrange.ducking(song)[:, None]
    parts: dict[str, npt.NDArray[np.float32]] = {}
    total = np.zeros((arrange.length(song), 2))
    for name in STEMS:
        part = PARTS[name](song)
        if name != "drums":
            part *= duck if name != "vocals" else np.sqrt(duck)
        part *= song.gain
        part *= limiting(_peaks(part), STEM_CEILING)[:, None]
        edge = np.linspace(0.0, 1.0, arrange.EDGE)[:, None]
        part[: arrange.EDGE] *= edge
        part[-arrange.EDGE :] *= edge[::-1]
        # float32 halves the memory, for small machines; its rounding is far below 16 bits.
        parts[name] = part.astype(np.float32)
        total += part
    together = limiting(_peaks(total), SUM_CEILING)[:, None]
    return {
        name: np.rint(part * (together * 32767.0)).astype(np.int16) for name, part in parts.items()
    }
