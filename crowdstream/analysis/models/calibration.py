"""Confidence weights, written by `benchmarks/calibrate_analysis.py`. Not for editing."""

from crowdstream.analysis.models.linear import Model

TEMPO = Model(
    (
        0.4454, 0.2821, -0.4595, 0.1119, -0.1319, -0.1598, 0.2151, 0.21,
        -1.433,
    ),
    -0.3191,
)  # fmt: skip
OCTAVE = Model(
    (
        0.4454, 0.2821, -0.4595, 0.1119, -0.1319, -0.1598, 0.2151, 0.21,
        -1.433,
    ),
    -0.3191,
)  # fmt: skip
DOWNBEAT = Model(
    (
        0.3072, -0.1536, -0.2404, 0.3793, -0.9096, -1.585, 0.2607, 0.3659,
        -1.346,
    ),
    -0.3424,
)  # fmt: skip
KEY = Model(
    (
        0.6982,
    ),
    2.034,
)  # fmt: skip
