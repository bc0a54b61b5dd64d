"""A deck's gain in the mix: trim, level and crossfader.

A deck is assigned to the crossfader's left or right side, or passes it by. The curve is evaluated
at every frame, so even a long fade follows it. Assignments and curves are weights with ramps of
their own: a change in mid-fade becomes a short fade.
"""

from __future__ import annotations

import math

from crowdstream.desk.constants import CURVES, DECKS, INPUTS
from crowdstream.desk.opcodes import CURVE_ADDITIVE, CURVE_CUT, CURVE_POWER
from crowdstream.desk.ramps import (
    RAMP_CROSSFADER,
    RAMP_CURVE,
    RAMP_DECK,
    RAMP_INPUT_GAIN,
    RAMP_LEFT,
    RAMP_RIGHT,
    RAMP_TRIM,
)
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

CUT_WIDTH = 0.04  # travel over which the cut curve opens: the first millimetres of a fader


@kernel
def _side(open_by, additive, power, cut):
    # Gain of a side when the fader is `open_by` (0 to 1) away from the opposite end.
    gain = additive * min(1.0, 2.0 * open_by)
    if power != 0.0:
        gain += power * math.sin(0.5 * math.pi * open_by)
    return gain + cut * min(1.0, open_by / CUT_WIDTH)


@kernel
def move_crossfader(address, count):
    """Compute the gains of the crossfader's two sides for the next `count` frames.

    With the position x from 0 (left) to 1 (right), the gain of the right side is min(1, 2 x) on
    the additive curve (both sides are full in the middle), sin(x pi / 2) on the constant-power
    curve (the squares add up to 1), and min(1, x / CUT_WIDTH) on the cut curve. The left side
    mirrors it.
    """
    ramps = views.ramps(address)
    curves = views.fade_curves(address)
    fade = views.fade(address)
    moving = fill_ramp(ramps[RAMP_CROSSFADER], curves[0], count)
    for curve in range(CURVES):
        moving = fill_ramp(ramps[RAMP_CURVE + curve], curves[1 + curve], count) or moving
    for i in range(count if moving else 1):
        place = min(max(curves[0, i], 0.0), 1.0)
        additive = curves[1 + CURVE_ADDITIVE, i]
        power = curves[1 + CURVE_POWER, i]
        cut = curves[1 + CURVE_CUT, i]
        fade[0, i] = _side(1.0 - place, additive, power, cut)
        fade[1, i] = _side(place, additive, power, cut)
    if not moving:
        for i in range(1, count):
            fade[0, i] = fade[0, 0]
            fade[1, i] = fade[1, 0]


@kernel
def _is_constant(fade, count):
    # Whether neither side changes. A sum over all frames, because a loop with an early exit is
    # slower.
    different = 0
    for i in range(count):
        different += (fade[0, i] != fade[0, 0]) | (fade[1, i] != fade[1, 0])
    return different == 0


@kernel
def deck_gain(address, deck, out, count):
    """Write the deck's linear gain, level times crossfader, at each of `count` frames to `out`.

    Call once per deck and segment, after `move_crossfader`.
    """
    ramps = views.ramps(address)
    fill_ramp(ramps[RAMP_DECK + deck], out, count)
    left = ramps[RAMP_LEFT + deck]
    right = ramps[RAMP_RIGHT + deck]
    if left.left == 0 and right.left == 0 and left.value == 0.0 and right.value == 0.0:
        return
    sides = views.sides(address)
    fade = views.fade(address)
    moving = fill_ramp(left, sides[0], count)
    moving = fill_ramp(right, sides[1], count) or moving
    if not moving and _is_constant(fade, count):
        through = views.F32(1.0) - sides[0, 0] - sides[1, 0]
        share = sides[0, 0] * fade[0, 0] + sides[1, 0] * fade[1, 0] + through
        for i in range(count):
            out[i] *= share
        return
    for i in range(count):
        through = views.F32(1.0) - sides[0, i] - sides[1, i]
        out[i] *= sides[0, i] * fade[0, i] + sides[1, i] * fade[1, i] + through


@kernel
def _trim(address, lanes, row, pairs, count):
    # `row`: of the first pair's trim.
    ramps = views.ramps(address)
    gain = views.gain(address)
    for pair in range(pairs):
        trim = ramps[row + pair]
        if trim.left == 0 and trim.value == 1.0:
            continue
        fill_ramp(trim, gain[0], count)
        for i in range(count):
            lanes[i, 2 * pair] *= gain[0, i]
            lanes[i, 2 * pair + 1] *= gain[0, i]


@kernel
def trim_decks(address, count):
    """Apply the trims to `count` frames of the lanes; a trim of exactly 1 changes nothing."""
    _trim(address, views.lanes(address), RAMP_TRIM, DECKS, count)


@kernel
def trim_inputs(address, count):
    """Apply the inputs' gains to `count` frames; a gain of exactly 1 changes nothing."""
    _trim(address, views.input_lanes(address), RAMP_INPUT_GAIN, INPUTS, count)
