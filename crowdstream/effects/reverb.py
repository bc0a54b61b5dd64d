"""Reverb: a feedback delay network."""

from __future__ import annotations

import math

from crowdstream.desk.constants import TURN
from crowdstream.desk.effects import POWER, ROW_FIRST, Module, Parameter

LINES = 8
PREDELAY = 0.25  # longest predelay in seconds
MAX_SIZE = 2.0
# Delays of the lines at size 1, and of the all-passes before them, in seconds. No two of them have
# a simple ratio, so that their echoes do not coincide.
DELAYS = (0.03171, 0.03713, 0.04019, 0.04421, 0.04831, 0.05387, 0.05953, 0.06709)
DIFFUSERS = (0.00477, 0.00360, 0.01273, 0.00931)  # left side (Dattorro, JAES 45, 1997)
WIDER = 1.07  # ratio of the right side's delays to the left side's
DIFFUSION = 0.65
SWING = 0.0003  # depth in seconds of the lines' delay modulation, which prevents ringing tones
SWING_HZ = 0.4
SLEW = 0.05  # largest change of a delay per frame: a new size bends the pitch instead of clicking
# gain of the all-passes' direct output: early reflections, before the lines' first echo
EARLY = 0.4
LOUDNESS = 0.35  # gain of the lines' sum: about as loud as the input, for music at a decay of 2 s


def _early(rate: float) -> int:
    # Frames of the predelay ring.
    return int(PREDELAY * rate) + 4 + TURN


def _longest_diffuser(rate: float) -> int:
    return int(0.0137 * rate) + 4


def _lines_at(rate: float) -> tuple[int, int]:
    # Offset of the lines' memory, and its length per line, in float32 values.
    first = 2 * _early(rate) + 8 * _longest_diffuser(rate)
    return first, int((DELAYS[7] * MAX_SIZE + SWING) * rate) + 4 + TURN


def memory(rate: float) -> int:
    """Return the float32 values of memory needed: predelay, all-passes and lines."""
    first, length = _lines_at(rate)
    return first + LINES * length


def rewritten(rate: float) -> tuple[int, int]:
    """Return the memory of the all-passes, whose rings are no longer than their delays.

    With longer rings the all-passes would not fit the processor's cache.
    """
    return 2 * _early(rate), 8 * _longest_diffuser(rate)


MODULE = Module(
    "reverb",
    "Room simulation by a feedback delay network of eight lines, with a tail.",
    (
        Parameter("decay", "time to decay by 60 dB", 0.1, 20, 2, "s"),
        Parameter("size", "size of the room; 1 is normal", 0.3, MAX_SIZE, 1, "", 0.5),
        Parameter("damping", "above this the tail decays sooner", 500, 20000, 6000, "Hz"),
        Parameter("predelay", "delay before the reverb", 0, PREDELAY, 0.01, "s", 0.2),
    ),
    memory,
    rewritten,
    mix=0.3,
    law=POWER,
    tail=0.6,
)
DECAY, SIZE, DAMPING, PREDELAY_ROW = ROW_FIRST, ROW_FIRST + 1, ROW_FIRST + 2, ROW_FIRST + 3

# Registers.
WRITE_PRE, AT_PRE, AT_SIZE, PHASE = 0, 1, 2, 3
KNOWN_DECAY, KNOWN_SIZE, KNOWN_DAMPING, SHARE = 4, 5, 6, 7
GAINS, LOW, SUM = 8, 16, 24  # eight each: gain of a line, state of its low-pass, its output
WRITE_LINE = 32
WRITE_ALLPASS = 33  # eight


def _read(memory, first, length, write, delay):
    # The value `delay` frames ago, by linear interpolation.
    place = write - delay
    if place < 0.0:
        place += length
    whole = int(place)
    after = whole + 1 if whole + 1 < length else 0
    near = memory[first + whole]
    return near + (place - whole) * (memory[first + after] - near)


def _diffuse(memory, registers, rate, side, x):
    # Four all-passes in series, which turn one echo into many.
    length = _longest_diffuser(rate)
    first = 2 * _early(rate) + 4 * side * length
    for k in range(4):
        delay = int(DIFFUSERS[k] * (WIDER if side else 1.0) * rate)
        write = int(registers[WRITE_ALLPASS + 4 * side + k])
        at = first + k * length + write
        past = memory[at]
        x -= DIFFUSION * past
        memory[at] = x
        x = past + DIFFUSION * x
        registers[WRITE_ALLPASS + 4 * side + k] = write + 1 if write + 1 < delay else 0
    return x


