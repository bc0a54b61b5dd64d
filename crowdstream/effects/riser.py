"""Riser: noise through a rising band-pass."""

from __future__ import annotations

import math

from crowdstream.desk.effects import ADD, ROW_FIRST, ROW_ON, Module, Parameter

MODULE = Module(
    "riser",
    "Adds noise through a band-pass that rises from 100 Hz to 16 kHz. It starts to rise when "
    "switched on, or follows `position`, whichever is higher.",
    (
        Parameter("level", "level of the noise", 0, 1, 0.25),
        Parameter("position", "lowest position: 0 is 100 Hz, 1 is 16 kHz", 0, 1, 0),
        Parameter("beats", "time to rise; 0: follow `position` only", 0, 128, 16,
                  "beats", 0),
        Parameter("resonance", "how narrow the band is", 0, 1, 0.3),
    ),
    law=ADD,
    starts_on=False,
)  # fmt: skip
LEVEL, POSITION, BEATS, RESONANCE = ROW_FIRST, ROW_FIRST + 1, ROW_FIRST + 2, ROW_FIRST + 3
LOW_HZ = 100.0
OCTAVES = math.log2(16000.0 / LOW_HZ)


def _noise(registers, at):
    # Uniform in -1 to 1: Park and Miller's generator (Comm. ACM 31, 1988), exact in float64.
    state = registers[at]
    if state == 0.0:
        state = 12345.0 + 54321.0 * at
    product = state * 16807.0
    state = product - 2147483647.0 * math.floor(product / 2147483647.0)
    registers[at] = state
    return state / 1073741823.5 - 1.0


def _band(registers, at, x, g, k):
    # Band-pass of a state-variable filter (Simper 2013), stable at any speed of modulation.
    v1 = (registers[at] + g * (x - registers[at + 1])) / (1.0 + g * (g + k))
    v2 = registers[at + 1] + g * v1
    registers[at] = 2.0 * v1 - registers[at]
    registers[at + 1] = 2.0 * v2 - registers[at + 1]
    return k * v1


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Replace the input by filtered noise; the chain adds it to the sound.

    Registers: position reached so far, two states of the noise generators, two filter states per
    channel.
    """
    for i in range(count):
        if values[ROW_ON, i] == 0.0:
            registers[0] = 0.0
        elif values[BEATS, i] > 0.0:
            registers[0] = min(1.0, registers[0] + tempo[i] / values[BEATS, i])
        position = max(registers[0], float(values[POSITION, i]))
        hertz = min(LOW_HZ * 2.0 ** (OCTAVES * position), 0.45 * rate)
        g = math.tan(math.pi * hertz / rate)
        k = 1.5 - 1.4 * values[RESONANCE, i]
        level = values[LEVEL, i]
        left[i] = level * _band(registers, 3, _noise(registers, 1), g, k)
        right[i] = level * _band(registers, 5, _noise(registers, 2), g, k)
