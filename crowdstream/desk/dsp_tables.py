"""Precomputed coefficients: interpolator, true-peak detector, filters and loudness weighting."""

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

# A larger beta attenuates more but widens the transition band (Kaiser, 1974). Measured with 32
# taps: 8.4 reaches -98 dB at 1 kHz; 9.6 passes the image of an 18 kHz tone at -78 dB; 9.1 gives
# -102 dB of distortion and noise, with images and aliases below -103 dB.
KAISER_BETA = 9.1
# Measured with 16 taps at rate 1.06: 7.0 gives -82 dB of distortion and noise at 1 kHz, -83 dB at
# 10 kHz and -74 dB at 15 kHz. The image of a 16 kHz tone is at -67 dB, compared with -50 dB for a
# beta of 8.0; the image of an 18 kHz tone is at -29 dB with either.
SHORT_BETA = 7.0

# Crossovers where DJ mixers put them: kick and bass below, hi-hats and sibilance above.
LOW_HZ = 250.0
HIGH_HZ = 2500.0


# Range of the knob. Open: beyond the audible range. Closed: a kick's thump, a hi-hat's hiss.
LOWPASS_HZ = (20000.0, 50.0)
HIGHPASS_HZ = (10.0, 12000.0)
MAX_CUTOFF = 0.45  # relative to the sample rate


def knob_filter(sample_rate: float) -> np.ndarray:
    """Return tan(pi f / rate) of the one-knob filter's cutoffs, `(2, FILTER_TABLE)` float64.

    Row 0 is the low-pass from open to closed, row 1 the high-pass. The cutoff moves linearly in
    octaves along the knob.
    """
    way = np.linspace(0.0, 1.0, FILTER_TABLE)
    rows = []
    for opened, closed in (LOWPASS_HZ, HIGHPASS_HZ):
        hertz = np.minimum(opened * (closed / opened) ** way, MAX_CUTOFF * sample_rate)
        rows.append(np.tan(np.pi * hertz / sample_rate))
    return np.array(rows)


PEAK_BETA = 5.0  # Kaiser window of the true-peak detector: the widest usable passband


def peak_detector() -> np.ndarray:
    """Return the taps of the true-peak detector, `(PEAK_TAPS, LANES)` float32.

    Column p interpolates the signal p / LANES of a frame after tap `PEAK_TAPS / 2 - 1`: a sinc
    truncated by a Kaiser window. Column 0 is that frame itself.
    """
    half = PEAK_TAPS // 2
    time = np.arange(PEAK_TAPS)[:, None] - (half - 1) - np.arange(LANES)[None, :] / LANES
    taps = np.sinc(time) * np.i0(PEAK_BETA * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
    taps[np.abs(taps) < 1e-12 * taps.max()] = 0.0
    scaled: np.ndarray = (taps / taps.sum(axis=0)).astype(np.float32)
    return scaled


def interpolator() -> np.ndarray:
    """Return all banks in sequence, each `(PHASES + 1, taps)` float32 with rows of sum 1.

    A row of zeros follows the last bank. Row p of a bank holds the taps for a position p / PHASES
    past the middle frame: a sinc truncated to `taps` by a Kaiser window (Smith, "Digital Audio
    Resampling", CCRMA). Every bank above the first is the same filter stretched by its rate. The
    banks of the second half have half the taps and therefore a wider transition band.
    """
    banks = []
    for number, taps in enumerate(BANK_TAPS):
        cutoff = 1.0 / BANK_RATES[number % BANKS] if number % BANKS else 1.0
        beta = KAISER_BETA if number < BANKS else SHORT_BETA
        half = taps // 2
        # The second half of the phases mirrors the first half.
        phase = np.arange(PHASES // 2 + 1)[:, None] / PHASES
        time = np.arange(taps)[None, :] - (half - 1) - phase
        window = np.i0(beta * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
        part = np.sinc(time * cutoff) * window
        bank = np.concatenate((part, part[-2::-1, ::-1]))
        # On a whole frame, a bank without a lowered cutoff returns that frame bit for bit: its
        # other taps are zero.
        bank[np.abs(bank) < 1e-12 * bank.max()] = 0.0
        banks.append(bank / bank.sum(axis=1, keepdims=True))
    rows = [bank.ravel() for bank in banks]
    table: np.ndarray = np.concatenate([*rows, np.zeros(BANK_TAPS[-1])]).astype(np.float32)
    return table


def k_weighting(sample_rate: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return both K-weighting filters for a sample rate in Hz: `(b0, b1, b2, a1, a2)` each.

    A shelf that models the head, then a high-pass. Both are derived from the analogue filters
    behind the tables that BS.1770 gives for 48 kHz (Brecht De Man, "Evaluation of implementations
    of the EBU R128 loudness measurement", 2018).
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
    """Return the sections of the crossovers, `(4, 4)` float32: a1, a2, a3 and 2k each.

    Rows 0 and 1 are the two sections of the lower crossover's filters, rows 2 and 3 those of the
    upper one. A crossover is an 8th-order Linkwitz-Riley pair: its low-pass is a 4th-order
    Butterworth filter applied twice, so that low and high add up to an all-pass and each is 6 dB
    down at the crossover frequency. That all-pass has the same two sections, each in the form x -
    2k * band-pass.

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
