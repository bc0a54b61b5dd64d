"""Stretches in which nothing is heard: pauses, and the minutes before a hidden track."""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.features import Features

SILENT_DB = -60.0  # dB full scale, mean square of 46 ms
# So far below the track's loudness, in LUFS, it is silence as well: a set brings tracks to -16 LUFS
# (dj/planning/entrance.py), where it is -60 dB.
BELOW_LOUDNESS_DB = 44.0
MIN_SECONDS = 1.0


def find_silences(features: Features) -> tuple[tuple[float, float], ...]:
    """(begin, end) in seconds of all that last `MIN_SECONDS`, at the file's ends as well."""
    limit = max(SILENT_DB, features.lufs - BELOW_LOUDNESS_DB)
    silent = features.stems.sum(axis=1, dtype=np.float64) < 10 ** (limit / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
    found = []
    for first, last in edges.reshape(-1, 2):
        begin, end = first / features.stems_rate, last / features.stems_rate
        end = features.seconds if last >= len(silent) else min(end, features.seconds)
        if end - begin >= MIN_SECONDS:
            found.append((round(float(begin), 3), round(float(end), 3)))
    return tuple(found)
