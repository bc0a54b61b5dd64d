"""Coefficients of the interpolator's banks and of the crossovers."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.desk.constants import (
    BANK_RATES,
    BANK_TAPS,
    BANKS,
    HISTORY,
    MAX_RATE,
    PHASES,
    SEGMENT,
    TABLE,
    TAPE,
)
from crowdstream.desk.dsp_tables import equalizer, interpolator


def _banks() -> list[np.ndarray]:
    table = interpolator()
    assert len(table) == TABLE
    banks = []
    for taps in BANK_TAPS:
        size = (PHASES + 1) * taps
        banks.append(table[:size].reshape(PHASES + 1, taps))
        table = table[size:]
    return banks


def test_every_row_preserves_a_constant() -> None:
    for bank in _banks():
        assert np.allclose(bank.astype(np.float64).sum(axis=1), 1.0, atol=2e-7)


@pytest.mark.parametrize("number", [0, BANKS])
def test_first_banks_are_exact_on_whole_frames(number: int) -> None:
    bank = _banks()[number]
    middle = BANK_TAPS[number] // 2 - 1
    for row, at in ((bank[0], middle), (bank[PHASES], middle + 1)):
        expected = np.zeros(BANK_TAPS[number], np.float32)
        expected[at] = 1.0
        assert np.array_equal(row, expected)


def test_banks_are_symmetric() -> None:
    for bank in _banks():
        assert np.allclose(bank[::-1, ::-1], bank, atol=1e-7)


@pytest.mark.parametrize("number", range(len(BANK_TAPS)))
def test_a_bank_stops_frequencies_that_would_alias(number: int) -> None:
    # Treat the bank as one filter at PHASES times the rate: it must stop everything above its edge.
    bank = _banks()[number][:PHASES].astype(np.float64)
    whole = bank[:, ::-1].T.ravel()
    spectrum = np.abs(np.fft.rfft(whole, 1 << 18)) / whole.sum()
    at = np.arange(len(spectrum)) * PHASES / (1 << 18)  # in source sample rates
    cutoff = 0.5 / BANK_RATES[number % BANKS] if number % BANKS else 0.5
    width = 0.092 * 32 / BANK_TAPS[number]
    deep = -80 if number < BANKS else -65
    assert 20 * np.log10(spectrum[at > cutoff + width].max()) < deep
    assert 20 * np.log10(spectrum[at < cutoff - width].min()) > -0.1


def test_the_tape_holds_all_frames_that_a_segment_needs() -> None:
    longest = max(BANK_TAPS) // 2
    assert SEGMENT * MAX_RATE + longest + 2 <= TAPE - HISTORY
    # Behind the playhead: half a filter, and the frames that were fed in advance.
    assert 2 * longest + 2 <= HISTORY
    assert list(BANK_RATES) == sorted(BANK_RATES) and BANK_RATES[-1] >= MAX_RATE


@pytest.mark.parametrize("rate", [22050.0, 44100.0, 48000.0, 96000.0, 192000.0])
def test_crossover_coefficients(rate: float) -> None:
    rows = equalizer(rate)
    assert rows.shape == (4, 4) and rows.dtype == np.float32
    assert np.all(rows > 0) and np.all(rows[:, 0] < 1)
    # The sections' damping is that of a 4th-order Butterworth filter.
    assert np.allclose(rows[:2, 3] / 2, 2 * np.cos([np.pi / 8, 3 * np.pi / 8]), atol=1e-6)
