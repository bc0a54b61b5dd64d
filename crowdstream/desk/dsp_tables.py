"""Numbers worked out once: interpolator coefficients and crossover filters."""

from __future__ import annotations

import math

import numpy as np

from crowdstream.desk.constants import (
    BANK_RATES,
    BANK_TAPS,
    BANKS,
    FILTER_TABLE,
    LANES,
    PEAK_TAPS,
    PHASES,
)

# A larger beta is deeper but wider in its transition (Kaiser, 1974). With 32 taps, measured:
# 8.4 leaves 98 dB at 1 kHz; 9.6 lets the image of an 18 kHz tone through at -78 dB; 9.1 gives
# -102 dB of distortion and noise, and images and aliases below -103 dB.
KAISER_BETA = 9.1
# With 16 taps 7.0 gives, measured at rate 1.06, -82 dB of distortion and noise at 1 kHz, -83 at
# 10 kHz and -74 at 15 kHz. It leaves the image of a 16 kHz tone at -67 dB, where 8.0 would leave
# it at -50; that of an 18 kHz tone is at -29 dB with either.
SHORT_BETA = 7.0

# Crossovers where DJ mixers have them: kick and bass below, hi-hats and sibilance above.
LOW_HZ = 250.0
HIGH_HZ = 2500.0


# The knob's way. Open: below and above hearing; closed: a kick's thump, a hi-hat's hiss.
LOWPASS_HZ = (20000.0, 50.0)
HIGHPASS_HZ = (10.0, 12000.0)
MAX_CUTOFF = 0.45  # of the sample rate


def knob_filter(sample_rate: float) -> np.ndarray:
    """Tangents tan(pi f / rate) of the one-knob filter, `(2, FILTER_TABLE)` float64.

    Row 0: the low-pass from open to closed, row 1: the high-pass. The cutoff moves evenly in
    octaves along the knob.
    """
    way = np.linspace(0.0, 1.0, FILTER_TABLE)
    rows = []
    for opened, closed in (LOWPASS_HZ, HIGHPASS_HZ):
        hertz = np.minimum(opened * (closed / opened) ** way, MAX_CUTOFF * sample_rate)
        rows.append(np.tan(np.pi * hertz / sample_rate))
    return np.array(rows)


PEAK_BETA = 5.0  # Kaiser window of the true-peak detector: as wide a passband as can be


def peak_detector() -> np.ndarray:
    """Taps of the true-peak detector, `(PEAK_TAPS, LANES)` float32.

    Column p gives the signal p / LANES of a frame behind tap `PEAK_TAPS / 2 - 1`: a sinc cut by
    a Kaiser window. Column 0 is that frame itself.
    """
    half = PEAK_TAPS // 2
    time = np.arange(PEAK_TAPS)[:, None] - (half - 1) - np.arange(LANES)[None, :] / LANES
    taps = np.sinc(time) * np.i0(PEAK_BETA * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
    taps[np.abs(taps) < 1e-12 * taps.max()] = 0.0
    scaled: np.ndarray = (taps / taps.sum(axis=0)).astype(np.float32)
    return scaled


def interpolator() -> np.ndarray:
    """All banks one after another, each `(PHASES + 1, taps)` float32, rows of sum 1; a row of 0.

    Row p holds the taps for a position p / PHASES past the middle frame: a sinc cut to
    `taps` by a Kaiser window (Smith, "Digital Audio Resampling", CCRMA). Every bank above
    the first is the same filter stretched by its rate. The second half of them have half the
    taps and the wider transition that comes of it.
    """
    banks = []
    for number, taps in enumerate(BANK_TAPS):
        cutoff = 1.0 / BANK_RATES[number % BANKS] if number % BANKS else 1.0
        beta = KAISER_BETA if number < BANKS else SHORT_BETA
        half = taps // 2
        # The second half of the phases is the first one's mirror image.
        phase = np.arange(PHASES // 2 + 1)[:, None] / PHASES
        time = np.arange(taps)[None, :] - (half - 1) - phase
        window = np.i0(beta * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
        part = np.sinc(time * cutoff) * window
        bank = np.concatenate((part, part[-2::-1, ::-1]))
        # On a whole frame a bank that cuts nothing off gives that frame, to the bit: its other
        # taps are zero.
        bank[np.abs(bank) < 1e-12 * bank.max()] = 0.0
        banks.append(bank / bank.sum(axis=1, keepdims=True))
    rows = [bank.ravel() for bank in banks]
    table: np.ndarray = np.concatenate([*rows, np.zeros(BANK_TAPS[-1])]).astype(np.float32)
    return table


def k_weighting(sample_rate: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Both filters of the weighting for a sample rate: `(b0, b1, b2, a1, a2)` each.

    A shelf for the head and a high-pass, from the analogue filters behind the tables that
    BS.1770 gives for 48 kHz (Brecht De Man, "Evaluation of implementations of the EBU R128
    loudness measurement", 2018).
    """
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q = 0.7071752369554196
    high = 10.0 ** (3.999843853973347 / 20.0)
    band = high**0.4996667741545416
    a0 = 1.0 + k / q + k * k
    shelf = (
        (high + band * k / q + k * k) / a0,
        2.0 * (k * k - high) / a0,
        (high - band * k / q + k * k) / a0,
        2.0 * (k * k - 1.0) / a0,
        (1.0 - k / q + k * k) / a0,
    )
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    a0 = 1.0 + k / q + k * k
    highpass = (1.0, -2.0, 1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0)
    return shelf, highpass


def equalizer(sample_rate: float) -> np.ndarray:
    """Sections of the crossovers, `(4, 4)` float32: a1, a2, a3 and 2k each.

    Rows 0 and 1 are the two sections of the lower crossover's filters, 2 and 3 the upper
    one's. A crossover is a Linkwitz-Riley pair of 8th order: its low-pass is a 4th-order
    Butterworth filter twice in a row, so that low and high add up to an all-pass and each is
    6 dB down where they meet. That all-pass has the same two sections, each in the form
    x - 2k * band-pass.

    A section is a state variable filter in its trapezoidal form (Simper, "Linear Trapezoidal
    Integrated SVF", 2013); k = 1/Q.
    """
    rows = []
    for hertz in (LOW_HZ, HIGH_HZ):
        g = np.tan(np.pi * hertz / sample_rate)
        for angle in (np.pi / 8, 3 * np.pi / 8):
            k = 2 * np.cos(angle)
            a1 = 1 / (1 + g * (g + k))
            rows.append((a1, g * a1, g * g * a1, 2 * k))
    return np.array(rows, dtype=np.float32)
