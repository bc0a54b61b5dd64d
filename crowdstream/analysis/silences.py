"""Silent passages of a track: pauses, and the minutes before a hidden track."""

from __future__ import annotations

import numpy as np

from crowdstream.analysis.features import Features

SILENT_DB = -60.0  # dBFS, mean square over 46 ms
# A level this far below the track's loudness in LUFS is silence as well: the DJ trims tracks to
# -16 LUFS (dj/planning/planner.py), which brings it to -60 dB.
BELOW_LOUDNESS_DB = 44.0
MIN_SECONDS = 1.0


def find_silences(features: Features) -> tuple[tuple[float, float], ...]:
    """Return (begin, end) in seconds of each silence of at least `MIN_SECONDS`.

    Silence at the beginning and the end of the file is included.
    """
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
