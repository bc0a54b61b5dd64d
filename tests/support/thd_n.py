"""Total harmonic distortion plus noise (THD+N) of a rendered sine."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import soundfile

EDGE_SECONDS = 0.25  # ignored at both ends: fades, settling filters
FLOOR_DB = -200.0  # result for a perfect sine
ROUNDS = 6
MAX_DEVIATION = 0.002  # of the tone's frequency from the expected one, relative


class NoTone(RuntimeError):
    """The file does not contain the expected tone."""


def thd_n(samples: np.ndarray, hertz: float, sample_rate: float) -> float:
    """Return THD+N of a sine in dB: the power of everything else over the power of the sine.

    `samples`: shape `(frames,)`. All frequencies up to half the sample rate count, including a
    constant offset. The sine is fitted by least squares in amplitude, phase and frequency
    (Gauss-Newton, as in IEEE Std 1057), starting from `hertz`. Raises `NoTone` if there is none.
    """
    x = np.asarray(samples, np.float64)
    time = (np.arange(len(x)) - len(x) / 2) / sample_rate
    hertz, expected = _peak(x, hertz, sample_rate), hertz
    for _ in range(ROUNDS):
        angle = 2.0 * math.pi * hertz * time
        cosine, sine = np.cos(angle), np.sin(angle)
        (a, b), *_ = np.linalg.lstsq(np.column_stack((cosine, sine)), x, rcond=None)
        slope = 2.0 * math.pi * time * (b * cosine - a * sine)
        design = np.column_stack((cosine, sine, slope))
        (a, b, change), *_ = np.linalg.lstsq(design, x, rcond=None)
        hertz += float(change)
    if abs(hertz - expected) > MAX_DEVIATION * expected:
        raise NoTone(f"there is a tone of {hertz:.1f} Hz instead of {expected:.1f} Hz")
    angle = 2.0 * math.pi * hertz * time
    design = np.column_stack((np.cos(angle), np.sin(angle)))
    (a, b), *_ = np.linalg.lstsq(design, x, rcond=None)
    rest = float(np.mean((x - design @ (a, b)) ** 2))
    tone = (a * a + b * b) / 2.0
    return max(FLOOR_DB, 10.0 * math.log10(max(rest, 1e-300) / tone))


def _peak(x: np.ndarray, hertz: float, sample_rate: float) -> float:
    # Frequency of the loudest bin near `hertz`, refined by a parabola through it and its
    # neighbours: the fit converges only from less than half a bin away.
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    width = sample_rate / len(x)
    low = max(1, int(hertz * (1.0 - MAX_DEVIATION) / width) - 2)
    high = min(len(spectrum) - 1, int(hertz * (1.0 + MAX_DEVIATION) / width) + 3)
    if high <= low or not np.max(spectrum[low:high]) > 0.0:
        raise NoTone(f"it is silent at {hertz:.1f} Hz")
    at = low + int(np.argmax(spectrum[low:high]))
    left, middle, right = np.log(np.maximum(spectrum[at - 1 : at + 2], 1e-300))
    bend = left - 2.0 * middle + right
    return float((at + (0.5 * (left - right) / bend if bend < 0.0 else 0.0)) * width)


def thd_n_of_file(path: Path, hertz: float) -> float:
    """Return THD+N in dB of the left channel of a sound file, without its ends."""
    samples, sample_rate = soundfile.read(path, dtype="float64", always_2d=True)
    edge = int(EDGE_SECONDS * sample_rate)
    inner = samples[edge:-edge, 0]
    if len(inner) < sample_rate // 4:
        raise NoTone(f"{path.name} holds only {len(samples)} frames")
    return thd_n(inner, hertz, sample_rate)
