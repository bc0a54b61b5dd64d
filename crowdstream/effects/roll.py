"""Roll: repeat the last beats while it is on."""

from __future__ import annotations

import math

from crowdstream.desk.effects import MEMORY, ROW_FIRST, ROW_ON, Module, Parameter


def memory(rate: float) -> int:
    """Return the float32 values of memory needed: all of it, 12 s at 44.1 kHz."""
    return MEMORY


MODULE = Module(
    "roll",
    "Repeats the beats before it was switched on, exactly on the clock. The input continues "
    "unheard in the meantime.",
    (
        Parameter("beats", "length of the repeated section", 1 / 32, 4, 1 / 2, "beats", 0),
    ),
    memory,
    listens=True,
    starts_on=False,
    optional=False,
)  # fmt: skip
BEATS = ROW_FIRST
SIZE = MEMORY // 2  # frames of the ring of past input
SEAM = 64  # frames of the crossfade from one lap to the next: 1.5 ms
MAX_BEATS = 4.0  # longest section in beats


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Repeat the ring's latest beats in place.

    Registers: write position in the ring, frames it holds, whether the roll is active, the beat at
    which it started, lap, the two read positions (the second fades out over the number of frames
    in the next register), length in beats last used, write position at the start of the roll,
    frames that may still be recorded meanwhile, frames that the ring held at the start.
    """
    write, held, rolls = int(registers[0]), int(registers[1]), registers[2]
    began, lap = registers[3], registers[4]
    head, old, seam = int(registers[5]), int(registers[6]), int(registers[7])
    length, begin, room = registers[8], int(registers[9]), int(registers[10])
    for i in range(count):
        on = values[ROW_ON, i] > 0.0
        if on and rolls == 0.0:
            rolls = 1.0
            began = beats[i]
            begin = write
            lap = -1.0
            length = 0.0
            seam = 0
            registers[11] = held
            room = max(0, SIZE - 2 * SEAM - int(min(MAX_BEATS / tempo[i], SIZE // 2)))
        elif rolls == 1.0 and not on:
            rolls = 0.0
            if room == 0:
                held = 0
        if rolls == 0.0 or room > 0:
            memory[2 * write] = left[i]
            memory[2 * write + 1] = right[i]
            write = (write + 1) % SIZE
            held = min(held + 1, SIZE)
            if rolls == 1.0:
                room -= 1
        if rolls == 1.0:
            place = (beats[i] - began) / values[BEATS, i] + 1e-9
            whole = math.floor(place)
            if seam == 0 and (whole != lap or values[BEATS, i] != length):
                if length > 0.0:
                    old = head
                    seam = SEAM
                back = int(min(values[BEATS, i] / tempo[i] + 0.5, registers[11], SIZE // 2))
                # Greater than 0 if a length changes, or if laps are as short as a crossfade.
                inside = int((place - whole) * values[BEATS, i] / tempo[i])
                head = (begin - back + inside) % SIZE
                lap = whole
                length = values[BEATS, i]
            a = memory[2 * head]
            b = memory[2 * head + 1]
            head = (head + 1) % SIZE
            if seam > 0:
                a += seam / SEAM * (memory[2 * old] - a)
                b += seam / SEAM * (memory[2 * old + 1] - b)
                old = (old + 1) % SIZE
                seam -= 1
            left[i] = a
            right[i] = b
    registers[0], registers[1], registers[2] = write, held, rolls
    registers[3], registers[4] = began, lap
    registers[5], registers[6], registers[7] = head, old, seam
    registers[8], registers[9], registers[10] = length, begin, room
