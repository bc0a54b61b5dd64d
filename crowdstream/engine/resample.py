"""From the tape to the deck: playback rate, by windowed-sinc interpolation."""

from __future__ import annotations

from crowdstream.desk.layout import BANK_RATES, BANK_TAPS, PHASES, REGIONS
from crowdstream.desk.layout import TAPE as TAPE_FRAMES
from crowdstream.engine import views
from crowdstream.engine.jit import fast_kernel, kernel

TABLE = REGIONS["table"].offset
TAPE = REGIONS["tape"].offset
PAIR_BYTES = 4 * 2 * TAPE_FRAMES

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
def choose_run(voice, rates, moving, at, count):
    """How many frames from `at` on go through the same filter banks; sets the voice's banks.

    Which bank a frame goes through depends on that frame alone, not on how blocks fall.
    """
    bank = bank_for(rates[at])
    length = count - at
    if moving:
        length = 1
        while at + length < count and bank_for(rates[at + length]) == bank:
            length += 1
    if bank != voice.bank and voice.bank_left == 0:
        voice.old_bank = voice.bank
        voice.bank = bank
        voice.bank_left = BANK_FADE if voice.fed > 0 else 0
    return min(length, voice.bank_left) if voice.bank_left > 0 else length


@kernel
def walk(fraction, rates, at, count, steps, fractions):
    """Where the playhead stands at each of `count` frames from `at` on, and after them.

    `rates`: tape frames a frame. `steps` gets whole tape frames past where it stands first,
    `fractions` what remains.
    Returns the playhead after the last frame: tape frames past the first, fraction.
    """
    play = 0
    for i in range(count):
        steps[i] = play
        fractions[i] = fraction
        fraction += rates[at + i]
        whole = int(fraction)
        play += whole
        fraction -= whole
    return play, fraction


@fast_kernel
def _tap_sum(near, far, between, left, right, taps):
    # Two rows of coefficients, mixed by how far the position is between their phases.
    sum_left = views.F32(0.0)
    sum_right = views.F32(0.0)
    for k in range(taps):
        c = near[k] + between * (far[k] - near[k])
        sum_left += c * left[k]
        sum_right += c * right[k]
    return sum_left, sum_right


@kernel
def _sample(address, bank, fraction, place):
    # The value of a pair of the tape at `fraction` past the frame at address `place`.
    taps = bank_taps(bank)
    phase = fraction * views.F32(PHASES)
    whole = min(int(phase), PHASES - 1)  # a fraction of nearly 1 may have become 1
    between = phase - views.F32(whole)
    row = bank_offset(bank) + whole * taps
    near = views.float32_samples(address + TABLE + 4 * row)
    far = views.float32_samples(address + TABLE + 4 * (row + taps))
    first = place - 4 * (taps // 2 - 1)
    left = views.float32_samples(first)
    right = views.float32_samples(first + 4 * TAPE_FRAMES)
    if bank == 0:  # the usual one, whose length the compiler may know
        return _tap_sum(near, far, between, left, right, BANK_TAPS[0])
    return _tap_sum(near, far, between, left, right, taps)


@kernel
def interpolate(address, voice, pair, base, at, count, gains, out, column):
    """Add `count` interpolated frames of a pair, times `gains`, to two columns of `out`.

    `base` is the place on the tape that the playhead stands at; `at` the first frame's place
    in the segment; `out`: frames in rows. The run must have been chosen by `choose_run`, and
    is over with `end_run` when all pairs are done.
    """
    steps = views.steps(address)
    fractions = views.fractions(address)
    bank = voice.bank
    left_of_fade = voice.bank_left
    start = address + TAPE + PAIR_BYTES * pair + 4 * base
    for i in range(count):
        place = start + 4 * steps[i]
        a, b = _sample(address, bank, fractions[i], place)
        if left_of_fade > 0:
            old_a, old_b = _sample(address, voice.old_bank, fractions[i], place)
            share = views.F32((left_of_fade - i) / BANK_FADE)
            a += share * (old_a - a)
            b += share * (old_b - b)
        out[at + i, column] += a * gains[at + i]
        out[at + i, column + 1] += b * gains[at + i]


@kernel
def copy_frames(address, pair, base, at, count, gains, out, column):
    """The same for a playhead that moves by one frame a frame and stands on whole ones."""
    tape = views.tape(address)
    for i in range(count):
        out[at + i, column] += tape[pair, 0, base + i] * gains[at + i]
        out[at + i, column + 1] += tape[pair, 1, base + i] * gains[at + i]


@kernel
def end_run(voice, count):
    """Move on by `count` frames with the crossfade from one bank to the next."""
    if voice.bank_left > 0:
        voice.bank_left -= count
