"""The end of the mix: test tone, master level and limiter."""

from __future__ import annotations

import math

from crowdstream.desk.ramps import RAMP_HOUSE, RAMP_MASTER
from crowdstream.engine.dsp.limiter import limit
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

TONE_FADE = 441  # frames of the test tone's fade-in and fade-out


@kernel
def start_tone(address, hertz, gain, frames):
    """Add a sine to the master for `frames` frames; a tone that is sounding changes into it.

    `hertz`: frequency. `gain`: linear amplitude.
    """
    master = views.master(address)[0]
    if master.tone_left == 0:
        master.tone_phase = 0.0
    master.tone_step = 2.0 * math.pi * hertz / views.header(address)[0].sample_rate
    master.tone_gain = gain
    master.tone_done = min(master.tone_done, master.tone_left, TONE_FADE)
    master.tone_left = max(0, frames)


@kernel
def stop_tone(address):
    """Fade the test tone out."""
    master = views.master(address)[0]
    master.tone_left = min(master.tone_left, master.tone_done, TONE_FADE)


@kernel
def _add_tone(master, mix, count):
    for i in range(count):
        if master.tone_left <= 0:
            return
        edge = min(master.tone_done, master.tone_left, TONE_FADE) / TONE_FADE
        x = views.F32(math.sin(master.tone_phase) * master.tone_gain * edge)
        mix[i, 0] += x
        mix[i, 1] += x
        master.tone_phase += master.tone_step
        master.tone_done += 1
        master.tone_left -= 1


@kernel
def finish(address, out, at, count):
    """Apply master level, house gain and limiter to `count` frames of the mix.

    Writes interleaved stereo to `out[2 * at ...]`. Non-finite samples are replaced by 0 and
    counted.
    """
    ledger = views.ledger(address)[0]
    mix = views.mix(address)
    _add_tone(views.master(address)[0], mix, count)
    gain = views.gain(address)
    ramps = views.ramps(address)
    fill_ramp(ramps[RAMP_MASTER], gain[0], count)
    house = ramps[RAMP_HOUSE]
    if house.left > 0 or house.value != 1.0:
        fill_ramp(house, gain[1], count)
        for i in range(count):
            gain[0, i] *= gain[1, i]
    for i in range(count):
        left = mix[i, 0] * gain[0, i]
        right = mix[i, 1] * gain[0, i]
        if not (math.isfinite(left) and math.isfinite(right)):
            ledger.nonfinite += 1
            left = views.F32(0.0)
            right = views.F32(0.0)
        mix[i, 0] = left
        mix[i, 1] = right
    limit(address, out, at, count)
