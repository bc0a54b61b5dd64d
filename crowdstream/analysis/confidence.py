"""Confidence: the probability that a result of the analysis is right.

The models' own probabilities are too high on music unlike that they were fitted to, and none of
them knows how well the finished grid fits. Logistic models derive the probability of each result
from the evidence (Platt, "Probabilistic Outputs for Support Vector Machines", 1999);
`benchmarks/calibrate_analysis.py` fits and checks them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crowdstream.analysis.models import calibration
from crowdstream.analysis.result import Downbeat, Key
from crowdstream.analysis.rhythm import Rhythm
from crowdstream.analysis.tempo import Doubles

MAX_DOUBTFUL_CONFIDENCE = 0.5
MIN_CHANCE = 1e-4  # probabilities nearer to 0 and 1 count as this far from them


def _logit(chance: float) -> float:
    chance = min(1 - MIN_CHANCE, max(MIN_CHANCE, chance))
    return math.log(chance / (1 - chance))


def rhythm_traits(rhythm: Rhythm, seconds: float) -> Doubles:
    """Return the traits from which the probabilities of tempo, octave and downbeat follow: `(9,)`.

    `seconds` is the length of the track.
    """
    evidence = rhythm.evidence
    return np.array([
        _logit(evidence.octave), min(2.0, math.log(max(evidence.regular, 1e-3))), evidence.fit,
        float(rhythm.steady), float(bool(rhythm.doubt)), math.log(max(seconds, 1.0) / 60),
        _logit(evidence.meter), _logit(evidence.phase), float(rhythm.meter != 4),
    ])  # fmt: skip


def key_traits(key: Key) -> Doubles:
    """Return the traits from which the probability of a key follows: `(1,)`."""
    return np.array([_logit(key.confidence)])


def tempo_of(rhythm: Rhythm, seconds: float) -> tuple[float, float]:
    """Return the probabilities that the tempo is right, and that its octave is.

    A rhythm with a doubt never counts as certain.
    """
    traits = rhythm_traits(rhythm, seconds)
    right = calibration.TEMPO.probability(traits)
    if rhythm.doubt:
        right = min(right, MAX_DOUBTFUL_CONFIDENCE)
    return right, calibration.OCTAVE.probability(traits)


def downbeat_of(rhythm: Rhythm, seconds: float) -> Downbeat:
    """Return meter and downbeat with the probability that they are right."""
    traits = rhythm_traits(rhythm, seconds)
    return Downbeat(calibration.DOWNBEAT.probability(traits), rhythm.meter)


def key_of(key: Key) -> Key:
    """Return a key, whose confidence is the model's, with the probability that it is right."""
    return replace(key, confidence=calibration.KEY.probability(key_traits(key)))
