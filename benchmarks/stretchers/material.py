"""Test signals for stretchers, and measurements of the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 44100
KICK_SECONDS = 20.0
CHORD_SECONDS = 12.0
EDGE_SECONDS = 1.0  # cut off at both ends of a chord before the measurement
TEMPLATE = 882  # frames of an attack that identify it: 20 ms
SEARCH = 8820  # initial search range in frames around the expected positions: 0.2 s
CLOSER = 1764  # second search range, around the constant delay found: 40 ms, so none is mistaken
NEAR_HERTZ = 5.0  # energy this close to a partial belongs to it
LOUD = 0.15  # relative to a loop's strongest attack: weaker ones are not measured
APART = 8820  # minimum frames between two measured attacks of a loop, so none is mistaken


@dataclass
class Jitter:
    """Deviation of attacks from their expected positions in milliseconds, less the median."""

    rms_ms: float
    max_ms: float
    count: int


def stereo(wave: np.ndarray) -> np.ndarray:
    """Return the signal on both channels: float32, `(frames, 2)`."""
    return np.repeat(wave[:, None], 2, axis=1).astype(np.float32)


def kicks() -> tuple[np.ndarray, list[int]]:
    """Return kicks at irregular intervals of 0.4 to 0.6 s, `(frames,)`, and their positions."""
    t = np.arange(int(0.3 * RATE)) / RATE
    turns = 50 * t + 180 * 0.03 * (1 - np.exp(-t / 0.03))
    kick = np.sin(2 * np.pi * turns + 0.4) * np.exp(-t / 0.08) * np.linspace(1, 0, len(t))
    kick *= np.minimum(1.0, np.arange(len(t)) / 22)
    wave = np.zeros(int(KICK_SECONDS * RATE))
    rng = np.random.default_rng(1)
    places: list[int] = []
    at = 4410
    while at + len(kick) < len(wave):
        wave[at : at + len(kick)] += 0.7 * kick
        places.append(at)
        at += int(rng.uniform(0.4, 0.6) * RATE)
    return wave.astype(np.float32), places


def chord(notes: tuple[float, ...], partials: int = 1) -> tuple[np.ndarray, list[float]]:
    """Return a sustained chord, `(frames,)`, and its frequencies in Hz."""
    t = np.arange(int(CHORD_SECONDS * RATE)) / RATE
    hertz = [note * h for note in notes for h in range(1, partials + 1)]
    level = [0.1 / h for _ in notes for h in range(1, partials + 1)]
    waves = (a * np.sin(2 * np.pi * f * t + f) for f, a in zip(hertz, level, strict=True))
    return np.sum(list(waves), axis=0).astype(np.float32), hertz


def snr(out: np.ndarray, hertz: list[float]) -> float:
    """Return the energy within NEAR_HERTZ of a chord's frequencies over all the rest, in dB.

    Measured on the spectrum of the whole signal except its edges, with a Blackman window. Slow
    drift of a partial counts as signal, audible sidebands as noise.
    """
    edge = int(EDGE_SECONDS * RATE)
    wave = out[edge:-edge].astype(np.float64)
    power = np.abs(np.fft.rfft(wave * np.blackman(len(wave)))) ** 2
    places = np.fft.rfftfreq(len(wave), 1 / RATE)
    near = np.zeros(len(places), bool)
    for f in hertz:
        near |= np.abs(places - f) <= NEAR_HERTZ
    return float(10 * np.log10(power[near].sum() / power[~near].sum()))


def _late(out: np.ndarray, template: np.ndarray, wanted: float, search: int) -> float | None:
    # Frames from the expected position of an attack to the best match with the original.
    first = round(wanted) - search
    part = out[max(0, first) : first + 2 * search + len(template)].astype(np.float64)
    if len(part) <= len(template):
        return None
    size = 1 << (len(part) + len(template)).bit_length()
    spectrum = np.fft.rfft(part, size) * np.conj(np.fft.rfft(template, size))
    alike = np.fft.irfft(spectrum, size)[: len(part) - len(template) + 1]
    total = np.cumsum(np.concatenate(([0.0], part**2)))
    energy = total[len(template) :] - total[: -len(template)]
    alike = alike / np.sqrt(energy + 1e-3 * float(np.sum(template**2)))
    best = int(np.argmax(alike))
    between = 0.0
    if 0 < best < len(alike) - 1:
        a, b, c = alike[best - 1 : best + 2]
        between = 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c else 0.0
    return max(0, first) + best + between - wanted


def jitter(source: np.ndarray, places: list[int], out: np.ndarray, tempo: float) -> Jitter:
    """Measure how far the attacks at `places` of a source are off, after stretching by `tempo`.

    They are found by correlation with the first TEMPLATE frames of each attack in the source.
    """
    constant = 0.0
    for search in (SEARCH, CLOSER):
        late = []
        for at in places:
            template = source[at : at + TEMPLATE].astype(np.float64)
            if (at + SEARCH) / tempo < len(out) - TEMPLATE:
                off = _late(out, template, at / tempo + constant, search)
                if off is not None:
                    late.append(off)
        constant += float(np.median(late))
    errors = 1000.0 * (np.array(late) - np.median(late)) / RATE
    return Jitter(
        float(np.sqrt(np.mean(errors**2))), float(np.max(np.abs(errors))), len(errors)
    )


def loop_attacks(wave: np.ndarray) -> list[int]:
    """Return the strong attacks of a drum loop, by a rise of energy unrelated to our own detector.

    Compares the energy of 5 ms with the preceding 20 ms; only well separated attacks are used.
    """
    hop = 110
    energy = np.square(np.diff(wave, prepend=0.0))
    energy = energy[: len(energy) // hop * hop].reshape(-1, hop).sum(axis=1)
    rise = np.zeros(len(energy))
    for k in range(8, len(energy) - 2):
        rise[k] = max(0.0, energy[k : k + 2].sum() - energy[k - 8 : k].max() * 2)
    chosen: list[int] = []
    for k in np.argsort(rise)[::-1]:
        if rise[k] < LOUD * rise.max():
            break
        at = int(k) * hop
        if all(abs(at - other) >= APART for other in chosen):
            chosen.append(at)
    return sorted(chosen)


def loops(folder: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the available drum loops of a folder, mono, `(frames,)` at RATE."""
    import soundfile
    import soxr

    found = {}
    for name in names:
        path = folder / f"{name}.flac"
        if path.exists():
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            mono = samples.mean(axis=1)
            found[name] = mono if rate == RATE else soxr.resample(mono, rate, RATE)
    return found
