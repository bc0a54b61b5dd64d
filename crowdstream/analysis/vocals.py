"""Vocal activity detection, in a vocal stem or in a mix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import SLOW_RATE, Features
from crowdstream.analysis.result import Vocals
from crowdstream.analysis.tempo import Doubles
from crowdstream.audiofile.stems.names import REST, STEM_KINDS, kind_of

QUIET_DB = -30.0  # threshold relative to the loud parts of the stem (`LOUD_PERCENTILE`)
SILENT_DB = -60.0  # dBFS: absolute threshold
LOUD_PERCENTILE = 95.0
GAP, MIN_SUNG_SECONDS = 0.6, 0.25  # s: shorter pauses are breaths, shorter sounds are not singing
MIX_GAP, MIX_SHORTEST = 1.5, 1.5  # s: the same for a mix, whose estimate is coarser
SMOOTH = 1.4  # s: window of one estimate
INSTRUMENTS = (STEM_KINDS | {REST}) - {"vocals", "fx"}  # kinds of stems without vocals
STEM_CONFIDENCE, MAX_MIX_CONFIDENCE = 0.95, 0.5


def _spans(
    active: npt.NDArray[np.bool_], rate: float, gap: float, shortest: float
) -> list[tuple[float, float]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    found: list[list[float]] = []
    for begin, end in edges.reshape(-1, 2) / rate:
        if found and begin - found[-1][1] < gap:
            found[-1][1] = float(end)
        else:
            found.append([float(begin), float(end)])
    return [(round(a, 3), round(b, 3)) for a, b in found if b - a >= shortest]


def find_vocals(features: Features) -> Vocals:
    """Return the passages with vocals; see `result.Vocals`."""
    names = features.names
    voices = [number for number, name in enumerate(names) if kind_of(name) == "vocals"]
    if voices and len(names) > 1:
        power = features.stems[:, voices].astype(np.float64).sum(axis=1)
        level = 10 * np.log10(power + 1e-12)
        audible = level[level > SILENT_DB]
        if not len(audible):
            return Vocals((), "stem", STEM_CONFIDENCE)
        loud = float(np.percentile(audible, LOUD_PERCENTILE))
        active = level > max(SILENT_DB, loud + QUIET_DB)
        spans = _spans(active, features.stems_rate, GAP, MIN_SUNG_SECONDS)
        return Vocals(tuple(spans), "stem", STEM_CONFIDENCE)
    if len(names) > 1 and all(kind_of(name) in INSTRUMENTS for name in names):
        return Vocals((), "none", STEM_CONFIDENCE)
    return _estimate(features)


def sung(found: Vocals, edges: Doubles) -> Doubles:
    """Return the share of vocals in each interval between consecutive `edges` (s), 0 to 1."""
    total = np.zeros(max(0, len(edges) - 1))
    for begin, end in found.spans:
        total += np.maximum(0.0, np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin))
    total /= np.maximum(np.diff(edges), 1e-9)
    return total


def voice_traits(features: Features) -> Doubles:
    """Return the traits of vocals per slow frame, `(k, 5)`, smoothed over `SMOOTH`.

    They are: gliding partials (weighted by power, and unweighted), the level in the vocal range,
    the ratio of mid to side, and the share of the vocal range in the mix.
    """
    voice = features.voice.astype(np.float64)
    width = max(1, int(SMOOTH * SLOW_RATE))
    middle, sides, glide = voice.T
    weighted = _average(glide * middle, width) / np.maximum(_average(middle, width), 1e-12)
    mid, side = _average(middle, width), _average(sides, width)
    top = max(float(np.percentile(mid, 90)), 1e-12) if len(mid) else 1.0
    loud = 10 * np.log10(mid / top + 1e-4)
    wide = 10 * np.log10((mid + 1e-4 * top) / (side + 1e-4 * top))
    total = _average(features.bands.sum(axis=1).astype(np.float64), width)[: len(mid)]
    share = 10 * np.log10((mid + 1e-9) / (total[: len(mid)] + 1e-9) + 1e-4)
    return np.stack([weighted, _average(glide, width), loud, wide, share], axis=1)


def _average(line: Doubles, width: int) -> Doubles:
    sums = np.cumsum(np.pad(line, (width // 2 + 1, width - width // 2 - 1), "edge"))
    means = (sums[width - 1 :] - np.concatenate([[0.0], sums[:-width]])) / width
    return np.asarray(means[: len(line)])


def _estimate(features: Features) -> Vocals:
    from crowdstream.analysis.models.weights import VOICE

    if len(features.voice) < SLOW_RATE:
        return Vocals((), "mix", 0.0)
    score = VOICE.score(voice_traits(features))
    chance = 1 / (1 + np.exp(-score))
    spans = _spans(chance > 0.5, SLOW_RATE, MIX_GAP, MIX_SHORTEST)
    sure = float(np.mean(np.abs(chance - 0.5))) * 2
    return Vocals(tuple(spans), "mix", round(MAX_MIX_CONFIDENCE * sure, 3))
