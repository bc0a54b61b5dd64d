"""From the tape to the deck: playback rate, by windowed-sinc interpolation."""

from __future__ import annotations

from crowdstream.desk import views
from crowdstream.desk.jit import fast_kernel, kernel
from crowdstream.desk.layout import BANK_RATES, BANK_TAPS, MAX_RATE, MIN_RATE, PHASES

BANK_FADE = 64  # frames over which one filter bank takes over from another


@kernel
def bank_taps(bank):
    """Taps of an interpolator bank."""
    taps = 0
    for i in range(len(BANK_TAPS)):
        if i == bank:
            taps = BANK_TAPS[i]
    return taps


@kernel
def bank_offset(bank):
    """Where a bank begins in the table of coefficients."""
    offset = 0
    for i in range(len(BANK_TAPS)):
        if i < bank:
            offset += (PHASES + 1) * BANK_TAPS[i]
    return offset


@kernel
def bank_for(rate):
    """The bank with the fewest taps that is made for `rate`."""
    for i in range(len(BANK_RATES)):
        if rate <= BANK_RATES[i]:
            return i
    return len(BANK_RATES) - 1


@kernel
def walk(voice, speed, moving, steps, fractions, count):
    """Where the playhead stands at each of `count` frames, and after them.

    `steps` gets whole tape frames past `voice.play`, `fractions` what remains. Returns the
    playhead after the last frame (tape frame, fraction) and the highest rate on the way.
    """
    play = 0
    fraction = voice.fraction
    highest = 0.0
    rate = min(max(speed[0, 0] * speed[1, 0], MIN_RATE), MAX_RATE)
    for i in range(count):
        if moving:
            rate = min(max(speed[0, i] * speed[1, i], MIN_RATE), MAX_RATE)
        highest = max(highest, rate)
        steps[i] = play
        fractions[i] = fraction
        fraction += rate
        whole = int(fraction)
        play += whole
        fraction -= whole
    return play, fraction, highest


@fast_kernel
def _tap_sum(table, row, taps, between, left, right, first):
    # Two rows of coefficients, mixed by how far the position is between their phases.
    sum_left = views.F32(0.0)
    sum_right = views.F32(0.0)
    for k in range(taps):
        near = table[row + k]
        c = near + between * (table[row + taps + k] - near)
        sum_left += c * left[first + k]
        sum_right += c * right[first + k]
    return sum_left, sum_right


@fast_kernel
def _tap_sum32(table, row, between, left, right, first):
    # The same for the usual bank, whose length the compiler may know.
    sum_left = views.F32(0.0)
    sum_right = views.F32(0.0)
    for k in range(32):
        near = table[row + k]
        c = near + between * (table[row + 32 + k] - near)
        sum_left += c * left[first + k]
        sum_right += c * right[first + k]
    return sum_left, sum_right


@kernel
def _sample(table, bank, fraction, left, right, middle):
    # The tape's value at `middle + fraction`.
    taps = bank_taps(bank)
    phase = fraction * views.F32(PHASES)
    whole = int(phase)
    between = phase - views.F32(whole)
    row = bank_offset(bank) + whole * taps
    first = middle - taps // 2 + 1
    if bank == 0:
        return _tap_sum32(table, row, between, left, right, first)
    return _tap_sum(table, row, taps, between, left, right, first)


@kernel
def interpolate(address, voice, base, count, gains, lane):
    """Add `count` interpolated frames, times `gains`, to lanes `lane` and `lane + 1`.

    `base` is the place on the tape that the playhead stands at.
    """
    tape = views.tape(address)
    left = tape[0]
    right = tape[1]
    table = views.table(address)
    steps = views.steps(address)
    fractions = views.fractions(address)
    lanes = views.lanes(address)
    for i in range(count):
        middle = base + steps[i]
        a, b = _sample(table, voice.bank, fractions[i], left, right, middle)
        if voice.bank_left > 0:
            old_a, old_b = _sample(table, voice.old_bank, fractions[i], left, right, middle)
            share = views.F32(voice.bank_left / BANK_FADE)
            a += share * (old_a - a)
            b += share * (old_b - b)
            voice.bank_left -= 1
        lanes[i, lane] += a * gains[i]
        lanes[i, lane + 1] += b * gains[i]
