"""The cue bus: pre-fader listen for the DJ's headphones.

Decks and inputs are taken after their EQ, filter and effects and before their level. Single stems
have been added to the region `cue` before. The cue bus has the same delay as the master, so that a
beat heard on both coincides.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import DECKS, DELAY_FRAMES, INPUTS, STEER_FRAMES, TAP_MARGIN
from crowdstream.desk.ramps import RAMP_CUE, RAMP_INPUT_PFL, RAMP_PFL
from crowdstream.engine.dsp.limiter import RELEASE_SECONDS, RELEASED
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

FULL_SCALE = 1.0


@kernel
def _add_pfl(address, lanes, row, pairs, count):
    # `row`: of the first pair's level on the cue bus.
    ramps = views.ramps(address)
    gain = views.gain(address)
    cue = views.cue(address)
    for pair in range(pairs):
        ramp = ramps[row + pair]
        if ramp.left == 0 and ramp.value == 0.0:
            continue
        fill_ramp(ramp, gain[0], count)
        for i in range(count):
            cue[i, 0] += lanes[i, 2 * pair] * gain[0, i]
            cue[i, 1] += lanes[i, 2 * pair + 1] * gain[0, i]


@kernel
def add_pfl_decks(address, count):
    """Add the decks in pre-fader listen to the cue bus: `count` frames of the current lanes."""
    _add_pfl(address, views.lanes(address), RAMP_PFL, DECKS, count)


@kernel
def add_pfl_inputs(address, count):
    """Add the inputs in pre-fader listen to the cue bus: `count` frames of their lanes."""
    _add_pfl(address, views.input_lanes(address), RAMP_INPUT_PFL, INPUTS, count)


@kernel
def finish_cue(address, at, count):
    """Apply level, limiter and delay to `count` frames of the cue bus.

    The result goes to the region `cue`, and to `cue_out` from `at` on. Call before the master's
    `limit`, whose delay it adopts. The limiter has no look-ahead: an occasional click on the
    headphones does no harm.
    """
    master = views.master(address)[0]
    limiter = views.limiter(address)[0]
    gain = views.gain(address)
    cue = views.cue(address)
    line = views.cue_line(address)
    whole = views.cue_out(address)
    fill_ramp(views.ramps(address)[RAMP_CUE], gain[0], count)
    rate = views.header(address)[0].sample_rate
    recover = 1.0 - math.exp(-1.0 / (RELEASE_SECONDS * rate))
    hold = master.cue_gain
    for i in range(count):
        left = cue[i, 0] * gain[0, i]
        right = cue[i, 1] * gain[0, i]
        if not (math.isfinite(left) and math.isfinite(right)):
            left = views.F32(0.0)
            right = views.F32(0.0)
        loudest = max(abs(left), abs(right))
        if hold < 1.0:
            hold += (1.0 - hold) * recover
            if hold > RELEASED:
                hold = 1.0
        if loudest * hold > FULL_SCALE:
            hold = FULL_SCALE / loudest
        if hold < 1.0:
            left = views.F32(min(max(left * hold, -FULL_SCALE), FULL_SCALE))
            right = views.F32(min(max(right * hold, -FULL_SCALE), FULL_SCALE))
        frame = limiter.frame + i
        line[frame & (DELAY_FRAMES - 1), 0] = left
        line[frame & (DELAY_FRAMES - 1), 1] = right
        place = (frame - limiter.delay) & (DELAY_FRAMES - 1)
        cue[i, 0] = line[place, 0]
        cue[i, 1] = line[place, 1]
        if at + i < TAP_MARGIN + STEER_FRAMES:
            whole[at + i, 0] = line[place, 0]
            whole[at + i, 1] = line[place, 1]
    master.cue_gain = hold
