"""Flanger: mix the signal with a copy whose delay is modulated by the clock."""

from __future__ import annotations

import math

from crowdstream.desk.constants import TURN
from crowdstream.desk.effects import ROW_FIRST, Module, Parameter

MAX_DELAY_SECONDS = 0.025  # twice the longest delay, and room for interpolation


def frames(rate: float) -> int:
    """Return the length of the delay ring in frames, for a sample rate in Hz."""
    return int(MAX_DELAY_SECONDS * rate) + 4 + TURN


def memory(rate: float) -> int:
    """Return the float32 values of memory needed: both channels of the ring."""
    return 2 * frames(rate)


MODULE = Module(
    "flanger",
    "Mixes in a copy with a modulated delay. The period is a number of beats; the right side "
    "lags a quarter of a period behind the left one.",
    (
        Parameter("beats", "period of the modulation", 1 / 4, 64, 8, "beats"),
        Parameter("delay", "centre of the modulated delay", 0.0005, 0.01, 0.003, "s", 0.1),
        Parameter("depth", "depth of the modulation", 0, 1, 0.8),
        Parameter("feedback", "of the copy; negative values sound hollow", -0.95, 0.95, 0.5),
    ),
    memory,
    mix=0.5,
)
BEATS, DELAY, DEPTH, FEEDBACK = ROW_FIRST, ROW_FIRST + 1, ROW_FIRST + 2, ROW_FIRST + 3
MAX_DEPTH = 0.95  # fraction of the delay by which full depth deviates to either side


def _read(memory, size, place, side):
    # Linear interpolation: never louder than the samples themselves.
    if place < 0.0:
        place += size
    whole = int(place)
    after = whole + 1 if whole + 1 < size else 0
    between = place - whole
    near = memory[2 * whole + side]
    return near + between * (memory[2 * after + side] - near)


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Flange in place. Registers: write position in the ring, phase of the modulation (0 to 1)."""
    size = frames(rate)
    write = int(registers[0])
    swing = registers[1]
    for i in range(count):
        swing += tempo[i] / values[BEATS, i]
        swing -= math.floor(swing)
        angle = 2.0 * math.pi * swing
        middle = values[DELAY, i] * rate
        width = middle * MAX_DEPTH * values[DEPTH, i]
        a = _read(memory, size, write - max(1.0, middle + width * math.sin(angle)), 0)
        b = _read(memory, size, write - max(1.0, middle - width * math.cos(angle)), 1)
        memory[2 * write] = left[i] + values[FEEDBACK, i] * a
        memory[2 * write + 1] = right[i] + values[FEEDBACK, i] * b
        write = write + 1 if write + 1 < size else 0
        left[i] = a
        right[i] = b
    registers[0], registers[1] = write, swing
