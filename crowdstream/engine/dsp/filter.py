"""One-knob filter: low-pass to the left, high-pass to the right, off in the middle.

Two state-variable filters in series, in their trapezoidal form (Simper, "Linear Trapezoidal
Integrated SVF", 2013). The state is that of the integrators, so the filter stays stable and adds
no noise however fast its coefficients move. Left of the middle, the high-pass rests at a cut-off
frequency below hearing and the low-pass sweeps down; right of the middle, the other way round.
Nothing is switched when the knob passes the middle. In the middle the signal bypasses both filters
bit for bit, with a crossfade on the way.

Four pairs of lanes are filtered side by side: four decks, or four stems of a voice.
"""

from __future__ import annotations

from crowdstream.desk.constants import FILTER_STEP, FILTER_TABLE, PAIRS
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import (
    RAMP_FILTER,
    RAMP_INPUT_FILTER,
    RAMP_INPUT_RESONANCE,
    RAMP_RESONANCE,
)
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.dsp.simd import BYTES, load, store
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

DEAD_ZONE = 0.01  # of the knob's travel on either side of 0: a controller's centre is not exact
MIX = 256  # frames of the crossfade between dry and filtered
FLAT_DAMPING = 1.4142135623730951  # 1/Q of a Butterworth filter, which has no peak
MIN_DAMPING = 0.12  # 1/Q at full resonance: a peak of 18 dB, well short of self-oscillation
# Resonance is faded in over the first tenth of the travel, so that the open end has no peak at 20
# kHz.
PEAK_FROM = 0.1

# Rows of eight lanes each: a1, a2, a3 of the low-pass; a1, a2, a3, k of the high-pass.
_LOW, _HIGH = 0, 3
CURVES = REGIONS["filter_curves"].offset
CURVE = FILTER_STEP * BYTES
WET = REGIONS["filter_wet"].offset
DECKS_UNIT = REGIONS["filter"].offset
INPUTS_UNIT = REGIONS["input_filter"].offset


@kernel
def _damping(amount, resonance):
    share = min(1.0, amount / PEAK_FROM)
    rest = 1.0 - min(max(resonance, 0.0), 1.0)
    return FLAT_DAMPING - share * (FLAT_DAMPING - MIN_DAMPING) * (1.0 - rest * rest)


@kernel
def _tangent(table, side, amount):
    # tan(pi f / rate) at the side's cut-off frequency, interpolated in a table over the knob's
    # travel.
    place = amount * (FILTER_TABLE - 1)
    row = min(int(place), FILTER_TABLE - 2)
    here = table[side, row]
    return here + (place - row) * (table[side, row + 1] - here)


@kernel
def _set_section(curves, at, i, pair, g, k):
    a1 = 1.0 / (1.0 + g * (g + k))
    for lane in range(2 * pair, 2 * pair + 2):
        curves[at, i, lane] = a1
        curves[at + 1, i, lane] = g * a1
        curves[at + 2, i, lane] = g * g * a1


@kernel
def _set_frame(address, i, pair, knob, resonance):
    # Set the coefficients of one pair of lanes at frame i of the step.
    curves = views.filter_curves(address)
    table = views.filter_table(address)
    amount = min(abs(knob), 1.0)
    down = amount if knob < 0.0 else 0.0
    up = amount if knob > 0.0 else 0.0
    _set_section(curves, _LOW, i, pair, _tangent(table, 0, down), _damping(down, resonance))
    k = _damping(up, resonance)
    _set_section(curves, _HIGH, i, pair, _tangent(table, 1, up), k)
    curves[_HIGH + 3, i, 2 * pair] = k
    curves[_HIGH + 3, i, 2 * pair + 1] = k


