"""Key detection: correlate chroma vectors of bass, chords and melody with key profiles.

The key profiles are those of Krumhansl and Kessler (Cognitive Foundations of Musical Pitch, 1990),
from listeners; Temperley (Music and Probability, 2007), from scores; Shaath (Estimation of Key in
Digital Music Recordings, 2011) and Faraldo et al. ("Key Estimation in Electronic Dance Music", ECIR
2016), from electronic music. They agree about the notes of a scale. A key and its relative have the
same notes: the bass, the third above it, and the first chord of phrases decide between them.
"""

from __future__ import annotations

import math

import numpy as np

from crowdstream.analysis.chroma import FINE
from crowdstream.analysis.result import Key
from crowdstream.analysis.tempo import Doubles, Floats

PROFILES = {  # keyed by whether minor; each profile starts at the tonic
    False: (
        (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400),
        (6.6, 2.0, 3.5, 2.3, 4.6, 4.0, 2.5, 5.2, 2.4, 3.7, 2.3, 3.4),
        (1.00, 0.29, 0.50, 0.40, 0.60, 0.56, 0.32, 0.80, 0.31, 0.45, 0.42, 0.39),
    ),
    True: (
        (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
        (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330),
        (6.5, 2.7, 3.5, 5.4, 2.6, 3.5, 2.5, 5.2, 4.0, 2.7, 4.3, 3.2),
        (1.00, 0.31, 0.44, 0.58, 0.33, 0.49, 0.29, 0.78, 0.43, 0.29, 0.53, 0.32),
    ),
}
THIRD = {False: 4, True: 3}  # semitones
PART = FINE // 12  # fine pitch classes per semitone
MIN_TONAL = 1e-6
PHRASE_SHARE = 2.0  # s: the first chord of a phrase is measured over this time


def camelot_name(tonic: int, minor: bool) -> str:
    """Return a key's name in Camelot notation, in which neighbours are a fifth apart."""
    major = (tonic + 3) % 12 if minor else tonic
    return f"{(7 * major + 7) % 12 + 1}{'A' if minor else 'B'}"


def tuning(fine: Doubles) -> float:
    """Return the tuning deviation from A4 = 440 Hz of a fine chroma vector, -50 to 50 cents."""
    turn = np.exp(2j * np.pi * np.arange(FINE) / PART)
    total = complex((fine * turn).sum())
    return 100 * math.atan2(total.imag, total.real) / (2 * math.pi) if abs(total) > 0 else 0.0


def classes(fine: Floats | Doubles, cents: float) -> Doubles:
    """Fold fine pitch classes `(n, FINE)` into 12, `(n, 12)`, given the tuning; 0 is C."""
    shift = cents / 100 * PART
    into = np.rint((np.arange(FINE) - shift) / PART).astype(np.int64) % 12
    found = np.zeros((len(fine), 12))
    for number in range(12):
        found[:, number] = fine[:, into == number].sum(axis=1)
    return found


def tonality(fine: Floats) -> float:
    """Return the coefficient of variation of the chroma vector; 0 if it is empty.

    It is high for tonal music, and low for noise.
    """
    total = fine.sum(axis=0).astype(np.float64)
    twelve = classes(total[None, :], tuning(total))[0]
    return float(twelve.std() / twelve.mean()) if twelve.mean() > 1e-12 else 0.0


def _whole(rows: Doubles) -> Doubles:
    # The chroma vector of the whole track, normalized to a sum of 1. Windows are weighted by the
    # square root of their magnitude.
    weight = np.sqrt(rows.sum(axis=1))
    total = (rows / np.maximum(weight, 1e-9)[:, None]).sum(axis=0)
    whole: Doubles = total / max(float(total.sum()), 1e-12)
    return whole


def _likeness(profile: Doubles, line: Doubles) -> float:
    a, b = profile - profile.mean(), line - line.mean()
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-12 else 0.0


def key_traits(bass: Doubles, treble: Doubles, first: Doubles) -> Doubles:
    """Return the traits of each key, `(24, traits)`: 12 major keys from C, then 12 minor keys.

    `bass` and `treble` are chroma vectors `(12,)`; `first` is that of the first chords of phrases.
    """
    rows = []
    both = bass + treble
    for minor in (False, True):
        for tonic in range(12):
            low, high, mix, chord = (np.roll(line, -tonic) for line in (bass, treble, both, first))
            likeness = [_likeness(np.array(p), high) for p in PROFILES[minor]]
            likeness += [_likeness(np.array(p), mix) for p in PROFILES[minor][1:3]]
            third, other = THIRD[minor], 7 - THIRD[minor]
            triad = np.zeros(12)
            triad[[0, third, 7]] = 1.0, 0.7, 0.7
            rows.append([
                *likeness, float(minor), low[0], low[7], low[5], high[0], high[7],
                high[third] - high[other], _likeness(triad, chord), _likeness(triad, mix),
            ])  # fmt: skip
    return np.array(rows)


def track_traits(bass: Floats, treble: Floats, rate: float, phrases: Doubles) -> tuple[
    Doubles, float
]:  # fmt: skip
    """Return the `key_traits` of a track, and its tuning in cents.

    `bass` and `treble` are fine chromagrams `(windows, FINE)` with `rate` windows per second;
    `phrases` are the times in seconds at which phrases begin.
    """
    total = (bass + treble).sum(axis=0).astype(np.float64)
    cents = tuning(total)
    low, high = classes(bass, cents), classes(treble, cents)
    both = low + high
    length = max(1, round(PHRASE_SHARE * rate))
    starts = np.rint(phrases * rate).astype(np.int64)
    places = (starts[:, None] + np.arange(length)).ravel()
    places = places[(places >= 0) & (places < len(both))]
    first = _whole(both[places]) if len(places) else _whole(both)
    return key_traits(_whole(low), _whole(high), first), cents


def choose_key(traits: Doubles, scores: Doubles, cents: float) -> Key:
    """Return the most likely of the 24 keys, given the scores of the fitted model.

    Its confidence is the softmax of the scores.
    """
    share = np.exp(scores - scores.max())
    share /= share.sum()
    order = np.argsort(-share)
    names = [camelot_name(int(at) % 12, bool(at >= 12)) for at in order]
    best = int(order[0])
    return Key(names[0], best % 12, best >= 12, round(float(share[best]), 3), tuple(names[1:4]),
               round(cents, 1))  # fmt: skip


NO_KEY = Key("", 0, False, 0.0)
