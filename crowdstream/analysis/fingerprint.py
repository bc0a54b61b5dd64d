"""A track's fingerprint: 128 bytes that stay nearly the same at another level or in another format.

The sounding part is cut into 32 pieces of equal length. Each piece says in 32 bits which bands
are louder than they are on average (8), which of the 12 pitch classes stand out (12), and which
of them the piece has more of than the track (12). Nothing depends on the level, and an encoder's
delay of a few hundredths of a second moves no piece by more than a hundredth of its length.
"""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.features import SLOW_RATE, Features
from crowdstream.analysis.tempo import Doubles

PIECES = 32
ENDS = 1e-3  # share of the track's energy that is left out at either end
SAME = 0.2  # distance up to which two fingerprints are of the same music


def fingerprint(features: Features, classes: Doubles) -> str:
    """256 hexadecimal digits; empty for silence. `classes`: pitch classes `(windows, 12)`."""
    power = features.bands.astype(np.float64)
    energy = np.cumsum(power.sum(axis=1))
    if not len(energy) or energy[-1] <= 0:
        return ""
    low, high = np.searchsorted(energy, np.array([ENDS, 1 - ENDS]) * energy[-1]) / SLOW_RATE
    edges = np.linspace(low, max(high, low + 0.5), PIECES + 1)
    bands = np.log(_means(power, SLOW_RATE, edges) + 1e-9 * energy[-1] / len(energy))
    pitch = _means(classes, features.pitches.rate, edges)
    pitch /= np.maximum(pitch.sum(axis=1, keepdims=True), 1e-9)
    bits = np.concatenate(
        [
            bands > bands.mean(axis=0),
            pitch > np.median(pitch, axis=1, keepdims=True),
            pitch > pitch.mean(axis=0),
        ],
        axis=1,
    )
    return bytes(np.packbits(bits, axis=1).ravel()).hex()


def _means(rows: Doubles, rate: float, edges: Doubles) -> Doubles:
    # Means between edges, with shares of the rows that an edge cuts.
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
    place = np.arange(len(sums)) / rate
    at = np.stack([np.interp(edges, place, column) for column in sums.T], axis=1)
    return np.diff(at, axis=0)


def distance(one: str, other: str) -> float:
    """Share of the bits that differ: 0 for the same, about 0.4 for different music.

    An empty fingerprint, of silence, is at 1 from any other and at 0 from an empty one.
    """
    if not one or not other:
        return 0.0 if one == other else 1.0
    a, b = (np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in (one, other))
    return float(np.mean(a != b)) if len(a) == len(b) else 1.0
