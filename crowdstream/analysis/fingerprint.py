"""An audio fingerprint of 128 bytes that is robust to changes of level and format.

The audible part of the track is divided into 32 segments of equal length. The 32 bits of a segment
are: which of the 8 bands are louder than their average over the track, which of the 12 pitch
classes are stronger than the segment's median, and which of them are stronger than their average
over the track. No bit depends on the level. The delay of an encoder, a few hundredths of a
second, shifts a segment by at most a hundredth of its length.
"""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.features import SLOW_RATE, Features
from crowdstream.analysis.tempo import Doubles

PIECES = 32
ENDS = 1e-3  # share of the track's energy that is ignored at each end
MAX_SAME_DISTANCE = 0.2  # maximum distance of two fingerprints of the same music


def fingerprint(features: Features, classes: Doubles) -> str:
    """Return the fingerprint as 256 hexadecimal digits; an empty string for silence.

    `classes` is the chromagram, `(windows, 12)`.
    """
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
    # Means between the edges (s). A row that an edge cuts counts proportionally.
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
    place = np.arange(len(sums)) / rate
    at = np.stack([np.interp(edges, place, column) for column in sums.T], axis=1)
    return np.diff(at, axis=0)


def distance(one: str, other: str) -> float:
    """Return the share of differing bits: 0 for the same music, about 0.4 for different music.

    The distance of an empty fingerprint (silence) is 0 to another empty one, and 1 to any other.
    """
    if not one or not other:
        return 0.0 if one == other else 1.0
    a, b = (np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in (one, other))
    return float(np.mean(a != b)) if len(a) == len(b) else 1.0