@kernel
def _run(address, sound, state, stride, count):
    # Run `count` frames through both filters. `stride`: bytes from one frame's coefficients to the
    # next one's, 0 while they are constant.
    s1 = load(state)
    s2 = load(state + BYTES)
    s3 = load(state + 2 * BYTES)
    s4 = load(state + 3 * BYTES)
    for i in range(count):
        c = address + CURVES + stride * i
        x = load(sound + BYTES * i)
        v3 = x - s2
        v1 = load(c) * s1 + load(c + CURVE) * v3
        v2 = (s2 + load(c + CURVE) * s1) + load(c + 2 * CURVE) * v3
        s1 = v1 + v1 - s1
        s2 = v2 + v2 - s2
        v3 = v2 - s4
        v1 = load(c + 3 * CURVE) * s3 + load(c + 4 * CURVE) * v3
        v4 = (s4 + load(c + 4 * CURVE) * s3) + load(c + 5 * CURVE) * v3
        s3 = v1 + v1 - s3
        s4 = v4 + v4 - s4
        store(address + WET + BYTES * i, v2 - load(c + 6 * CURVE) * v1 - v4)
    store(state, s1)
    store(state + BYTES, s2)
    store(state + 2 * BYTES, s3)
    store(state + 3 * BYTES, s4)


@kernel
def _clear(unit, pair):
    for section in range(4):
        unit.state[section, 2 * pair] = 0.0
        unit.state[section, 2 * pair + 1] = 0.0
    unit.mix[pair] = 0.0
    unit.used[pair] = 1


@kernel
def _blend(unit, pair, knobs, sound, wet, at, count):
    # Dry inside the dead zone, filtered outside of it, with a crossfade in between.
    mix = unit.mix[pair]
    for i in range(count):
        if abs(knobs[pair, i]) <= DEAD_ZONE:
            mix = max(0.0, mix - 1.0 / MIX)
        else:
            mix = min(1.0, mix + 1.0 / MIX)
        share = views.F32(mix)
        for lane in range(2 * pair, 2 * pair + 2):
            if share >= 1.0:
                sound[at + i, lane] = wet[i, lane]
            elif share > 0.0:
                sound[at + i, lane] += share * (wet[i, lane] - sound[at + i, lane])
    unit.mix[pair] = mix


@kernel
def filter_pairs(address, sound, unit_address, knob_row, resonance_row, count):
    """Filter `count` frames of four pairs of lanes in place.

    `sound`: absolute address of float32 `[count, LANES]`; lanes 2p and 2p + 1 are pair p.
    `unit_address`: absolute address of the `FILTER` record that belongs to them; zeroed memory is
    an unused filter. `knob_row`, `resonance_row`: ramp rows of pair 0, followed by those of the
    other pairs; they advance. Pairs whose knob rests at 0 are not touched.
    """
    unit = views.filter_unit(unit_address)[0]
    ramps = views.ramps(address)
    used = False
    for pair in range(PAIRS):
        knob = ramps[knob_row + pair]
        if unit.used[pair] == 0 and (knob.left > 0 or knob.value != 0.0):
            _clear(unit, pair)
        used = used or unit.used[pair] == 1
    knobs = views.filter_knobs(address)
    resonances = views.filter_resonances(address)
    lanes = views.lane_frames(sound)
    wet = views.filter_wet(address)
    state = unit_address + views.FILTER_STATE
    done = 0
    while done < count:
        some = min(FILTER_STEP, count - done)
        moving = False
        for pair in range(PAIRS):
            moving = fill_ramp(ramps[knob_row + pair], knobs[pair], some) or moving
            moving = fill_ramp(ramps[resonance_row + pair], resonances[pair], some) or moving
        if used:
            for pair in range(PAIRS):
                for i in range(some if moving else 1):
                    _set_frame(address, i, pair, knobs[pair, i], resonances[pair, i])
            _run(address, sound + BYTES * done, state, BYTES if moving else 0, some)
            for pair in range(PAIRS):
                if unit.used[pair] == 1:
                    _blend(unit, pair, knobs, lanes, wet, done, some)
        done += some
    for pair in range(PAIRS):
        knob = ramps[knob_row + pair]
        if knob.left == 0 and knob.value == 0.0 and unit.mix[pair] == 0.0:
            unit.used[pair] = 0


@kernel
def filter_decks(address, count):
    """Filter `count` frames of the decks' lanes in place."""
    sound = address + views.LANES_AT
    filter_pairs(address, sound, address + DECKS_UNIT, RAMP_FILTER, RAMP_RESONANCE, count)


@kernel
def filter_inputs(address, count):
    """Filter `count` frames of the inputs' lanes in place."""
    sound = address + views.INPUT_LANES_AT
    unit = address + INPUTS_UNIT
    filter_pairs(address, sound, unit, RAMP_INPUT_FILTER, RAMP_INPUT_RESONANCE, count)
