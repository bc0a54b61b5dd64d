"""The sound of each effect, against arithmetic and textbooks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from crowdstream.desk.ramps import deck_level_ramp
from crowdstream.effects.drive import EVEN, ODD
from tests.support.effect_harness import put
from tests.support.render_harness import RATE, RenderHarness, as_float, noise, sine


def _through(name: str, samples: np.ndarray, **values: float) -> np.ndarray:
    with RenderHarness(pages=64) as harness:
        put(harness, 0, name, {"mix": 1.0, **values})
        harness.render(1000)
        harness.start(0, harness.load(samples))
        return harness.render(len(samples)).astype(np.float64)


@pytest.mark.parametrize(("decay", "size"), [(0.5, 0.5), (2.0, 1.0), (4.0, 2.0)])
def test_reverb_decays_in_its_time_and_is_dense_and_wide(decay: float, size: float) -> None:
    samples = np.zeros((round(RATE * (decay + 0.5)), 1), np.float32)
    samples[100] = 0.9
    out = _through("reverb", samples, decay=decay, size=size, damping=20000, predelay=0.0)
    assert not out[:100].any()
    low = signal.sosfilt(signal.butter(2, 1500, fs=RATE, output="sos"), out, axis=0)
    energy = np.cumsum((low[::-1] ** 2).sum(axis=1))[::-1]
    decibels = 10 * np.log10(energy / energy[0] + 1e-30)
    begin, end = np.argmax(decibels < -5), np.argmax(decibels < -35)
    assert 2 * (end - begin) / RATE == pytest.approx(decay, rel=0.15)
    late = out[round(0.1 * RATE) : round(0.4 * RATE)]
    assert abs(np.corrcoef(late[:, 0], late[:, 1])[0, 1]) < 0.2
    # Dense: the kurtosis is that of noise (3), not that of single echoes.
    part = late[-4410:, 0] * 10 ** (3 * np.arange(4410) / RATE / decay)
    assert np.mean(part**4) / np.mean(part**2) ** 2 < 4.5
    # No tone stands out: the spectrum of noise has a standard deviation of 5.6 dB.
    heard = np.abs(np.fft.rfft(late[:, 0]))[60:1500]
    assert np.std(20 * np.log10(heard)) < 7.0


def test_reverb_has_damping_and_predelay() -> None:
    samples = np.zeros((44100, 1), np.float32)
    samples[100] = 0.9
    out = _through("reverb", samples, predelay=0.1, damping=1000)
    assert 100 + 4400 <= int(np.flatnonzero(out[:, 0])[0]) <= 100 + 4420
    _hertz, _times, power = signal.spectrogram(out[:, 0], RATE, nperseg=4096)
    late = power[:, -3:].mean(axis=1)
    assert late[500:].mean() < late[20:60].mean() * 1e-3


def test_the_half_band_filter_of_the_drive_meets_its_specification() -> None:
    hertz = np.linspace(0.001, 0.5, 500)
    z = np.exp(-2j * np.pi * hertz)
    branches = []
    for coefficients in (EVEN, ODD):
        branch = np.ones_like(z)
        for c in coefficients:
            branch = branch * (c + z**2) / (1 + c * z**2)
        branches.append(branch)
    response = 20 * np.log10(np.abs(0.5 * (branches[0] + z * branches[1])) + 1e-9)
    assert np.max(np.abs(response[hertz < 0.21])) < 0.1
    assert np.max(response[hertz > 0.3]) < -50


def test_drive_saturates_with_little_aliasing() -> None:
    out = _through("drive", sine(5000.0, 50000, level=0.5), drive=20, tone=20000)[6000:, 0]
    spectrum = np.abs(np.fft.rfft(out[:40000] * np.blackman(40000)))
    at = np.fft.rfftfreq(40000, 1 / RATE)
    harmonic = np.abs(at[:, None] - np.array([5000.0, 15000.0])).min(axis=1) < 20
    assert spectrum[harmonic].max() > 10 * spectrum[~harmonic & (at > 100)].max()
    x = 10.0 * sine(5000.0, 50000, level=0.5).astype(np.float64)[6000:46000]
    plain = np.abs(np.fft.rfft(np.tanh(x) * np.blackman(40000)))

    def worst(power: np.ndarray) -> float:
        return float(20 * np.log10(power[~harmonic & (at > 100)].max() / power.max()))

    assert worst(spectrum) < worst(plain) - 6


def test_drive_at_0_db_is_nearly_transparent() -> None:
    samples = sine(1000.0, 20000, level=0.01)
    out = _through("drive", samples, drive=0, tone=20000)[10000:, 0]
    assert np.max(np.abs(out)) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_crusher_reduces_bits_and_sample_rate(bits: int) -> None:
    samples = noise(20000, peak=0.9)
    out = _through("crusher", samples, bits=bits, rate=192000)[2000:]
    step = 2.0 ** (1 - bits)
    assert np.array_equal(out, np.floor(as_float(samples)[2000:] / step + 0.5) * step)
    held = _through("crusher", samples, bits=16, rate=RATE / 4)[2000:, 0]
    assert np.array_equal(held[::4], held[3::4])
    assert len(np.unique(held)) > 4000


def test_crusher_is_nearly_transparent_at_16_bits() -> None:
    samples = noise(10000, peak=0.9)
    out = _through("crusher", samples, bits=16, rate=192000)
    assert np.max(np.abs(out - as_float(samples))) <= 2.0**-16


@pytest.mark.parametrize("level", [-40.0, -12.0, -3.0])
def test_compressor_follows_its_static_curve(level: float) -> None:
    # A square wave, whose level is constantly its peak.
    wave = np.where(np.arange(44100) // 50 % 2, -1.0, 1.0) * 10 ** (level / 20)
    out = _through("compressor", wave.astype(np.float32), threshold=-20, ratio=4, makeup=3)
    expected = level + 3 - 0.75 * max(0.0, level + 20)
    assert 20 * np.log10(np.abs(out[-100:]).max()) == pytest.approx(expected, abs=0.01)


def test_compressor_follows_its_attack_and_release_times() -> None:
    wave = np.full(88200, 0.01, np.float32)
    wave[22050:44100] = 0.5
    out = _through("compressor", wave, threshold=-20, ratio=20, attack=0.02, release=0.2)[:, 0]
    gain = 20 * np.log10(out / wave)
    most = gain[44000]
    reached = np.argmax(gain[22050:] < most * (1 - np.exp(-1)))
    assert reached / RATE == pytest.approx(0.02, rel=0.02)
    back = np.argmax(gain[44100:] > most * np.exp(-1))
    assert back / RATE == pytest.approx(0.2, rel=0.02)


def test_compressor_leaves_quiet_signals_alone() -> None:
    samples = noise(20000, peak=0.05)
    out = _through("compressor", samples, threshold=-12)
    assert np.array_equal(out[1000:], as_float(samples)[1000:])


def test_flanger_is_a_comb_filter() -> None:
    samples = noise(88200, peak=0.3)
    out = _through("flanger", samples, mix=0.5, depth=0.0, delay=0.002, feedback=0.0)[2000:, 0]
    dry = as_float(samples)[:, 0].astype(np.float64)
    delay = 0.002 * RATE
    whole = int(delay)
    between = delay - whole
    past = (1 - between) * dry[2000 - whole : -whole] + between * dry[2000 - whole - 1 : -whole - 1]
    assert np.max(np.abs(out - 0.5 * dry[2000:] - 0.5 * past)) < 1e-5


def test_flanger_modulates_with_the_beat() -> None:
    # The comb's notch moves: the level of a tone in it rises and falls once in 2 beats.
    out = _through(
        "flanger", sine(1000.0, 220500, level=0.2), beats=2, delay=0.00075, depth=0.2, feedback=0.0,
        mix=0.5,
    )[44100:, 0]  # fmt: skip
    loud = np.sqrt((out[:176400].reshape(-1, 441) ** 2).mean(axis=1))
    power = np.abs(np.fft.rfft(loud - loud.mean()))
    assert int(np.argmax(power)) == 4  # four periods in four seconds, at 120 BPM


def test_the_deck_level_is_applied_after_its_effects() -> None:
    with RenderHarness() as harness:
        put(harness, 0, "crusher", {"bits": 1, "rate": 192000})
        harness.ramp(deck_level_ramp(0), 0.25)
        harness.start(0, harness.load(np.full(4000, 20000, np.int16)))
        assert float(harness.render(3000)[-1, 0]) == 0.25
