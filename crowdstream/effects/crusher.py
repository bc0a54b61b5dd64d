"""Bit crusher: reduce bit depth and sample rate."""

from __future__ import annotations

import math

from crowdstream.desk.effects import ROW_FIRST, Module, Parameter

MODULE = Module(
    "crusher",
    "Reduces bit depth and sample rate, without an anti-aliasing filter: rough on purpose.",
    (
        Parameter("bits", "bit depth", 1, 16, 8, "bit"),
        Parameter("rate", "reduced sample rate", 200, 192000, 11025, "Hz"),
    ),
    optional=False,
)
BITS, RATE = ROW_FIRST, ROW_FIRST + 1


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Crush in place.

    Registers: samples until the next one is taken, and the two samples being held.
    """
    until, held_left, held_right = registers[0], registers[1], registers[2]
    for i in range(count):
        if until < 1e-9:
            until += 1.0
            step = 2.0 ** (1.0 - values[BITS, i])
            held_left = step * math.floor(left[i] / step + 0.5)
            held_right = step * math.floor(right[i] / step + 0.5)
        until -= min(1.0, values[RATE, i] / rate)
        left[i] = held_left
        right[i] = held_right
    registers[0], registers[1], registers[2] = until, held_left, held_right
