"""Numbers worked out once: interpolator coefficients and crossover filters."""

from __future__ import annotations

import numpy as np

from crowdstream.desk.layout import BANK_RATES, BANK_TAPS, EQ_SECTIONS, PHASES

# Stop-band depth of the interpolator is about 8.7 * beta + 8 dB (Kaiser, 1974): 100 dB.
KAISER_BETA = 10.5

# Crossovers where DJ mixers have them: kick and bass below, hi-hats and sibilance above.
LOW_HZ = 250.0
HIGH_HZ = 2500.0


def interpolator() -> np.ndarray:
    """All banks one after another, each `(PHASES + 1, taps)` float32, rows of sum 1.

    Row p holds the taps for a position p / PHASES past the middle frame: a sinc cut to
    `taps` by a Kaiser window (Smith, "Digital Audio Resampling", CCRMA). Every bank above
    the first is the same filter stretched by its rate.
    """
    banks = []
    for taps, rate in zip(BANK_TAPS, BANK_RATES, strict=True):
        cutoff = 1.0 if taps == BANK_TAPS[0] else 1.0 / rate
        half = taps // 2
        phase = np.arange(PHASES + 1)[:, None] / PHASES
        time = np.arange(taps)[None, :] - (half - 1) - phase
        window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
        bank = np.sinc(time * cutoff) * window
        banks.append(bank / bank.sum(axis=1, keepdims=True))
    return np.concatenate([bank.ravel() for bank in banks]).astype(np.float32)


def equalizer(sample_rate: float) -> np.ndarray:
    """Sections of the crossovers, `(EQ_SECTIONS, 4)` float32: a1, a2, a3, k each.

    Rows 0-3 are the low-pass of the lower crossover and row 4 the second half of its
    all-pass (the first half is row 0); rows 5-8 and 9-10 the same of the upper one.

    Each crossover is a Linkwitz-Riley pair of 8th order: two 4th-order Butterworth filters
    in a row, so low and high add up to an all-pass and each is 6 dB down where they meet.
    A section is a state variable filter in its trapezoidal form (Simper, "Linear Trapezoidal
    Integrated SVF", 2013); k = 1/Q.
    """
    rows = []
    for hertz in (LOW_HZ, HIGH_HZ):
        g = np.tan(np.pi * hertz / sample_rate)
        pair = []
        for angle in (np.pi / 8, 3 * np.pi / 8):
            k = 2 * np.cos(angle)
            a1 = 1 / (1 + g * (g + k))
            pair.append((a1, g * a1, g * g * a1, k))
        first, second = pair
        rows += [first, second, first, second]
        rows += [second] if hertz == LOW_HZ else [first, second]
    assert len(rows) == EQ_SECTIONS
    return np.array(rows, dtype=np.float32)
