"""Instruments of the generated tracks: single hits or notes, float32, mono, full scale 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

Sound = npt.NDArray[np.float32]
Generator = np.random.Generator

VOICE_RATE = 12_000  # Hz: vocals are synthesized at this rate; they end at 4.5 kHz
VOWELS = (  # first three formants in Hz: Peterson and Barney, Control methods (1952), men
    (730.0, 1090.0, 2440.0),
    (530.0, 1840.0, 2480.0),
    (270.0, 2290.0, 3010.0),
    (570.0, 840.0, 2410.0),
    (300.0, 870.0, 2240.0),
)


def hertz(midi: float, cents: float = 0.0) -> float:
    """Return the frequency in Hz of a MIDI note number; 69 is 440 Hz."""
    return float(440.0 * 2.0 ** ((midi - 69.0 + cents / 100.0) / 12.0))


def _time(seconds: float, rate: int) -> npt.NDArray[np.float32]:
    return (np.arange(int(seconds * rate)) / rate).astype(np.float32)


def noise_band(random: Generator, frames: int, rate: int, low: float, high: float) -> Sound:
    """Noise between two frequencies (Hz), falling by 36 dB per octave beyond; the peak is 1."""
    spectrum = np.fft.rfft(random.standard_normal(frames).astype(np.float32))
    at = np.fft.rfftfreq(frames, 1 / rate)
    spectrum *= (1 / (1 + (low / np.maximum(at, 1.0)) ** 6)) * (1 / (1 + (at / high) ** 6))
    made = np.fft.irfft(spectrum, frames)
    noise: Sound = (made / np.abs(made).max()).astype(np.float32)
    return noise


def _attack(sound: Sound, rate: int, ms: float) -> Sound:
    frames = max(1, int(ms * rate / 1000))
    sound[:frames] *= np.linspace(0, 1, frames, dtype=np.float32)
    end = min(len(sound), rate // 200)
    sound[-end:] *= np.linspace(1, 0, end, dtype=np.float32)
    return sound


def kick(random: Generator, rate: int) -> Sound:
    """A sine that falls from a few hundred Hz, with a click."""
    t = _time(random.uniform(0.18, 0.4), rate)
    low, high = random.uniform(42, 60), random.uniform(150, 400)
    fall = random.uniform(0.012, 0.04)
    phase = 2 * np.pi * (low * t + (high - low) * fall * (1 - np.exp(-t / fall)))
    body = np.sin(phase + random.uniform(0, 1.2)) * np.exp(-t / random.uniform(0.06, 0.16))
    click = noise_band(random, len(t), rate, 1500, 6000) * np.exp(-t / 0.004)
    drive = random.uniform(1.0, 2.5)
    made = np.tanh(drive * (body + random.uniform(0.05, 0.4) * click)) / np.tanh(drive)
    return _attack(made.astype(np.float32), rate, random.uniform(0.3, 2.0))


def snare(random: Generator, rate: int) -> Sound:
    """Noise over a tone, or a clap of three bursts."""
    t = _time(random.uniform(0.15, 0.3), rate)
    noise = noise_band(random, len(t), rate, random.uniform(600, 1500), random.uniform(6000, 10000))
    if random.random() < 0.4:
        shape = sum(
            np.where(t >= d, np.exp(-np.maximum(t - d, 0) / 0.006), 0) for d in (0, 0.008, 0.017)
        ) + np.where(t >= 0.017, np.exp(-np.maximum(t - 0.017, 0) / 0.07), 0)
        made = noise * shape * 0.7
    else:
        tone = np.sin(2 * np.pi * random.uniform(170, 240) * t) * np.exp(-t / 0.05)
        made = 0.6 * tone + 0.7 * noise * np.exp(-t / random.uniform(0.04, 0.1))
    return _attack(made.astype(np.float32), rate, 0.4)


def hat(random: Generator, rate: int, is_open: bool) -> Sound:
    """High noise, short or ringing."""
    t = _time(0.3 if is_open else 0.09, rate)
    noise = noise_band(random, len(t), rate, random.uniform(5000, 8000), 16000)
    decay = random.uniform(0.06, 0.12) if is_open else random.uniform(0.012, 0.03)
    return _attack((noise * np.exp(-t / decay)).astype(np.float32), rate, 0.3)


def crash(random: Generator, rate: int) -> Sound:
    """A cymbal that rings for two seconds."""
    t = _time(2.0, rate)
    noise = noise_band(random, len(t), rate, 3000, 15000)
    return _attack((noise * np.exp(-t / 0.6)).astype(np.float32), rate, 1.0)


def percussion(random: Generator, rate: int) -> Sound:
    """A short tone like a conga, a rim or a wood block."""
    t = _time(0.15, rate)
    tone = np.sin(2 * np.pi * random.uniform(250, 1200) * t + 1.0)
    return _attack((tone * np.exp(-t / 0.03)).astype(np.float32), rate, 0.5)


def note(
    rate: int, pitch: float, seconds: float, timbre: tuple[float, float], attack_ms: float,
    decay: float, top: float = 6000.0,
) -> Sound:  # fmt: skip
    """Harmonics up to `top` Hz. `timbre`: slope of the harmonics, and gain of the even ones.

    `decay`: time constant in seconds.
    """
    t = _time(seconds, rate)
    slope, even = timbre
    made = np.zeros_like(t)
    for number in range(1, min(24, int(top / pitch)) + 1):
        share = number**-slope * (even if number % 2 == 0 else 1.0)
        if share > 0.004:
            # The phases are spread so that no peak stands out.
            made += np.float32(share) * np.sin(
                np.float32(2 * np.pi * pitch * number) * t + np.float32(0.7 * number * number)
            )
    made *= np.exp(-t / np.float32(decay)) / np.float32(max(1e-6, np.abs(made).max()))
    return _attack(made, rate, attack_ms)


def sing(random: Generator, rate: int, pitches: list[tuple[float, float]]) -> Sound:
    """A voice that glides through `pitches`, (Hz, seconds), with a vowel each."""
    steps = [int(seconds * VOICE_RATE) for _, seconds in pitches]
    frames = sum(steps)
    pitch = np.repeat([p for p, _ in pitches], steps)
    vowels = np.array(VOWELS)[random.integers(0, len(VOWELS), len(pitches))]
    formants = np.repeat(vowels, steps, axis=0)
    glide = np.hanning(int(0.07 * VOICE_RATE))
    glide /= glide.sum()
    pad = len(glide) // 2

    def smooth(line: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        padded = np.pad(line, (pad, len(glide) - 1 - pad), "edge")
        return np.convolve(padded, glide, "valid")

    t = np.arange(frames) / VOICE_RATE
    depth = random.uniform(0.004, 0.015) * np.minimum(1.0, t / 0.5)
    drift = smooth(random.standard_normal(frames)) * 0.02
    pitch = smooth(pitch) * (1 + depth * np.sin(2 * np.pi * random.uniform(4.8, 6.2) * t) + drift)
    phase = 2 * np.pi * np.cumsum(pitch) / VOICE_RATE
    lines = [smooth(formants[:, number]) for number in range(3)]
    made = np.zeros(frames)
    for number in range(1, int(4500 / pitch.max()) + 1):
        at = number * pitch
        gain = sum(
            share / (1 + ((at - line) / width) ** 2)
            for line, width, share in zip(lines, (70, 90, 140), (1.0, 0.6, 0.3), strict=True)
        )
        made += gain * np.sin(number * phase) / np.sqrt(number)
    made += 0.02 * random.standard_normal(frames)
    edge = min(frames // 3, int(0.04 * VOICE_RATE))
    made[:edge] *= np.linspace(0, 1, edge)
    made[-edge:] *= np.linspace(1, 0, edge)
    made /= np.abs(made).max()
    sound: Sound = soxr.resample(made.astype(np.float32), VOICE_RATE, rate)
    return sound
