"""Load-shedding levels: the processing that the engine bypasses on an overloaded machine."""

from __future__ import annotations

import numpy as np

# Each level includes the savings of the levels before it.
FULL = 0
NO_OPTIONAL = 1  # bypass effects whose module is marked optional
NO_KEYLOCK = 2
SHORT_FILTERS = 3  # the interpolator uses half the taps
LEVELS = 4

# Why the level changed.
BY_LOAD, BY_DEADLINE, BY_CALM, BY_COMMAND = 0, 1, 2, 3
REASONS = ("load", "deadline", "calm", "command")
BYPASSED_BY_LEVEL = (
    "nothing",
    "optional effects",
    "keylock",
    "half of the interpolation",
)  # per level

QUALITY = np.dtype(
    [
        ("level", "i8"),  # the current level
        ("wanted", "i8"),  # the level from the next block on
        ("why", "i8"),  # reason for it, one of BY_*
        ("held", "i8"),  # 0: it follows the load, else 1 + the requested level
        ("load", "f8"),  # render time divided by playing time: rises fast, falls slowly
        ("lowered", "i8"),  # times the quality was lowered because of overload
        ("changed_frame", "i8"),  # frame from which the current level applies
        ("lowered_ns", "i8"),  # playing time since it was last lowered; below 0: not assessed
        ("restored_ns", "i8"),  # since it was last restored, counted from 1; 0: lowered since
        ("calm_ns", "i8"),  # duration for which the load has been low
        ("patience_ns", "i8"),  # duration for which it must be low before a step is restored
    ],
    align=True,
)
"""All zero: full quality, following the load. Written by the engine alone."""
