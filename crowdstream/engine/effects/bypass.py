"""Bypass optional effects under CPU overload, and restore them afterwards.

An instance is faded out as if it were moved to another position in its chain; after that it costs
next to nothing. It returns with cleared memory: its old content would otherwise be heard again, as
old as it is. As the memory may be megabytes, it is cleared a little per frame.
"""

from __future__ import annotations

from crowdstream.desk.constants import TURN
from crowdstream.desk.effects import PERIOD, REGISTERS, ROWS
from crowdstream.desk.ramps import RAMP_EFFECT
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

WIPE = 16  # float32 values cleared per frame, in 3 ns: 1.5 s for the largest memory
# Value of `wiped` while the instance sounds: memory read in a turn that another engine may have to
# render again must stay intact for that long.
UNTOUCHED = -WIPE * TURN


@kernel
def move_ramps(address, number, count):
    """Advance the ramps of an instance that is not processed by `count` frames."""
    effect = views.effects(address)[number]
    ramps = views.ramps(address)
    first = RAMP_EFFECT + ROWS * number
    for row in range(effect.rows):
        if ramps[first + row].left > 0:
            fill_ramp(ramps[first + row], views.effect_values(address)[row], count)


@kernel
def update_bypass(address, number, spare):
    """Bypass or restore an optional instance; return the frames until it needs the next call.

    `spare`: whether optional effects are shed now.
    """
    effect = views.effects(address)[number]
    if spare:
        if effect.asleep:
            effect.lift = 0
        effect.spared = 1
        return effect.lift if effect.lift > 0 else PERIOD
    if effect.lift > 0 or effect.asleep:  # still fading out, or already asleep
        effect.spared = 0
        return PERIOD
    left = effect.floats - effect.wiped
    if left > 0:
        return (left + WIPE - 1) // WIPE
    registers = views.effect_registers(address)[number]
    for i in range(REGISTERS):
        registers[i] = 0.0
    effect.spared = 0
    effect.warm = 0
    return PERIOD


@kernel
def advance_bypassed(address, number, count):
    """Advance a bypassed instance by `count` frames: move its ramps, clear more of its memory."""
    effect = views.effects(address)[number]
    move_ramps(address, number, count)
    until = min(effect.floats, effect.wiped + WIPE * count)
    memory = views.effect_memory(address)[number]
    for i in range(max(0, effect.wiped), until):
        memory[i] = 0.0
    effect.wiped = until
