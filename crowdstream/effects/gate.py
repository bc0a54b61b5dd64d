"""Gate: open and close on the beat, by a pattern of steps."""

from __future__ import annotations

import math

from crowdstream.desk.effects import ROW_FIRST, Module, Parameter

MODULE = Module(
    "gate",
    "Opens and closes on the clock's beat: a stutter, or any pattern of up to 16 steps.",
    (
        Parameter("step", "length of a step", 1 / 32, 4, 1 / 4, "beats", 0),
        Parameter("steps", "steps after which the pattern repeats", 1, 16, 2, "", 0, True),
        Parameter(
            "pattern", "sum of the open steps: 1 for the first, 2 for the second, 4 for the third",
            0, 65535, 1, "", 0, True,
        ),
        Parameter("open", "fraction of an open step that is open", 0.05, 1, 1, "", 0),
        Parameter("depth", "attenuation when closed; 1 is silence", 0, 1, 1),
        Parameter("edge", "time to close, and to open", 0.001, 0.1, 0.003, "s"),
    ),
    optional=False,
)  # fmt: skip
STEP, STEPS, PATTERN = ROW_FIRST, ROW_FIRST + 1, ROW_FIRST + 2
OPEN, DEPTH, EDGE = ROW_FIRST + 3, ROW_FIRST + 4, ROW_FIRST + 5


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Gate in place. Register: how far the gate is closed, 0 to 1."""
    closed = registers[0]
    for i in range(count):
        place = beats[i] / values[STEP, i] + 1e-9
        step = math.floor(place)
        bit = int(step) % int(values[STEPS, i])
        is_open = (int(values[PATTERN, i]) >> bit) & 1 == 1 and place - step < values[OPEN, i]
        pace = 1.0 / (values[EDGE, i] * rate)
        closed = max(0.0, closed - pace) if is_open else min(1.0, closed + pace)
        gain = 1.0 - closed * values[DEPTH, i]
        left[i] *= gain
        right[i] *= gain
    registers[0] = closed
