"""Confidence weights, written by `benchmarks/calibrate_analysis.py`. Not for editing."""

from crowdstream.analysis.models.linear import Model

TEMPO = Model(
    (
        0.4014, 0.2154, -0.4748, -0.1525, -0.988, 0.01413, 0.221, 0.2066,
        -0.7851,
    ),
    -0.01058,
)  # fmt: skip
OCTAVE = Model(
    (
        0.4014, 0.2154, -0.4748, -0.1525, -0.988, 0.01413, 0.221, 0.2066,
        -0.7851,
    ),
    -0.01058,
)  # fmt: skip
DOWNBEAT = Model(
    (
        0.2893, 0.1257, -0.5692, 0.08185, -1.577, -0.9297, 0.3372, 0.2995,
        -0.7941,
    ),
    -0.7204,
)  # fmt: skip
KEY = Model(
    (
        0.6431,
    ),
    1.024,
)  # fmt: skip
