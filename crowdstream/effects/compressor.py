"""Compressor: a feed-forward, stereo-linked compressor with a soft knee."""

from __future__ import annotations

import math

from crowdstream.desk.effects import ROW_FIRST, Module, Parameter

MODULE = Module(
    "compressor",
    "Attenuates the signal above a threshold, stereo-linked, with a soft knee of 6 dB.",
    (
        Parameter("threshold", "level above which the signal is attenuated", -60, 0, -18, "dB"),
        Parameter("ratio", "dB of input above the threshold per dB of output", 1, 20, 4),
        Parameter("attack", "attack time constant", 0.0001, 0.2, 0.005, "s"),
        Parameter("release", "release time constant", 0.01, 2, 0.15, "s"),
        Parameter("makeup", "gain after compression", 0, 24, 0, "dB"),
    ),
    optional=False,
)
THRESHOLD, RATIO, ATTACK = ROW_FIRST, ROW_FIRST + 1, ROW_FIRST + 2
RELEASE, MAKEUP = ROW_FIRST + 3, ROW_FIRST + 4
KNEE = 6.0  # knee width in dB, centred on the threshold
FLOOR = 1e-6  # -120 dB: lower limit of the detector


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Compress in place.

    Registers: gain reduction in dB; attack and release times last used, and their smoothing
    coefficients.

    Gain computer and smoothing after Giannoulis, Massberg and Reiss, "Digital Dynamic Range
    Compressor Design", JAES 60 (2012): feed-forward, with smoothing in dB after the gain computer.
    """
    down = registers[0]
    for i in range(count):
        if values[ATTACK, i] != registers[1] or values[RELEASE, i] != registers[2]:
            registers[1], registers[2] = values[ATTACK, i], values[RELEASE, i]
            registers[3] = 1.0 - math.exp(-1.0 / (registers[1] * rate))
            registers[4] = 1.0 - math.exp(-1.0 / (registers[2] * rate))
        level = 20.0 * math.log10(max(abs(left[i]), abs(right[i]), FLOOR))
        over = level - values[THRESHOLD, i]
        slope = 1.0 - 1.0 / values[RATIO, i]
        wanted = 0.0
        if over >= 0.5 * KNEE:
            wanted = slope * over
        elif over > -0.5 * KNEE:
            wanted = slope * (over + 0.5 * KNEE) ** 2 / (2.0 * KNEE)
        down += (registers[3] if wanted > down else registers[4]) * (wanted - down)
        gain = 10.0 ** ((values[MAKEUP, i] - down) / 20.0)
        left[i] *= gain
        right[i] *= gain
    registers[0] = down
