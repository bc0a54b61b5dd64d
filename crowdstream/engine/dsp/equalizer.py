"""Three-band EQ: four decks, or four stems of a voice, as stereo pairs in eight SIMD lanes.

    low  = L1 x           L, A: low-pass and all-pass of a Linkwitz-Riley crossover,
    rest = A1 x - L1 x    1 the lower and 2 the upper one; high-pass = A - L

    y = A2 (gl low + gh rest) + (gm - gh) L2 rest

With equal gains g this is g A2 A1 x, a flat magnitude response. A signal whose gains are all
exactly 1 is bypassed, bit for bit. When the EQ comes into use, its filters first run unheard until
they have settled, and are then crossfaded in.
"""

from __future__ import annotations

from crowdstream.desk.constants import BANDS, DECKS, EQ_SECTIONS, INPUTS, SEGMENT
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import RAMP_EQ, RAMP_INPUT_EQ
from crowdstream.engine.dsp.ramps import fill_ramp
from crowdstream.engine.dsp.simd import BYTES, load, splat, store
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

DRY = REGIONS["lanes"].offset
WET = REGIONS["wet"].offset
STATE = REGIONS["eq"].offset
INPUT_STATE = REGIONS["input_eq"].offset
CURVES = REGIONS["curves"].offset
CURVE = SEGMENT * BYTES

# frames for the filters to settle: 12 ms, three periods of the lower crossover
WARM_UP_FRAMES = 512
MIX = 256  # frames of the crossfade between dry and filtered


@kernel
def _section(x, state, c):
    # One state-variable filter; returns its band-pass, its low-pass and its next state.
    a1, a2, a3, _k2 = c
    s1, s2 = state
    v3 = x - s2
    v1 = a1 * s1 + a2 * v3
    v2 = (s2 + a2 * s1) + a3 * v3
    return v1, v2, (v1 + v1 - s1, v2 + v2 - s2)


@kernel
def _lowpass(x, state, c):
    _v1, v2, state = _section(x, state, c)
    return v2, state


@kernel
def _allpass(x, state, c):
    v1, _v2, state = _section(x, state, c)
    return x - c[3] * v1, state


@kernel
def _split(x, state, c):
    # The first section of a crossover yields its low-pass and its all-pass at once.
    v1, v2, state = _section(x, state, c)
    return v2, x - c[3] * v1, state


@kernel
def _coefficients(address, row):
    table = views.eq_coefficients(address)
    return (
        splat(table[row, 0]),
        splat(table[row, 1]),
        splat(table[row, 2]),
        splat(table[row, 3]),
    )


@kernel
def _state(place, section):
    place += 2 * BYTES * section
    return load(place), load(place + BYTES)


@kernel
def _store_state(place, section, state):
    place += 2 * BYTES * section
    store(place, state[0])
    store(place + BYTES, state[1])


@kernel
def run_equalizer(address, dry, state, count, rows):
    """Filter `count` frames of eight lanes to scratch memory `wet`, with gains from `curves`.

    `dry`: absolute address of float32 `[count, LANES]`. `state`: absolute address of float32
    `[EQ_SECTIONS, 2, LANES]`, which is updated. `rows`: number of rows of gains, `count`, or 1 if
    all gains are constant.
    """
    wet = address + WET
    gains = address + CURVES
    step = BYTES if rows > 1 else 0
    # The states stay in registers: memory round trips would dominate the cost.
    lower = _coefficients(address, 0)
    lower_2 = _coefficients(address, 1)
    upper = _coefficients(address, 2)
    upper_2 = _coefficients(address, 3)
    s0 = _state(state, 0)
    s1 = _state(state, 1)
    s2 = _state(state, 2)
    s3 = _state(state, 3)
    s4 = _state(state, 4)
    s5 = _state(state, 5)
    s6 = _state(state, 6)
    s7 = _state(state, 7)
    s8 = _state(state, 8)
    s9 = _state(state, 9)
    s10 = _state(state, 10)
    for i in range(count):
        at = BYTES * i
        low, rest, s0 = _split(load(dry + at), s0, lower)
        low, s1 = _lowpass(low, s1, lower_2)
        low, s2 = _lowpass(low, s2, lower)
        low, s3 = _lowpass(low, s3, lower_2)
        rest, s4 = _allpass(rest, s4, lower_2)
        rest = rest - low
        mid, s5 = _lowpass(rest, s5, upper)
        mid, s6 = _lowpass(mid, s6, upper_2)
        mid, s7 = _lowpass(mid, s7, upper)
        mid, s8 = _lowpass(mid, s8, upper_2)
        gain_high = load(gains + 2 * CURVE)
        rest = load(gains) * low + gain_high * rest
        rest, s9 = _allpass(rest, s9, upper)
        rest, s10 = _allpass(rest, s10, upper_2)
        store(wet + at, rest + (load(gains + CURVE) - gain_high) * mid)
        gains += step
    _store_state(state, 0, s0)
    _store_state(state, 1, s1)
    _store_state(state, 2, s2)
    _store_state(state, 3, s3)
    _store_state(state, 4, s4)
    _store_state(state, 5, s5)
    _store_state(state, 6, s6)
    _store_state(state, 7, s7)
    _store_state(state, 8, s8)
    _store_state(state, 9, s9)
    _store_state(state, 10, s10)


