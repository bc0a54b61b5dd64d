"""Effect chains: insert, remove and reorder effect instances while they sound.

Control prepares an instance (memory cleared, ramps set) and sends a command to link it into a
chain. The engine crossfades it in. An instance that leaves is crossfaded out, rings out if it has
a tail, and is then reported as free. To change position, an instance is faded out, linked
elsewhere and faded in again, with all of its state. Whatever an instance is doing, its
contribution is a linear crossfade between two continuous signals.

Each instance turns its input x into `dry * x + wet * made`. While it is off or faded out, dry is
exactly 1 and wet 0, so x passes bit for bit. For a module with a tail, the input is faded out
instead, and the output made from earlier input remains.

Whether an instance may fall asleep is decided at frames that are multiples of `PERIOD`, so that it
does not depend on the division into blocks.

Bypass optional effects under CPU overload, and restore them afterwards.

An instance is faded out as if it were moved to another position in its chain; after that it costs
next to nothing. It returns with cleared memory: its old content would otherwise be heard again, as
old as it is. As the memory may be megabytes, it is cleared a little per frame.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import CHAIN_INPUT, CHAINS, DECKS, INPUTS, LANES, TURN
from crowdstream.desk.effects import (
    ACTIVE,
    ADD,
    EFFECTS,
    IDLE,
    LEAVING,
    PERIOD,
    POWER,
    REGISTERS,
    ROW_MIX,
    ROW_ON,
    ROWS,
)
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import EV_EFFECT_FREE
from crowdstream.desk.ramps import RAMP_EFFECT
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.effects.dispatch import process
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.beat_clock import beat_at, beats_per_frame
from crowdstream.engine.schedule.events import push_event
from crowdstream.engine.schedule.load_shedding import sheds_optional
from crowdstream.engine.undo_log import save_new_effect

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


FADE = 256  # frames of a crossfade: 5.8 ms
SILENT = 3e-5  # -90 dB: a tail that stays below this has ended
CEILING = 64.0  # +36 dB: larger samples are faults and are withheld from modules
SMALL = 16384  # float32 values that can be cleared while sounding: 64 KiB take a microsecond

LANES_AT = REGIONS["lanes"].offset


@kernel
def _link(address, number, after):
    # Link an instance after another one of its chain, or at the beginning.
    effects = views.effects(address)
    chains = views.chains(address)
    effect = effects[number]
    if after >= 0 and effects[after].state != IDLE and effects[after].chain == effect.chain:
        effect.next = effects[after].next
        effects[after].next = number
    else:
        effect.next = chains[effect.chain]
        chains[effect.chain] = number


@kernel
def _unlink(address, number):
    # Unlink an instance from its chain; return its predecessor, or -1.
    effects = views.effects(address)
    chains = views.chains(address)
    chain = effects[number].chain
    if chains[chain] == number:
        chains[chain] = effects[number].next
        return -1
    before = chains[chain]
    while effects[before].next != number:
        before = effects[before].next
    effects[before].next = effects[number].next
    return before


@kernel
def change_chain(address, command):
    """Apply `OP_EFFECT`: one instance enters a chain, one leaves, or both."""
    effects = views.effects(address)
    if command.index >= 0 and effects[command.index].state == IDLE:
        save_new_effect(address, command.index)
        effect = effects[command.index]
        effect.state = ACTIVE
        effect.chain = command.target
        effect.fade = 0
        effect.spared = 1 if effect.optional and sheds_optional(address) else 0
        effect.wiped = effect.floats
        effect.lift = 0 if effect.spared else FADE
        effect.warm = 0
        effect.moving = 0
        effect.asleep = 0
        effect.quiet = 0
        effect.loud = 0.0
        _link(address, command.index, command.start)
    if command.end >= 0 and effects[command.end].state == ACTIVE:
        effects[command.end].state = LEAVING
        effects[command.end].moving = 0


@kernel
def move_effect(address, command):
    """Apply `OP_EFFECT_MOVE`: the instance changes its position once it has faded out."""
    effect = views.effects(address)[command.index]
    if effect.state == ACTIVE and command.start != command.index:
        effect.moving = 1
        effect.anchor = command.start
        if effect.asleep:
            effect.lift = 0


@kernel
def _free(address, number, frame):
    effects = views.effects(address)
    before = _unlink(address, number)
    for other in range(EFFECTS):
        if effects[other].moving and effects[other].anchor == number:
            effects[other].anchor = before if before != other else -1
    effects[number].state = IDLE
    push_event(address, EV_EFFECT_FREE, number, 0, frame, 0, 0.0)


@kernel
def _fall_asleep(address, number):
    effect = views.effects(address)[number]
    effect.asleep = 1
    effect.warm = 0
    if effect.moving:
        effect.lift = 0
    if effect.tail == 0 and effect.floats <= SMALL:
        # Its old content would otherwise be heard again, as old as it is, after waking up.
        registers = views.effect_registers(address)[number]
        memory = views.effect_memory(address)[number]
        for i in range(REGISTERS):
            registers[i] = 0.0
        for i in range(effect.floats):
            memory[i] = 0.0


@kernel
def _review(address, number, frame):
    # At the end of a period: has it been silent for long enough?
    effect = views.effects(address)[number]
    switch = views.ramps(address)[RAMP_EFFECT + ROWS * number + ROW_ON]
    off = switch.value == 0.0 and switch.left == 0
    gone = effect.state == LEAVING and (off or effect.fade == 0 or effect.asleep == 1)
    effect.quiet = effect.quiet + 1 if effect.loud < SILENT else 0
    effect.loud = 0.0
    over = effect.tail == 0 or effect.quiet > effect.patience
    if gone:
        effect.left -= 1
        if effect.asleep or over or effect.lift == 0:
            _free(address, number, frame)
    elif off and over and effect.asleep == 0 and effect.listens == 0:
        _fall_asleep(address, number)


@kernel
def update_effects(address, frame):
    """Apply changes due at `frame`; return how many frames may be rendered before the next call."""
    room = PERIOD - frame % PERIOD
    effects = views.effects(address)
    spare = sheds_optional(address)
    for number in range(EFFECTS):
        effect = effects[number]
        if effect.state == IDLE:
            continue
        if frame % PERIOD == 0:
            _review(address, number, frame)
        if effect.moving and effect.lift == 0:
            _unlink(address, number)
            _link(address, number, effect.anchor)
            effect.moving = 0
        if effect.moving:
            room = min(room, effect.lift)
        if effect.spared or (effect.optional and spare):
            room = min(room, update_bypass(address, number, spare))
    return room


@kernel
def read_clock(address, frame, count):
    """Write beat and tempo at each of `count` frames to where the effects read them."""
    clock = views.beat(address)
    for i in range(count):
        clock[0, i] = beat_at(address, frame + i)
        clock[1, i] = beats_per_frame(address, frame + i)


@kernel
def _fill_gains(effect, values, dry, wet, feed, count):
    # Compute the gains per frame: `dry` of the input, `wet` of the effect's output, `feed` of the
    # effect's input.
    fade = effect.fade
    lift = effect.lift
    warm = effect.warm
    fade_to = FADE if effect.state == ACTIVE else 0
    over = effect.state == LEAVING and effect.left < 0
    lift_to = 0 if effect.moving or effect.spared or over else FADE
    known = views.F32(-1.0)
    through = 1.0
    share = 0.0
    for i in range(count):
        mix = values[ROW_MIX, i]
        if mix != known:
            known = mix
            through = 1.0 - mix
            share = float(mix)
            if effect.law == POWER:
                through = math.cos(0.5 * math.pi * mix) if mix < 1.0 else 0.0
                share = math.sin(0.5 * math.pi * mix)
            elif effect.law == ADD:
                through = 1.0
        if fade != fade_to:
            fade += 1 if fade < fade_to else -1
        if lift != lift_to:
            lift += 1 if lift < lift_to else -1
        there = values[ROW_ON, i] * (fade / FADE)
        heard = lift / FADE
        dry[i] = 1.0 + heard * there * (through - 1.0)
        if effect.tail:
            feed[i] = heard * there
            wet[i] = heard * share
        else:
            warm = min(warm + 1, FADE)
            feed[i] = heard * (warm / FADE)
            wet[i] = heard * there * share
    effect.fade = fade
    effect.lift = lift
    effect.warm = warm
    effect.wiped = UNTOUCHED


@kernel
def _render_effect(address, number, count):
    # Process one instance in place on the first two rows of scratch memory.
    effect = views.effects(address)[number]
    scratch = views.effect_scratch(address)
    values = views.effect_values(address)
    clock = views.beat(address)
    ramps = views.ramps(address)
    for row in range(effect.rows):
        fill_ramp(ramps[RAMP_EFFECT + ROWS * number + row], values[row], count)
    left, right = scratch[0], scratch[1]
    made_left, made_right = scratch[2], scratch[3]
    dry, wet, feed = scratch[4], scratch[5], scratch[6]
    _fill_gains(effect, values, dry, wet, feed, count)
    for i in range(count):
        a = left[i] * feed[i]
        b = right[i] * feed[i]
        made_left[i] = a if abs(a) < CEILING else views.F32(0.0)
        made_right[i] = b if abs(b) < CEILING else views.F32(0.0)
    process(
        effect.kind, views.effect_memory(address)[number], views.effect_registers(address)[number],
        values, clock[0], clock[1], made_left, made_right, count,
        views.header(address)[0].sample_rate,
    )  # fmt: skip
    loud = effect.loud
    for i in range(count):
        a = made_left[i] if abs(made_left[i]) < CEILING else views.F32(0.0)
        b = made_right[i] if abs(made_right[i]) < CEILING else views.F32(0.0)
        loud = max(loud, abs(a), abs(b))
        left[i] = dry[i] * left[i] + wet[i] * a
        right[i] = dry[i] * right[i] + wet[i] * b
    effect.loud = loud


@kernel
def _advance_sleeping(address, number, count):
    # Advance the ramps of a sleeping instance; return True if it must wake up.
    effect = views.effects(address)[number]
    ramps = views.ramps(address)
    first = RAMP_EFFECT + ROWS * number
    switch = ramps[first + ROW_ON]
    if effect.state == ACTIVE and (switch.left > 0 or switch.value > 0.0):
        effect.asleep = 0
        effect.lift = FADE if effect.moving == 0 and effect.spared == 0 else effect.lift
        return True
    move_ramps(address, number, count)
    return False


@kernel
def run_chain(address, chain, place, stride, count):
    """Process `count` frames in place through a chain.

    `place`: address of the first left sample (float32), followed by the right one. `stride`:
    samples from one frame to the next. A chain without an awake instance leaves the frames
    untouched.
    """
    number = views.chains(address)[chain]
    if number < 0:
        return
    effects = views.effects(address)
    scratch = views.effect_scratch(address)
    samples = views.float32_samples(place)
    gathered = False
    while number >= 0:
        effect = effects[number]
        awake = effect.asleep == 0 or _advance_sleeping(address, number, count)
        if awake and effect.spared and effect.lift == 0:
            effect.fade = FADE if effect.state == ACTIVE else 0
            advance_bypassed(address, number, count)
        elif awake:
            if not gathered:
                gathered = True
                for i in range(count):
                    scratch[0, i] = samples[stride * i]
                    scratch[1, i] = samples[stride * i + 1]
            _render_effect(address, number, count)
        number = effect.next
    if gathered:
        for i in range(count):
            samples[stride * i] = scratch[0, i]
            samples[stride * i + 1] = scratch[1, i]


@kernel
def run_strip_chains(address, inputs, frame, count):
    """Run the chains of the decks and of the `inputs` on their lanes.

    The clock is read before, for all chains. `inputs`: whether there are any.
    """
    chains = views.chains(address)
    used = False
    for chain in range(CHAINS):
        used = used or chains[chain] >= 0
    if not used:
        return
    read_clock(address, frame, count)
    for deck in range(DECKS):
        run_chain(address, deck, address + LANES_AT + 8 * deck, LANES, count)
    for number in range(INPUTS if inputs else 0):
        place = address + views.INPUT_LANES_AT + 8 * number
        run_chain(address, CHAIN_INPUT + number, place, LANES, count)
