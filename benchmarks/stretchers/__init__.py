"""Time stretchers for comparison: this project's and those of others, one module each.

Each has the same task: play a sound at another tempo, as in live playback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

BLOCK = 1024  # frames passed at once


class Absent(RuntimeError):
    """The stretcher is not installed; the message gives the remedy."""


@dataclass
class Stretched:
    """The result: `sound` (frames, channels) float32, its latency, and the CPU time."""

    sound: np.ndarray
    latency_ms: float
    cpu_seconds: float


class Stretcher(Protocol):
    """A time stretcher."""

    name: str

    def check(self) -> None:
        """Raise `Absent` if it cannot be used here."""

    def stretch(self, samples: np.ndarray, tempo: float, sample_rate: int) -> Stretched:
        """Play float32 `samples` (frames, channels) at `tempo` times their speed, pitch kept.

        Frame 0 of the result is what a listener hears first; a latency that the stretcher does
        not report is not cut off.
        """
