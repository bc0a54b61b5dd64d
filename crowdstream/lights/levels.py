"""Levels of the master in three bands, from its tap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import TAP_MASTER
from crowdstream.desk.taps import LIGHTS, TapReader

WINDOW = 1024  # frames per spectrum: 23 ms, about the time between two DMX frames
CROSSOVERS = 250.0, 2500.0  # Hz, those of the decks' EQ
FLOOR_DB = -60.0  # level 0
DECAY_SECONDS = 0.4  # in which a level falls from 1 to 0: slower than the music, for quiet lights
# Energy of a track without analysis, from the loudness: -36 dBFS is 0, -8 dBFS is 1.
SOFT_DB, LOUD_DB = -36.0, -8.0
ENERGY_SECONDS = 3.0  # over which that loudness is averaged


@dataclass(frozen=True)
class Levels:
    """Levels of low, mid and high and of the sum, 0 to 1 for -60 to 0 dBFS; energy, 0 to 1."""

    low: float = 0.0
    mid: float = 0.0
    high: float = 0.0
    sum: float = 0.0
    energy: float = 0.0


class LevelReader:
    """Reads the master's levels. Close it, so that the engine can stop writing the tap."""

    def __init__(self, desk: Desk) -> None:
        self._reader = TapReader(desk, TAP_MASTER, LIGHTS)
        self._rate = desk.sample_rate
        self._window = np.hanning(WINDOW).astype(np.float32)
        self._scale = 2.0 / (WINDOW * float(np.sum(self._window**2)))
        hertz = np.fft.rfftfreq(WINDOW, 1.0 / self._rate)
        edges = np.searchsorted(hertz, CROSSOVERS)
        self._edges = [1, *map(int, edges), len(hertz)]
        self._frames = np.zeros((WINDOW, 2), np.float32)
        self._shown = [0.0] * 4
        self._loudness = 0.0  # mean square
        self._at = self._reader.position

    def read(self, frame: float) -> Levels:
        """Return the levels at a frame, or those of the latest frame if it is not rendered yet."""
        until = int(frame)
        _lost, fresh = self._reader.read(until)
        if len(fresh):
            self._frames = np.concatenate([self._frames, fresh])[-WINDOW:]
        passed = max(0.0, (self._reader.position - self._at) / self._rate)
        self._at = self._reader.position
        if not len(fresh):
            return self._levels()
        spectrum = np.fft.rfft(self._frames * self._window[:, None], axis=0)
        powers = np.sum(spectrum.real**2 + spectrum.imag**2, axis=1) * (0.5 * self._scale)
        bands = [
            float(np.sum(powers[low:high]))
            for low, high in zip(self._edges[:-1], self._edges[1:], strict=True)
        ]
        total = sum(bands)
        for number, power in enumerate((*bands, total)):
            fallen = self._shown[number] - passed / DECAY_SECONDS
            self._shown[number] = max(level_of(power), fallen, 0.0)
        weight = -math.expm1(-passed / ENERGY_SECONDS)
        self._loudness += weight * (total - self._loudness)
        return self._levels()

    def _levels(self) -> Levels:
        loud = _decibels(self._loudness)
        energy = min(1.0, max(0.0, (loud - SOFT_DB) / (LOUD_DB - SOFT_DB)))
        low, mid, high, total = self._shown
        return Levels(low, mid, high, total, energy)

    def close(self) -> None:
        """Withdraw the request for the tap."""
        self._reader.close()


def _decibels(power: float) -> float:
    # A sine at full scale is 0 dBFS: its mean square is 0.5.
    return 10.0 * math.log10(2.0 * power) if power > 1e-12 else -120.0


def level_of(power: float) -> float:
    """Convert a mean square to a level of 0 to 1."""
    return min(1.0, max(0.0, 1.0 - _decibels(power) / FLOOR_DB))
