"""THD+N, of sines whose distortion is known."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.thd_n import EDGE_SECONDS, NoTone, thd_n, thd_n_of_file

RATE = 44100.0


def wave(hertz: float, level: float = 0.5, frames: int = 44100, phase: float = 0.3) -> np.ndarray:
    angle = 2.0 * np.pi * hertz * np.arange(frames) / RATE + phase
    samples: np.ndarray = level * np.sin(angle)
    return samples


@pytest.mark.parametrize("share_db", [-20.0, -62.0, -100.0, -140.0])
def test_a_harmonic_of_known_level_is_what_is_measured(share_db: float) -> None:
    tone = wave(1060.0) + wave(3180.0, 0.5 * 10.0 ** (share_db / 20.0))
    assert thd_n(tone, 1060.0, RATE) == pytest.approx(share_db, abs=0.05)


def test_noise_counts_with_its_power() -> None:
    noise = np.random.default_rng(1).standard_normal(44100)
    tone = wave(1060.0) + 0.5e-3 * noise / np.sqrt(2.0)
    assert thd_n(tone, 1060.0, RATE) == pytest.approx(-60.0, abs=0.2)


def test_a_constant_offset_counts() -> None:
    tone = wave(1060.0) + 0.5e-2 / np.sqrt(2.0)
    assert thd_n(tone, 1060.0, RATE) == pytest.approx(-40.0, abs=0.05)


def test_a_frequency_a_little_off_is_no_distortion() -> None:
    assert thd_n(wave(10_603.7), 10_600.0, RATE) < -150.0


def test_16_bits_are_as_bad_as_theory_says() -> None:
    # 1/12 of a step squared, under a sine of half of full scale.
    coarse = np.round(wave(1061.3) * 32768.0) / 32768.0
    theory = 10.0 * np.log10((1.0 / 32768.0**2 / 12.0) / (0.5**2 / 2.0))
    assert thd_n(coarse, 1061.3, RATE) == pytest.approx(theory, abs=0.5)


def test_another_tone_or_silence_is_refused() -> None:
    with pytest.raises(NoTone):
        thd_n(np.zeros(44100), 1060.0, RATE)
    with pytest.raises(NoTone):
        thd_n(wave(1000.0), 1060.0, RATE)


def test_the_ends_of_a_file_are_left_out(tmp_path: Path) -> None:
    tone = wave(1060.0, frames=2 * 44100)
    edge = int(EDGE_SECONDS * RATE)
    tone[:edge] = 0.0
    tone[-edge:] = 0.9
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.column_stack((tone, tone)), 44100, subtype="DOUBLE")
    assert thd_n_of_file(path, 1060.0) < -150.0
    soundfile.write(path, tone[:1000], 44100)
    with pytest.raises(NoTone, match="only 1000 frames"):
        thd_n_of_file(path, 1060.0)
