"""Sound that encodes its position in each frame, to identify the contents of a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.support.offline_server import RATE

PERIOD = 8192
"""Period of the left channel's counter; the right channel counts periods, up to 25 minutes."""
SILENT, NO_PLACE = -1, -2


def numbered(seconds: float) -> np.ndarray:
    """Return 16-bit samples as floats, `(frames, 2)`; no two frames are equal, none is silent."""
    at = np.arange(round(seconds * RATE))
    return np.stack([at % PERIOD + 1, at // PERIOD + 1], 1).astype(np.float32) / 32768


def places(heard: np.ndarray) -> np.ndarray:
    """Return the position of each frame of a recording, `SILENT` or `NO_PLACE`."""
    exact = heard * 32768
    whole = np.rint(exact).astype(int)
    left, right = whole[:, 0], whole[:, 1]
    good = (left > 0) & (right > 0) & (left <= PERIOD) & (np.abs(exact - whole) < 1e-2).all(axis=1)
    silent = (heard == 0).all(axis=1)
    return np.select([silent, good], [SILENT, (right - 1) * PERIOD + left - 1], NO_PLACE)


@dataclass(frozen=True)
class Run:
    """Consecutive frames of the track in a recording: `begin`, `end` (exclusive).

    `at`: index of the first one in the recording.
    """

    at: int
    begin: int
    end: int


def runs(heard: np.ndarray, least: int = 1) -> list[Run]:
    """Return all runs of at least `least` frames, in the order of the recording."""
    place = places(heard)
    edges = np.flatnonzero(np.diff(place) != 1) + 1
    found = [
        Run(int(first), int(place[first]), int(place[last - 1]) + 1)
        for first, last in zip([0, *edges], [*edges, len(place)], strict=True)
        if place[first] >= 0
    ]
    return [run for run in found if run.end - run.begin >= least]
