"""Resampling from the tape to the deck at the playback rate, by windowed-sinc interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from crowdstream.desk.constants import BANK_RATES, BANK_TAPS, BANKS, LANES, PHASES
from crowdstream.desk.constants import TAPE as TAPE_FRAMES
from crowdstream.desk.layout import REGIONS
from crowdstream.engine.dsp.simd import BYTES, load, splat, sums
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

TABLE = REGIONS["table"].offset
TAPE = REGIONS["tape"].offset
PAIR_BYTES = 4 * 2 * TAPE_FRAMES

POSITION_BITS = 48  # fraction bits of a playhead: a rate is exact to 1 frame in 100 years
ONE = 1 << POSITION_BITS
FRACTION_BITS = 24

BANK_FADE = 64  # frames of the crossfade from one filter bank to the next


@kernel
def bank_taps(bank):
    """Return the number of taps of an interpolator bank."""
    taps = 0
    for i in range(len(BANK_TAPS)):
        if i == bank:
            taps = BANK_TAPS[i]
    return taps


@kernel
def bank_offset(bank):
    """Return the offset of a bank in the coefficient table, in float32 values."""
    offset = 0
    for i in range(len(BANK_TAPS)):
        if i < bank:
            offset += (PHASES + 1) * BANK_TAPS[i]
    return offset


@kernel
def bank_for(rate):
    """Return the bank with the fewest taps whose cut-off frequency suits `rate`."""
    for i in range(len(BANK_RATES)):
        if rate <= BANK_RATES[i]:
            return i
    return len(BANK_RATES) - 1


@kernel
def choose_run(voice, first, rates, moving, at, count):
    """Return how many frames from `at` on use the same filter banks, and set the voice's banks.

    `first`: see `first_bank`. The bank of a frame depends on that frame alone, not on the division
    into blocks.
    """
    bank = first + bank_for(rates[at])
    length = count - at
    if moving:
        length = 1
        while at + length < count and first + bank_for(rates[at + length]) == bank:
            length += 1
    if bank != voice.bank and voice.bank_left == 0:
        voice.old_bank = voice.bank
        voice.bank = bank
        voice.bank_left = BANK_FADE if voice.fed > 0 else 0
    return min(length, voice.bank_left) if voice.bank_left > 0 else length


@kernel
def walk(fraction, rates, moving, at, count, steps, fractions):
    """Compute the playhead's position at each of `count` frames from `at` on, and after them.

    `rates`: tape frames per output frame, not constant if `moving`. `steps` receives whole tape
    frames past the first position, `fractions` the remainders. Returns the playhead after the last
    frame: tape frames past the first position, and fraction.

    Positions are fixed-point integers with `ONE` per tape frame. Their sums do not depend on the
    order, so at a constant rate no frame has to wait for its predecessor.
    """
    place = int(fraction * ONE)
    rates = rates[at : at + count]
    if moving:
        for i in range(count):
            steps[i] = place >> POSITION_BITS
            fractions[i] = _fraction(place)
            place += int(rates[i] * ONE)
    else:
        step = int(rates[0] * ONE)
        first = place
        for i in range(count):
            place = first + i * step
            steps[i] = place >> POSITION_BITS
            fractions[i] = _fraction(place)
        place = first + count * step
    return place >> POSITION_BITS, (place & (ONE - 1)) / ONE


@kernel
def _fraction(place):
    # 24 bits: a float32 below 1 represents that many exactly.
    bits = np.int32((place & (ONE - 1)) >> (POSITION_BITS - FRACTION_BITS))
    return views.F32(bits) * views.F32(1.0 / (1 << FRACTION_BITS))


@kernel
def _sample(address, bank, fraction, place):
    # Interpolate a pair of the tape at `fraction` past the frame at address `place`, between the
    # two nearest phases of the interpolation kernel.
    return _weighted(address, TABLE + 4 * bank_offset(bank), bank_taps(bank), fraction, place)


@kernel
def _weighted(address, table, taps, fraction, place):
    # Eight taps per vector.
    phase = fraction * views.F32(PHASES)
    # a fraction just below 1 may have been rounded to 1; then the second phase has no weight
    whole = np.int32(phase)
    between = splat(phase - views.F32(whole))
    row = address + table + 4 * taps * whole
    left = place - 4 * (taps // 2 - 1)
    right = left + 4 * TAPE_FRAMES
    near = load(row)
    c = near + between * (load(row + 4 * taps) - near)
    sum_left = c * load(left)
    sum_right = c * load(right)
    for k in range(1, taps // LANES):
        near = load(row + BYTES * k)
        c = near + between * (load(row + 4 * taps + BYTES * k) - near)
        sum_left = sum_left + c * load(left + BYTES * k)
        sum_right = sum_right + c * load(right + BYTES * k)
    return sums(sum_left, sum_right)


def _sampler_for_bank(bank: int) -> Any:
    # `_sample` specialized for one bank, whose number of taps is a compile-time constant.
    taps = BANK_TAPS[bank]
    table = TABLE + 4 * (PHASES + 1) * sum(BANK_TAPS[:bank])

    @kernel
    def sample(address, fraction, place):
        return _weighted(address, table, taps, fraction, place)

    return sample


_usual_sample = _sampler_for_bank(0)
_short_sample = _sampler_for_bank(BANKS)


@kernel
def _any_sample(address, bank, fraction, place):
    if bank == 0:
        return _usual_sample(address, fraction, place)
    if bank == BANKS:
        return _short_sample(address, fraction, place)
    return _sample(address, bank, fraction, place)


@kernel
def interpolate(address, voice, pair, base, at, count, gains, out, column):
    """Add `count` interpolated frames of a pair, times `gains`, to two columns of `out`.

    `base`: tape index under the playhead. `at`: the first frame's index in the segment. `out`:
    shape `(frames, columns)`. Call `choose_run` first, and `end_run` once all pairs are done.
    """
    steps = views.steps(address)
    fractions = views.fractions(address)
    bank = voice.bank
    left_of_fade = voice.bank_left
    start = address + TAPE + PAIR_BYTES * pair + 4 * base
    out = out[at : at + count]
    gains = gains[at : at + count]
    if bank == 0 and left_of_fade <= 0:  # the path of nearly all frames
        for i in range(count):
            a, b = _usual_sample(address, fractions[i], start + 4 * steps[i])
            out[i, column] += a * gains[i]
            out[i, column + 1] += b * gains[i]
        return
    if bank == BANKS and left_of_fade <= 0:
        for i in range(count):
            a, b = _short_sample(address, fractions[i], start + 4 * steps[i])
            out[i, column] += a * gains[i]
            out[i, column + 1] += b * gains[i]
        return
    for i in range(count):
        place = start + 4 * steps[i]
        a, b = _any_sample(address, bank, fractions[i], place)
        if left_of_fade > 0:
            old_a, old_b = _any_sample(address, voice.old_bank, fractions[i], place)
            share = views.F32((left_of_fade - i) / BANK_FADE)
            a += share * (old_a - a)
            b += share * (old_b - b)
        out[i, column] += a * gains[i]
        out[i, column + 1] += b * gains[i]


@kernel
def read_tape(address, bank, pair, base, count, out, column):
    """Write `count` interpolated frames of a pair to two columns of `out`, with one filter bank.

    `base`: tape index under the playhead. Call `walk` first.
    """
    steps = views.steps(address)
    fractions = views.fractions(address)
    start = address + TAPE + PAIR_BYTES * pair + 4 * base
    for i in range(count):
        a, b = _any_sample(address, bank, fractions[i], start + 4 * steps[i])
        out[i, column] = a
        out[i, column + 1] = b


@kernel
def copy_frames(address, pair, base, at, count, gains, out, column):
    """As `interpolate`, for a playhead on whole frames that advances by one frame per frame."""
    tape = views.tape(address)
    for i in range(count):
        out[at + i, column] += tape[pair, 0, base + i] * gains[at + i]
        out[at + i, column + 1] += tape[pair, 1, base + i] * gains[at + i]


@kernel
def end_run(voice, count):
    """Advance the crossfade between filter banks by `count` frames."""
    if voice.bank_left > 0:
        voice.bank_left -= count
