"""Effects that are left out for want of time, and come back.

Such an instance goes out by the crossfade of one that is moved to another place of its chain.
Then it costs next to nothing. It comes back as new: what it held would be heard again, as old as it
is. Its memory may be megabytes, so that is zeroed a little in each frame.
"""

from __future__ import annotations

from crowdstream.desk.constants import TURN
from crowdstream.desk.effects import PERIOD, REGISTERS, ROWS
from crowdstream.desk.ramps import RAMP_EFFECT
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

WIPE = 16  # numbers that are zeroed in a frame, in 3 ns: 1.5 s for the largest memory
# What `wiped` is while the instance sounds: what it has read in a turn that another engine may
# have to render again stays as it is until then.
UNTOUCHED = -WIPE * TURN


@kernel
def move_ramps(address, number, count):
    """Go on by `count` frames with the ramps of an instance that is not computed."""
    effect = views.effects(address)[number]
    ramps = views.ramps(address)
    first = RAMP_EFFECT + ROWS * number
    for row in range(effect.rows):
        if ramps[first + row].left > 0:
            fill_ramp(ramps[first + row], views.effect_values(address)[row], count)


@kernel
def settle_spared(address, number, spare):
    """Let an optional instance go, or come back; frames until there is something to do here.

    `spare`: whether optional effects are left out now.
    """
    effect = views.effects(address)[number]
    if spare:
        if effect.asleep:
            effect.lift = 0
        effect.spared = 1
        return effect.lift if effect.lift > 0 else PERIOD
    if effect.lift > 0 or effect.asleep:  # still going out, or silent by itself
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
def stay_out(address, number, count):
    """Go on by `count` frames with an instance that is out: its ramps move, its memory empties."""
    effect = views.effects(address)[number]
    move_ramps(address, number, count)
    until = min(effect.floats, effect.wiped + WIPE * count)
    memory = views.effect_memory(address)[number]
    for i in range(max(0, effect.wiped), until):
        memory[i] = 0.0
    effect.wiped = until
