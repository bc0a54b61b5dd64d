"""The engine's meters: peak, RMS and momentary loudness of the mixer's signals."""

from __future__ import annotations

import math

import numpy as np

from crowdstream.audiofile.loudness import OFFSET
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import (
    DECKS,
    INPUTS,
    METER_DECKS,
    METER_HOPS,
    METER_OUTPUTS,
    METER_STEMS,
    PAIRS,
    STEMS,
)

FLOOR = -70.0  # dB, the lowest level that is shown
STEP = 0.1  # dB, the resolution: smaller changes are not reported
MOMENTARY_HOPS = 40  # 400 ms
LETTERS = "ABCD"[:DECKS]

Reading = tuple[float, float, float]
"""Peak and RMS in dB below full scale, momentary loudness in LUFS."""


def decibels(power: float, offset: float = 0.0) -> float:
    """Convert a mean square to dB, rounded to `STEP` and at least `FLOOR`."""
    if power <= 0.0:
        return FLOOR
    return max(FLOOR, round((offset + 10.0 * math.log10(power)) / STEP) * STEP)


def _places() -> dict[str, tuple[int, int]]:
    # Group and pair of lanes of each meter.
    found = {"master": (METER_OUTPUTS, 0), "cue": (METER_OUTPUTS, 1)}
    for number in range(INPUTS):
        found[f"input{number + 1}"] = (METER_OUTPUTS, 2 + number)
    for deck in range(DECKS):
        found[LETTERS[deck]] = (METER_DECKS, deck)
        for stem in range(STEMS):
            group, pair = divmod(STEMS * deck + stem, PAIRS)
            found[f"{LETTERS[deck]}/{stem + 1}"] = (METER_STEMS + group, pair)
    return found


PLACES = _places()


class MeterReader:
    """Reads the engine's ring of meters, starting with the first value after its creation."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen = int(desk.metering["head"])

    def read(self, stems: bool = False) -> dict[str, Reading]:
        """Values of each meter since the last call: master, cue, input1, input2, A to D.

        With `stems` also A/1 to D/8.

        Empty if there are no new values.
        """
        head = int(self._desk.metering["head"])
        # The engine is writing one hop, so the ring holds one less.
        fresh = min(head - self._seen, METER_HOPS - 1)
        if fresh <= 0:
            return {}
        self._seen = head
        ring = self._desk.meter_ring
        hop = int(self._desk.metering["hop"])
        new = ring[np.arange(head - fresh, head) % METER_HOPS].astype(np.float64)
        count = min(head, MOMENTARY_HOPS)
        past = ring[np.arange(head - count, head) % METER_HOPS, :, 2].astype(np.float64)
        peaks = new[:, :, 0].max(axis=0)
        squares = new[:, :, 1].sum(axis=0) / (fresh * hop)
        weighted = past.sum(axis=0) / (MOMENTARY_HOPS * hop)
        found = {}
        for name, (group, pair) in PLACES.items():
            if stems or "/" not in name:
                lanes = slice(2 * pair, 2 * pair + 2)
                found[name] = (
                    decibels(float(peaks[group, lanes].max()) ** 2),
                    decibels(float(squares[group, lanes].mean())),
                    decibels(float(weighted[group, lanes].sum()), OFFSET),
                )
        return found
