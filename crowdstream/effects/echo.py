"""Echo: a feedback delay in time with the clock."""

from __future__ import annotations

import math

from crowdstream.desk.constants import TURN
from crowdstream.desk.effects import MEMORY, POWER, ROW_FIRST, Module, Parameter

MAX_DELAY_SECONDS = 4.0  # longest delay; sizes the ring


def frames(rate: float) -> int:
    """Return the length of the delay ring in frames, for a sample rate in Hz."""
    return min(int(MAX_DELAY_SECONDS * rate) + 2 + TURN, MEMORY // 2)


def memory(rate: float) -> int:
    """Return the float32 values of memory needed: both channels of the ring."""
    return 2 * frames(rate)


MODULE = Module(
    "echo",
    "Feedback delay in time with the clock, or by seconds, with a tail. A new delay time is "
    "crossfaded in, so that the pitch does not bend.",
    (
        Parameter("beats", "delay time, up to 4 s", 1 / 32, 8, 3 / 4, "beats", 0),
        Parameter("seconds", "the same in seconds; 0: use beats", 0, MAX_DELAY_SECONDS, 0, "s", 0),
        Parameter("feedback", "gain from one repeat to the next", 0, 0.98, 0.5),
        Parameter("tone", "low-pass in the feedback path", 200, 20000, 6000, "Hz"),
        Parameter("pingpong", "how far repeats alternate between the sides", 0, 1, 0),
    ),
    memory,
    mix=0.4,
    law=POWER,
    tail=MAX_DELAY_SECONDS + 0.1,
)
BEATS, SECONDS, FEEDBACK = ROW_FIRST, ROW_FIRST + 1, ROW_FIRST + 2
TONE, PINGPONG = ROW_FIRST + 3, ROW_FIRST + 4
FADE = 0.02  # seconds of the crossfade to a new delay time


def _past(memory, size, write, delay, side):
    at = write - delay
    if at < 0:
        at += size
    return memory[2 * at + side]


def process(memory, registers, values, beats, tempo, left, right, count, rate):
    """Delay in place.

    Registers: write position in the ring, current delay and the one being faded in (frames),
    frames left of that crossfade, tone last used and its smoothing coefficient, two states of the
    low-pass.
    """
    size = frames(rate)
    fade_frames = int(FADE * rate) + 1
    write, delay, coming, fade = (
        int(registers[0]), int(registers[1]), int(registers[2]), int(registers[3]),
    )  # fmt: skip
    low_left, low_right = registers[6], registers[7]
    for i in range(count):
        wanted = values[SECONDS, i] * rate
        if wanted == 0.0:
            wanted = values[BEATS, i] / tempo[i]
        new = int(min(max(wanted, 1.0), size - TURN - 1.0) + 0.5)
        if delay == 0:
            delay = new
        if fade == 0 and new != delay:
            coming = new
            fade = fade_frames
        a = _past(memory, size, write, delay, 0)
        b = _past(memory, size, write, delay, 1)
        if fade > 0:
            share = 1.0 - fade / fade_frames
            a += share * (_past(memory, size, write, coming, 0) - a)
            b += share * (_past(memory, size, write, coming, 1) - b)
            fade -= 1
            if fade == 0:
                delay = coming
        if values[TONE, i] != registers[4]:
            registers[4] = values[TONE, i]
            registers[5] = 1.0 - math.exp(-2.0 * math.pi * registers[4] / rate)
        low_left += registers[5] * (a - low_left)
        low_right += registers[5] * (b - low_right)
        across = values[PINGPONG, i]
        back = values[FEEDBACK, i]
        to_left = left[i] + 0.5 * across * (right[i] - left[i])
        to_right = (1.0 - across) * right[i]
        memory[2 * write] = to_left + back * (low_left + across * (low_right - low_left))
        memory[2 * write + 1] = to_right + back * (low_right + across * (low_left - low_right))
        write = write + 1 if write + 1 < size else 0
        left[i] = low_left
        right[i] = low_right
    registers[0], registers[1], registers[2], registers[3] = write, delay, coming, fade
    registers[6], registers[7] = low_left, low_right