@kernel
def is_flat(address, row):
    """Return whether the three gains at ramp rows `row` to `row + 2` are 1 and stay there."""
    ramps = views.ramps(address)
    for band in range(BANDS):
        if ramps[row + band].left > 0 or ramps[row + band].value != 1.0:
            return False
    return True


@kernel
def curve_rows(address, row, count):
    """Return how many rows of gains three ramps from `row` on need: 1, or `count` if one moves."""
    ramps = views.ramps(address)
    for band in range(BANDS):
        if ramps[row + band].left > 0:
            return count
    return 1


@kernel
def _gains(address, row, column, count, rows):
    # Fill in the three gains, frame by frame. Returns the frame from which on all are and stay 1.
    ramps = views.ramps(address)
    curves = views.curves(address)
    flat_from = 0
    for band in range(BANDS):
        ramp = ramps[row + band]
        moving = min(ramp.left, count)
        fill_ramp(ramp, curves[band, :, column], rows)
        still = ramp.left == 0 and ramp.value == 1.0
        flat_from = max(flat_from, moving if still else count)
        for i in range(rows):
            curves[band, i, column + 1] = curves[band, i, column]
    return flat_from


@kernel
def prepare(address, use, state, row, column, count, rows):
    """Prepare lanes `column` and `column + 1` for the filters: gains, and a cleared state if new.

    `use`: an `EQ_USE` record. `state`: the filters' state as an array. `row`: the first of three
    ramp rows, which advance. `rows`: the largest number of gain rows that any lane needs (see
    `curve_rows`). Returns False if the pair is bypassed.
    """
    if use.eq_state == 0 and is_flat(address, row):
        return False
    use.eq_flat = _gains(address, row, column, count, rows)
    if use.eq_state == 0:
        use.eq_state = 1
        use.eq_warm = 0
        use.eq_mix = 0.0
        for section in range(EQ_SECTIONS):
            for part in range(2):
                state[section, part, column] = 0.0
                state[section, part, column + 1] = 0.0
    return True


@kernel
def blend(use, lanes, wet, column, count):
    """Crossfade two lanes between dry and filtered, depending on the state in `use`."""
    if use.eq_warm >= WARM_UP_FRAMES and use.eq_mix == 1.0 and use.eq_flat >= count:
        for i in range(count):
            lanes[i, column] = wet[i, column]
            lanes[i, column + 1] = wet[i, column + 1]
        return
    for i in range(count):
        if use.eq_warm < WARM_UP_FRAMES:
            use.eq_warm += 1
        elif i >= use.eq_flat:
            use.eq_mix = max(0.0, use.eq_mix - 1.0 / MIX)
        else:
            use.eq_mix = min(1.0, use.eq_mix + 1.0 / MIX)
        share = views.F32(use.eq_mix)
        if share >= 1.0:
            lanes[i, column] = wet[i, column]
            lanes[i, column + 1] = wet[i, column + 1]
        elif share > 0.0:
            lanes[i, column] += share * (wet[i, column] - lanes[i, column])
            lanes[i, column + 1] += share * (wet[i, column + 1] - lanes[i, column + 1])
    if use.eq_flat < count and use.eq_warm >= WARM_UP_FRAMES and use.eq_mix == 0.0:
        use.eq_state = 0


@kernel
def _equalize_pairs(address, place, lanes, state_place, state, uses, first, pairs, count):
    # `place` and `state_place` are the addresses of `lanes` and `state`, `first` the first ramp
    # row of pair 0; each pair has four.
    used = False
    rows = 1
    for number in range(pairs):
        rows = max(rows, curve_rows(address, first + 4 * number, count))
    for number in range(pairs):
        row = first + 4 * number
        used = prepare(address, uses[number], state, row, 2 * number, count, rows) or used
    if not used:
        return
    run_equalizer(address, place, state_place, count, rows)
    for number in range(pairs):
        if uses[number].eq_state == 1:
            blend(uses[number], lanes, views.wet(address), 2 * number, count)


@kernel
def equalize(address, count):
    """Filter `count` frames of the decks' lanes in place. Flat decks are bypassed."""
    _equalize_pairs(
        address, address + DRY, views.lanes(address), address + STATE, views.eq(address),
        views.eq_use(address), RAMP_EQ, DECKS, count,
    )  # fmt: skip


@kernel
def equalize_inputs(address, count):
    """Filter `count` frames of the inputs' lanes in place. Flat inputs are bypassed."""
    _equalize_pairs(
        address, address + views.INPUT_LANES_AT, views.input_lanes(address), address + INPUT_STATE,
        views.input_eq(address), views.input_eq_use(address), RAMP_INPUT_EQ, INPUTS, count,
    )  # fmt: skip
