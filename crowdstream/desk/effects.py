"""Effect modules: their declarations, and the record that the desk keeps of each instance.

Nothing here needs a kernel, because control reads the declarations too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EFFECTS = 56  # instances: 36 slots, and 20 whose tails may still be ringing
CHAIN_SLOTS = 4
ROWS = 16  # ramps per instance:
ROW_MIX, ROW_ON, ROW_FIRST = 0, 1, 2  # its mix, its on switch, then its own parameters
REGISTERS = 64  # float64 registers per instance
MEMORY = 1 << 20  # float32 numbers per instance: 4 s of stereo at 96 kHz, with some room

PERIOD = 4096  # frames between two checks for silent instances

# States of an instance.
IDLE, ACTIVE, LEAVING = 0, 1, 2

# Gains that a mix m gives to the input (dry) and to the module's output (wet).
BLEND = 0  # 1 - m and m: for correlated signals
POWER = 1  # cosine and sine: constant power for uncorrelated signals
ADD = 2  # 1 and m: for sound that is added on top

EFFECT = np.dtype(
    [
        ("kind", "i4"),
        ("state", "i4"),
        ("chain", "i4"),
        ("next", "i4"),  # the instance after it in its chain, -1 none
        ("rows", "i4"),  # ramps in use
        ("law", "i4"),
        ("tail", "i4"),  # 1: it rings out after it is switched off
        ("listens", "i4"),  # 1: it receives its input also while it is off
        ("patience", "i4"),  # periods of silence after which it can produce no more sound
        ("floats", "i4"),  # numbers of its memory in use
        ("rewrites_at", "i4"),  # first number that it reads and writes within one turn
        ("rewritten", "i4"),  # count of these numbers
        ("fade", "i4"),  # frames of its fade-in so far, up to FADE; it falls during the fade-out
        ("lift", "i4"),  # the same while it moves to another position in the chain
        ("warm", "i4"),  # the same for its input: a step must not enter a delay line
        ("moving", "i4"),
        ("optional", "i4"),  # 1: load shedding may bypass it
        ("spared", "i4"),  # 1: load shedding bypasses it or is fading it out
        ("wiped", "i4"),  # numbers of its memory zeroed since then; below 0: not yet
        ("anchor", "i4"),  # during a move: the instance it will follow, -1 the beginning
        ("asleep", "i4"),  # 1: it is off and silent, and takes no time
        ("quiet", "i4"),  # periods for which it has been silent
        ("left", "i4"),  # periods left for its tail
        ("loud", "f8"),  # its largest absolute sample in this period
    ],
    align=True,
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a module: inclusive range, default and unit.

    `ramp`: default duration of a change in seconds. With 0 the value changes at once, and the
    module itself must avoid a click. `whole`: only integers are valid.
    """

    name: str
    help: str
    low: float
    high: float
    default: float
    unit: str = ""
    ramp: float = 0.02
    whole: bool = False


def no_memory(_sample_rate: float) -> int:
    """Memory size of a module without memory."""
    return 0


def nothing_rewritten(_sample_rate: float) -> tuple[int, int]:
    """Return the empty range, for a module that never soon overwrites what it has just read."""
    return 0, 0


@dataclass(frozen=True)
class Module:
    """The declaration of an effect module.

    `memory(sample_rate)`: float32 numbers that it needs, at most `MEMORY`; they start as 0. A
    number that was read must not be overwritten within `constants.TURN` frames, so that another
    engine can take over after a crash: ring buffers must be longer than their longest delay by that
    amount. Where this is impossible, `rewritten(sample_rate)` returns the numbers that are
    overwritten: the index of the first, and their count.

    `mix`, `law`: how its output is mixed with its input. `tail`: seconds of silence after which it
    can produce no more sound; 0 for a module whose output ends with its input. `listens`: it must
    receive its input also while it is off. `starts_on`: whether it is on when it is inserted into a
    chain. `optional`: load shedding may bypass it on an overloaded machine.

    The module's file also contains a function `process`:

        process(memory, registers, values, beats, tempo, left, right, count, rate)

    It replaces `count` frames of `left` and `right` (float32) in place with the module's output.
    `memory` (float32) and `registers` (`REGISTERS` float64) belong to the instance and are its only
    state. `values[ROW_FIRST + p, i]` is its parameter p at frame i, `values[ROW_ON, i]` its on
    switch (0..1). `beats[i]` is the clock's beat at frame i, `tempo[i]` the beats per frame there.
    `rate` is in Hz. The output must not depend on how time is divided into calls and must stay
    finite for any parameters within their ranges. The function may use nothing but these arguments,
    `math`, numbers, and functions of its own file.
    """

    name: str
    help: str
    parameters: tuple[Parameter, ...]
    memory: Callable[[float], int] = no_memory
    rewritten: Callable[[float], tuple[int, int]] = nothing_rewritten
    mix: float = 1.0
    law: int = BLEND
    tail: float = 0.0
    listens: bool = False
    starts_on: bool = True
    optional: bool = True
