"""Roll: what was played last, over and over, while it is on."""

from __future__ import annotations

import math

from crowdstream.desk.effects import MEMORY, ROW_FIRST, ROW_ON, Module, Parameter


def memory(rate: float) -> int:
    """Numbers of memory: all of it, 12 s at 44.1 kHz."""
    return MEMORY


MODULE = Module(
    "roll",
    "Repeats the beats before it was switched on, over and over, exactly on the clock. The "
    "sound behind it goes on in the meantime.",
    (
        Parameter("beats", "length that is repeated", 1 / 32, 4, 1 / 2, "beats", 0),
    ),
    memory,
    listens=True,
    starts_on=False,
    optional=False,
)  # fmt: skip
BEATS = ROW_FIRST
SIZE = MEMORY // 2  # frames of the ring of past sound
SEAM = 64  # frames over which one lap goes over into the next: 1.5 ms
MAX_BEATS = 4.0  # beats that may be repeated


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Registers: where the ring is written next, frames it holds, whether it rolls, beat at
    which that began, lap, the two places that are read (the second fades out for as many frames
    as the next one says), length in beats as it was last, where the ring was written when
    it began, frames that may still be recorded meanwhile, frames that the ring held.
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
                # More than 0 where a length changes, or two laps are as short as a seam.
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
