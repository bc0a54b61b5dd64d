"""Render a scene with numpy and scipy: SCENE OUT [summed]."""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import resample_poly, sosfilt

WINDOW_SECONDS = 0.005  # of the limiter, on either side

scene = json.loads(Path(sys.argv[1]).read_text())
summed = sys.argv[3:] == ["summed"]
rate = scene["sample_rate"]
frames = scene["frames"]
ratio = Fraction(scene["rate"]).limit_denominator(1000)


def read(path: str) -> Any:
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def faster(samples: Any) -> Any:
    return resample_poly(samples, ratio.denominator, ratio.numerator, axis=0)


def biquad(kind: str, hertz: float, quality: float, gain: float) -> list[float]:
    # Formulas: R. Bristow-Johnson, Cookbook formulae for audio EQ biquad filter coefficients.
    a = math.sqrt(gain)
    w = 2.0 * math.pi * hertz / rate
    alpha, cos = math.sin(w) / (2.0 * quality), math.cos(w)
    if kind == "peak":
        b = [1.0 + alpha * a, -2.0 * cos, 1.0 - alpha * a]
        d = [1.0 + alpha / a, -2.0 * cos, 1.0 - alpha / a]
    else:
        s = 1.0 if kind == "low" else -1.0
        root = 2.0 * math.sqrt(a) * alpha
        b = [
            a * (a + 1 - s * (a - 1) * cos + root),
            s * 2.0 * a * (a - 1 - s * (a + 1) * cos),
            a * (a + 1 - s * (a - 1) * cos - root),
        ]
        d = [
            a + 1 + s * (a - 1) * cos + root,
            -s * 2.0 * (a - 1 + s * (a + 1) * cos),
            a + 1 + s * (a - 1) * cos - root,
        ]
    return [value / d[0] for value in (*b, *d)]


mix = np.zeros((frames, 2), np.float32)
for deck in scene["decks"]:
    sound: Any = None
    for stem in deck["stems"]:
        samples = read(stem["path"])
        samples = samples if summed else faster(samples)
        samples *= np.float32(stem["gain"])
        sound = samples if sound is None else sound + samples
    if summed:
        sound = faster(sound)
    if deck["eq"] != [1.0, 1.0, 1.0]:
        low, mid, high = deck["eq"]
        sections = [
            biquad("low", scene["low_hz"], scene["shelf_q"], low),
            biquad("peak", scene["mid_hz"], scene["mid_q"], mid),
            biquad("high", scene["high_hz"], scene["shelf_q"], high),
        ]
        sound = sosfilt(np.array(sections, np.float32), sound, axis=0)
    begin = 0.0 if deck["fade"] == "in" else deck["level"]
    end = 0.0 if deck["fade"] == "out" else deck["level"]
    some = min(frames, len(sound))
    curve = np.linspace(begin, end, frames, dtype=np.float32)[:some, None]
    mix[:some] += sound[:some] * curve
if scene["limiter"]:
    loudest = np.abs(mix).max(axis=1)
    gain = 1.0 / np.maximum(loudest, 1.0)
    size = 2 * int(WINDOW_SECONDS * rate) + 1
    mix *= uniform_filter1d(minimum_filter1d(gain, size), size // 2)[:, None]
soundfile.write(sys.argv[2], mix, rate, subtype="FLOAT")
