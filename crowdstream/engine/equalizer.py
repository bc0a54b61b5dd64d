"""The decks' three-band EQ: all four decks, left and right, side by side in 8 lanes.

    low  = L1 x           L, A: low-pass and all-pass of a Linkwitz-Riley crossover,
    rest = A1 x - L1 x    1 the lower and 2 the upper one; high-pass = A - L

    y = A2 (gl low + gh rest) + (gm - gh) L2 rest

With equal gains that is the gain times A2 A1 x: flat. A deck whose gains are all exactly 1
is bypassed, bit for bit; coming into use, the filters first run unheard until they have
settled, then are crossfaded in.
"""

from __future__ import annotations

from crowdstream.desk import views
from crowdstream.desk.jit import fast_kernel, kernel
from crowdstream.desk.layout import BANDS, DECKS, EQ_SECTIONS, LANES, RAMP_EQ
from crowdstream.engine.ramps import fill_ramp

WARM = 512  # frames of settling: 12 ms, three periods of the lower crossover
MIX = 256  # frames of the crossfade between dry and filtered


@fast_kernel
def _lowpass(x, state, coefficients, section):
    # One section over all lanes, in place; what goes through is replaced by its low-pass.
    a1 = coefficients[section, 0]
    a2 = coefficients[section, 1]
    a3 = coefficients[section, 2]
    for lane in range(LANES):
        s1 = state[section, 0, lane]
        s2 = state[section, 1, lane]
        v3 = x[lane] - s2
        v1 = a1 * s1 + a2 * v3
        v2 = s2 + a2 * s1 + a3 * v3
        state[section, 0, lane] = v1 + v1 - s1
        state[section, 1, lane] = v2 + v2 - s2
        x[lane] = v2


@fast_kernel
def _allpass(x, state, coefficients, section):
    a1 = coefficients[section, 0]
    a2 = coefficients[section, 1]
    a3 = coefficients[section, 2]
    k = coefficients[section, 3]
    for lane in range(LANES):
        s1 = state[section, 0, lane]
        s2 = state[section, 1, lane]
        v3 = x[lane] - s2
        v1 = a1 * s1 + a2 * v3
        v2 = s2 + a2 * s1 + a3 * v3
        state[section, 0, lane] = v1 + v1 - s1
        state[section, 1, lane] = v2 + v2 - s2
        x[lane] -= views.F32(2.0) * k * v1


@fast_kernel
def _split(x, low, state, coefficients, section):
    # The first section of a crossover gives its low-pass and its all-pass at once.
    a1 = coefficients[section, 0]
    a2 = coefficients[section, 1]
    a3 = coefficients[section, 2]
    k = coefficients[section, 3]
    for lane in range(LANES):
        s1 = state[section, 0, lane]
        s2 = state[section, 1, lane]
        v3 = x[lane] - s2
        v1 = a1 * s1 + a2 * v3
        v2 = s2 + a2 * s1 + a3 * v3
        state[section, 0, lane] = v1 + v1 - s1
        state[section, 1, lane] = v2 + v2 - s2
        low[lane] = v2
        x[lane] -= views.F32(2.0) * k * v1


@fast_kernel
def _run(lanes, wet, work, state, c, curves, count):
    rest = work[0]
    low = work[1]
    mid = work[2]
    for i in range(count):
        for lane in range(LANES):
            rest[lane] = lanes[i, lane]
        _split(rest, low, state, c, 0)
        _lowpass(low, state, c, 1)
        _lowpass(low, state, c, 2)
        _lowpass(low, state, c, 3)
        _allpass(rest, state, c, 4)
        for lane in range(LANES):
            rest[lane] -= low[lane]
            mid[lane] = rest[lane]
            rest[lane] = curves[0, i, lane] * low[lane] + curves[2, i, lane] * rest[lane]
        _lowpass(mid, state, c, 5)
        _lowpass(mid, state, c, 6)
        _lowpass(mid, state, c, 7)
        _lowpass(mid, state, c, 8)
        _allpass(rest, state, c, 9)
        _allpass(rest, state, c, 10)
        for lane in range(LANES):
            wet[i, lane] = rest[lane] + (curves[1, i, lane] - curves[2, i, lane]) * mid[lane]


@kernel
def _clear_state(address, deck):
    state = views.eq(address)
    for section in range(EQ_SECTIONS):
        for part in range(2):
            state[section, part, 2 * deck] = 0.0
            state[section, part, 2 * deck + 1] = 0.0


@kernel
def _gains(address, deck, count):
    # The deck's three gains, frame by frame; True when all of them are and stay 1.
    ramps = views.ramps(address)
    curves = views.curves(address)
    gain = views.gain(address)
    flat = True
    for band in range(BANDS):
        ramp = ramps[RAMP_EQ + 4 * deck + band]
        moving = fill_ramp(ramp, gain[0], count)
        flat = flat and not moving and ramp.value == 1.0
        for i in range(count):
            curves[band, i, 2 * deck] = gain[0, i]
            curves[band, i, 2 * deck + 1] = gain[0, i]
    return flat


@kernel
def _mix(deck, flat, lanes, wet, column, count):
    # Crossfade between dry and filtered, as far as the deck is on its way into or out of use.
    for i in range(count):
        if deck.eq_warm < WARM:
            deck.eq_warm += 1
        elif flat:
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
    flat = 0
    used = False
    for number in range(DECKS):
        deck = decks[number]
        if _gains(address, number, count):
            flat |= 1 << number
        elif deck.eq_state == 0:
            deck.eq_state = 1
            deck.eq_warm = 0
            deck.eq_mix = 0.0
            _clear_state(address, number)
        used = used or deck.eq_state == 1
    if not used:
        return
    lanes = views.lanes(address)
    wet = views.wet(address)
    state = views.eq(address)
    coefficients = views.eq_coefficients(address)
    _run(lanes, wet, views.work(address), state, coefficients, views.curves(address), count)
    for number in range(DECKS):
        deck = decks[number]
        if deck.eq_state == 1:
            is_flat = (flat >> number) & 1 == 1
            _mix(deck, is_flat, lanes, wet, 2 * number, count)
            if is_flat and deck.eq_warm >= WARM and deck.eq_mix == 0.0:
                deck.eq_state = 0
