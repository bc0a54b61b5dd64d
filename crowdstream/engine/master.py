"""Deck levels, the sum of the decks, test tone, master level and limiter."""

from __future__ import annotations

import math

from crowdstream.desk.layout import DECKS, RAMP_DECK, RAMP_MASTER
from crowdstream.engine import views
from crowdstream.engine.jit import kernel
from crowdstream.engine.ramps import fill_ramp

CEILING = 1.0  # full scale: nothing below it is touched
RELEASE_SECONDS = 0.12  # slow enough not to pump on a kick, fast enough to recover in a beat
TONE_FADE = 441  # frames at either end of the test tone


@kernel
def sum_decks(address, out, at, count):
    """Apply the deck levels and add the decks up: `out[2 * at ...]`, interleaved stereo."""
    lanes = views.lanes(address)
    gain = views.gain(address)
    decks = views.decks(address)
    for i in range(count):
        out[2 * (at + i)] = 0.0
        out[2 * (at + i) + 1] = 0.0
    for number in range(DECKS):
        fill_ramp(views.ramps(address)[RAMP_DECK + number], gain[0], count)
        peak = decks[number].peak
        for i in range(count):
            left = lanes[i, 2 * number] * gain[0, i]
            right = lanes[i, 2 * number + 1] * gain[0, i]
            peak = max(peak, abs(left), abs(right))
            out[2 * (at + i)] += left
            out[2 * (at + i) + 1] += right
        decks[number].peak = peak


@kernel
def start_tone(address, hertz, gain, frames):
    """Sound a sine on the master for `frames` frames; one that sounds already turns into it."""
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
def _add_tone(master, out, at, count):
    for i in range(count):
        if master.tone_left <= 0:
            return
        edge = min(master.tone_done, master.tone_left, TONE_FADE) / TONE_FADE
        x = views.F32(math.sin(master.tone_phase) * master.tone_gain * edge)
        out[2 * (at + i)] += x
        out[2 * (at + i) + 1] += x
        master.tone_phase += master.tone_step
        master.tone_done += 1
        master.tone_left -= 1


@kernel
def finish(address, out, at, count):
    """Master level and limiter over `count` frames of `out`, in place.

    The limiter's gain falls at once to what keeps a frame at full scale, both channels
    alike, and comes back exponentially; below full scale it is exactly 1 and changes no bit.
    """
    master = views.master(address)[0]
    ledger = views.ledger(address)[0]
    _add_tone(master, out, at, count)
    gain = views.gain(address)
    fill_ramp(views.ramps(address)[RAMP_MASTER], gain[0], count)
    rate = views.header(address)[0].sample_rate
    recover = 1.0 - math.exp(-1.0 / (RELEASE_SECONDS * rate))
    hold = master.limit_gain
    peak = master.peak
    for i in range(count):
        left = out[2 * (at + i)] * gain[0, i]
        right = out[2 * (at + i) + 1] * gain[0, i]
        if not (math.isfinite(left) and math.isfinite(right)):
            ledger.nonfinite += 1
            left = views.F32(0.0)
            right = views.F32(0.0)
        loudest = max(abs(left), abs(right))
        if hold < 1.0:
            hold += (1.0 - hold) * recover
            if hold > 0.99999:
                hold = 1.0
        if loudest * hold > CEILING:
            hold = CEILING / loudest
        if hold < 1.0:
            ledger.limited_frames += 1
            left = views.F32(min(max(left * hold, -CEILING), CEILING))
            right = views.F32(min(max(right * hold, -CEILING), CEILING))
        peak = max(peak, abs(left), abs(right))
        out[2 * (at + i)] = left
        out[2 * (at + i) + 1] = right
    master.limit_gain = hold
    master.peak = peak
