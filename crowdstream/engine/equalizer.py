"""The decks' three-band EQ: all four decks, left and right, side by side in 8 lanes.

    low  = L1 x           L, A: low-pass and all-pass of a Linkwitz-Riley crossover,
    rest = A1 x - L1 x    1 the lower and 2 the upper one; high-pass = A - L

    y = A2 (gl low + gh rest) + (gm - gh) L2 rest

With equal gains that is the gain times A2 A1 x: flat. A deck whose gains are all exactly 1
is bypassed, bit for bit; coming into use, the filters first run unheard until they have
settled, then are crossfaded in.
"""

from __future__ import annotations

from crowdstream.desk.layout import BANDS, DECKS, EQ_SECTIONS, RAMP_EQ, REGIONS, SEGMENT
from crowdstream.engine import views
from crowdstream.engine.jit import kernel
from crowdstream.engine.lanes import BYTES, load, splat, store
from crowdstream.engine.ramps import fill_ramp

DRY = REGIONS["lanes"].offset
WET = REGIONS["wet"].offset
STATE = REGIONS["eq"].offset
CURVES = REGIONS["curves"].offset
CURVE = SEGMENT * BYTES

WARM = 512  # frames of settling: 12 ms, three periods of the lower crossover
MIX = 256  # frames of the crossfade between dry and filtered


@kernel
def _section(x, state, c):
    # One state variable filter: its band-pass, its low-pass and its next state.
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
    # The first section of a crossover gives its low-pass and its all-pass at once.
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
def _state(address, section):
    place = address + STATE + 2 * BYTES * section
    return load(place), load(place + BYTES)


@kernel
def _keep(address, section, state):
    place = address + STATE + 2 * BYTES * section
    store(place, state[0])
    store(place + BYTES, state[1])


@kernel
def _run(address, count):
    # All decks' filters over `count` frames, from the lanes to their filtered counterpart.
    # The states stay in local variables: on their way through memory they would cost most.
    lower = _coefficients(address, 0)
    lower_2 = _coefficients(address, 1)
    upper = _coefficients(address, 2)
    upper_2 = _coefficients(address, 3)
    s0 = _state(address, 0)
    s1 = _state(address, 1)
    s2 = _state(address, 2)
    s3 = _state(address, 3)
    s4 = _state(address, 4)
    s5 = _state(address, 5)
    s6 = _state(address, 6)
    s7 = _state(address, 7)
    s8 = _state(address, 8)
    s9 = _state(address, 9)
    s10 = _state(address, 10)
    for i in range(count):
        at = address + BYTES * i
        low, rest, s0 = _split(load(at + DRY), s0, lower)
        low, s1 = _lowpass(low, s1, lower_2)
        low, s2 = _lowpass(low, s2, lower)
        low, s3 = _lowpass(low, s3, lower_2)
        rest, s4 = _allpass(rest, s4, lower_2)
        rest = rest - low
        mid, s5 = _lowpass(rest, s5, upper)
        mid, s6 = _lowpass(mid, s6, upper_2)
        mid, s7 = _lowpass(mid, s7, upper)
        mid, s8 = _lowpass(mid, s8, upper_2)
        gain_high = load(at + CURVES + 2 * CURVE)
        rest = load(at + CURVES) * low + gain_high * rest
        rest, s9 = _allpass(rest, s9, upper)
        rest, s10 = _allpass(rest, s10, upper_2)
        store(at + WET, rest + (load(at + CURVES + CURVE) - gain_high) * mid)
    _keep(address, 0, s0)
    _keep(address, 1, s1)
    _keep(address, 2, s2)
    _keep(address, 3, s3)
    _keep(address, 4, s4)
    _keep(address, 5, s5)
    _keep(address, 6, s6)
    _keep(address, 7, s7)
    _keep(address, 8, s8)
    _keep(address, 9, s9)
    _keep(address, 10, s10)


@kernel
def _clear_state(address, deck):
    state = views.eq(address)
    for section in range(EQ_SECTIONS):
        for part in range(2):
            state[section, part, 2 * deck] = 0.0
            state[section, part, 2 * deck + 1] = 0.0


@kernel
def _gains(address, deck, count):
    # The deck's three gains, frame by frame; the frame from which on all are and stay 1.
    ramps = views.ramps(address)
    curves = views.curves(address)
    gain = views.gain(address)
    flat_from = 0
    for band in range(BANDS):
        ramp = ramps[RAMP_EQ + 4 * deck + band]
        moving = min(ramp.left, count)
        fill_ramp(ramp, gain[0], count)
        still = ramp.left == 0 and ramp.value == 1.0
        flat_from = max(flat_from, moving if still else count)
        for i in range(count):
            curves[band, i, 2 * deck] = gain[0, i]
            curves[band, i, 2 * deck + 1] = gain[0, i]
    return flat_from


@kernel
def _mix(deck, lanes, wet, column, count):
    # Crossfade between dry and filtered, as far as the deck is on its way into or out of use.
    for i in range(count):
        if deck.eq_warm < WARM:
            deck.eq_warm += 1
        elif i >= deck.eq_flat:
            deck.eq_mix = max(0.0, deck.eq_mix - 1.0 / MIX)
        else:
            deck.eq_mix = min(1.0, deck.eq_mix + 1.0 / MIX)
        share = views.F32(deck.eq_mix)
        if share >= 1.0:
            lanes[i, column] = wet[i, column]
            lanes[i, column + 1] = wet[i, column + 1]
        elif share > 0.0:
            lanes[i, column] += share * (wet[i, column] - lanes[i, column])
            lanes[i, column + 1] += share * (wet[i, column + 1] - lanes[i, column + 1])


@kernel
def equalize(address, count):
    """Filter `count` frames of the lanes in place, where a deck's gains are not all 1."""
    decks = views.decks(address)
    used = False
    for number in range(DECKS):
        deck = decks[number]
        deck.eq_flat = _gains(address, number, count)
        if deck.eq_flat > 0 and deck.eq_state == 0:
            deck.eq_state = 1
            deck.eq_warm = 0
            deck.eq_mix = 0.0
            _clear_state(address, number)
        used = used or deck.eq_state == 1
    if not used:
        return
    lanes = views.lanes(address)
    wet = views.wet(address)
    _run(address, count)
    for number in range(DECKS):
        deck = decks[number]
        if deck.eq_state == 1:
            _mix(deck, lanes, wet, 2 * number, count)
            if deck.eq_flat < count and deck.eq_warm >= WARM and deck.eq_mix == 0.0:
                deck.eq_state = 0
