"""Time stretchers side by side: this project's and those of other projects, one module each.

Each is asked the same: here is a sound, give it at another tempo, as in playing it live.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

BLOCK = 1024  # frames handed over at once


class Absent(RuntimeError):
    """The stretcher is not installed; the message says how it is."""


@dataclass
class Stretched:
    """What came of it: `sound` (frames, channels) float32, its latency, and the CPU time."""

    sound: np.ndarray
    latency_ms: float
    cpu_seconds: float


class Stretcher(Protocol):
    """One way of stretching."""

    name: str

    def check(self) -> None:
        """Raises `Absent` when it can't be used here."""

    def stretch(self, samples: np.ndarray, tempo: float, sample_rate: int) -> Stretched:
        """Play float32 `samples` (frames, channels) at `tempo` times their speed, pitch kept.

        Frame 0 of the answer is what a listener hears first; a latency that is not told by
        the stretcher is not cut off.
        """