def _tune(registers, decay, damping, size, rate):
    # The gains of the lines, such that all decay equally fast whatever their length; the
    # coefficient of the low-pass.
    registers[KNOWN_DECAY] = decay
    registers[KNOWN_DAMPING] = damping
    registers[KNOWN_SIZE] = size
    registers[SHARE] = 1.0 - math.exp(-2.0 * math.pi * damping / rate)
    for k in range(LINES):
        registers[GAINS + k] = 10.0 ** (-3.0 * DELAYS[k] * size / decay)


def _mix_lines(registers):
    # Multiply by a Hadamard matrix, which distributes each line to all lines and preserves energy.
    half = 1
    while half < LINES:
        for k in range(LINES):
            if k & half == 0:
                a = registers[SUM + k]
                b = registers[SUM + k + half]
                registers[SUM + k] = a + b
                registers[SUM + k + half] = a - b
        half *= 2


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Reverberate in place, by a feedback delay network (Jot and Chaigne, AES 90, 1991).

    The registers are listed above.
    """
    first, length = _lines_at(rate)
    pre = _early(rate)
    matrix = 1.0 / math.sqrt(LINES)
    for i in range(count):
        size = values[SIZE, i]
        if registers[AT_SIZE] == 0.0:
            registers[AT_SIZE] = size
            registers[AT_PRE] = values[PREDELAY_ROW, i] * rate
        pace = SLEW / (DELAYS[7] * rate)
        size = min(max(size, registers[AT_SIZE] - pace), registers[AT_SIZE] + pace)
        registers[AT_SIZE] = size
        if (
            size != registers[KNOWN_SIZE]
            or values[DECAY, i] != registers[KNOWN_DECAY]
            or values[DAMPING, i] != registers[KNOWN_DAMPING]
        ):
            _tune(registers, values[DECAY, i], values[DAMPING, i], size, rate)

        write = int(registers[WRITE_PRE])
        memory[2 * write] = left[i]
        memory[2 * write + 1] = right[i]
        registers[WRITE_PRE] = write + 1 if write + 1 < pre else 0
        delay = values[PREDELAY_ROW, i] * rate
        delay = min(max(delay, registers[AT_PRE] - 0.25), registers[AT_PRE] + 0.25)
        registers[AT_PRE] = delay
        whole = int(delay)
        at = write - whole if write >= whole else write - whole + pre
        before = at - 1 if at > 0 else pre - 1
        between = delay - whole
        a = memory[2 * at] + between * (memory[2 * before] - memory[2 * at])
        b = memory[2 * at + 1] + between * (memory[2 * before + 1] - memory[2 * at + 1])
        a = _diffuse(memory, registers, rate, 0, a)
        b = _diffuse(memory, registers, rate, 1, b)

        phase = registers[PHASE] + SWING_HZ / rate
        registers[PHASE] = phase - math.floor(phase)
        swing = SWING * rate * 0.5
        up = swing * (1.0 + math.sin(2.0 * math.pi * phase))
        across = swing * (1.0 + math.cos(2.0 * math.pi * phase))
        write = int(registers[WRITE_LINE])
        for k in range(LINES):
            moved = up if k % 4 == 0 else across if k % 4 == 1 else 0.0
            past = _read(memory, first + k * length, length, write, DELAYS[k] * size * rate + moved)
            registers[LOW + k] += registers[SHARE] * (past - registers[LOW + k])
            registers[SUM + k] = registers[GAINS + k] * registers[LOW + k]
        left[i] = EARLY * a + LOUDNESS * (
            registers[SUM] - registers[SUM + 2] + registers[SUM + 4] - registers[SUM + 6]
        )
        right[i] = EARLY * b + LOUDNESS * (
            registers[SUM + 1] - registers[SUM + 3] + registers[SUM + 5] - registers[SUM + 7]
        )
        _mix_lines(registers)
        for k in range(LINES):
            fed = a if k % 2 == 0 else b
            memory[first + k * length + write] = fed + matrix * registers[SUM + k]
        registers[WRITE_LINE] = write + 1 if write + 1 < length else 0
