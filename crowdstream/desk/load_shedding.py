"""Levels of quality: what the engine leaves out when the machine is overloaded."""

from __future__ import annotations

import numpy as np

# Each level leaves out what the ones before it do, too.
FULL = 0
NO_OPTIONAL = 1  # effects whose module is marked optional
NO_KEYLOCK = 2
SHORT_FILTERS = 3  # the interpolator has half the taps
LEVELS = 4

# Why the level changed.
BY_LOAD, BY_DEADLINE, BY_CALM, BY_COMMAND = 0, 1, 2, 3
REASONS = ("load", "deadline", "calm", "command")
LEFT_OUT = ("nothing", "optional effects", "keylock", "half of the interpolation")  # by each level

QUALITY = np.dtype(
    [
        ("level", "i8"),  # what sounds
        ("wanted", "i8"),  # what is to sound from the next block on
        ("why", "i8"),  # and one of BY_*
        ("held", "i8"),  # 0: it follows the load, else 1 + the level that was asked for
        ("load", "f8"),  # time to render by time to sound: rises fast, falls slowly
        ("lowered", "i8"),  # times it was lowered for want of time
        ("changed_frame", "i8"),  # frame from which on the level sounds
        ("lowered_ns", "i8"),  # sounded since it was last lowered; below 0: nothing is judged
        ("restored_ns", "i8"),  # since it was last restored, counted from 1; 0: lowered since
        ("calm_ns", "i8"),  # for which the load has been low
        ("patience_ns", "i8"),  # for which it has to be low before a step is restored
    ],
    align=True,
)
"""Zeroed: full quality, following the load. Written by the engine alone."""
