"""Effect modules: how one declares itself, and what the desk keeps of each instance.

Nothing here needs a kernel: control reads the declarations too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EFFECTS = 48  # instances: 28 slots, and 20 whose tails may still ring
CHAIN_SLOTS = 4
ROWS = 16  # ramps of an instance:
ROW_MIX, ROW_ON, ROW_FIRST = 0, 1, 2  # its mix, whether it is on, and its own parameters
REGISTERS = 64  # float64 numbers of an instance
MEMORY = 1 << 20  # float32 numbers of an instance: 4 s of stereo at 96 kHz, and some room

PERIOD = 4096  # frames between two looks at which instances are silent

# States of an instance.
IDLE, ACTIVE, LEAVING = 0, 1, 2

# How the mix m weighs what goes in (dry) and what the module makes of it (wet).
BLEND = 0  # 1 - m and m: for sounds that are much alike
POWER = 1  # cosine and sine: as loud all the way for sounds that are not alike
ADD = 2  # 1 and m: for what is put on top

EFFECT = np.dtype(
    [
        ("kind", "i4"),
        ("state", "i4"),
        ("chain", "i4"),
        ("next", "i4"),  # the instance behind it in its chain, -1 none
        ("rows", "i4"),  # ramps it uses
        ("law", "i4"),
        ("tail", "i4"),  # 1: switched off it rings out
        ("listens", "i4"),  # 1: it hears what comes in also while it is off
        ("patience", "i4"),  # periods of silence after which nothing more can come out of it
        ("floats", "i4"),  # numbers of its memory that it uses
        ("rewrites_at", "i4"),  # first of those that it reads and writes within one turn
        ("rewritten", "i4"),  # how many these are
        ("fade", "i4"),  # frames it has come in, up to FADE; going out it falls again
        ("lift", "i4"),  # the same for being moved to another place of the chain
        ("warm", "i4"),  # the same for what it is given: a delay line is not filled by a step
        ("moving", "i4"),
        ("optional", "i4"),  # 1: the mix can do without it
        ("spared", "i4"),  # 1: it is, or goes, out of the mix to save time
        ("wiped", "i4"),  # numbers of its memory that are zero again since then; below 0: not yet
        ("anchor", "i4"),  # while it is being moved: what it will stand behind, -1 the beginning
        ("asleep", "i4"),  # 1: it is off and silent, and costs nothing
        ("quiet", "i4"),  # periods for which it has been silent
        ("left", "i4"),  # periods that its tail may still take
        ("loud", "f8"),  # its loudest sample in this period
    ],
    align=True,
)


@dataclass(frozen=True)
class Parameter:
    """One number of a module: inclusive range, default, unit.

    `ramp`: seconds in which it goes to a new value unless told otherwise. 0: it goes at once,
    and it is the module that makes no click of it. `whole`: only whole numbers.
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
    """The memory of a module that needs none."""
    return 0


def nothing_rewritten(_sample_rate: float) -> tuple[int, int]:
    """That of a module that never overwrites what it has read a moment ago."""
    return 0, 0


@dataclass(frozen=True)
class Module:
    """What a module says of itself.

    `memory(sample_rate)`: float32 numbers it needs, at most `MEMORY`; they are 0 at first.
    A number that was read is not overwritten within `sizes.TURN` frames, so that another engine
    can go on from where one died: rings are longer than their longest delay by so much. Where
    that can't be, `rewritten(sample_rate)` says which numbers are: the first, and how many.
    `mix`, `law`: how it is mixed with what goes in. `tail`: seconds of silence after which
    nothing more can come out of it; 0 for a module that has nothing left to say when what goes
    in ends. `listens`: it has to hear what goes in also while it is off. `starts_on`: whether
    it is on when it comes into a chain. `optional`: the mix can do without it when the machine
    is overloaded.

    The module's file has a function `process` beside it:

        process(memory, registers, values, beats, tempo, left, right, count, rate)

    It turns `count` frames of `left` and `right` (float32) into what the module makes of
    them, in place. `memory` (float32) and `registers` (`REGISTERS` float64) are its own, and
    are all it keeps; `values[ROW_FIRST + p, i]` is its parameter p at frame i,
    `values[ROW_ON, i]` whether it is on (0..1). `beats[i]` is the clock's beat at frame i,
    `tempo[i]` beats a frame there. `rate` is in Hz. What it makes may not depend on how time
    is cut into calls, stays finite whatever the parameters do within their ranges, and it
    uses nothing but these arguments, `math`, numbers and functions of its own file.
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
