"""Render a scene with pedalboard: SCENE OUT QUALITY [summed]. Needs nothing else installed."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pedalboard import (
    HighShelfFilter,
    Limiter,
    LowShelfFilter,
    PeakFilter,
    Pedalboard,
    Resample,
)
from pedalboard.io import AudioFile, StreamResampler

CEILING_DB = 0.0

scene = json.loads(Path(sys.argv[1]).read_text())
out = sys.argv[2]
quality = getattr(Resample.Quality, sys.argv[3])
summed = sys.argv[4:] == ["summed"]
rate = float(scene["sample_rate"])
frames = scene["frames"]
# Converted to a lower rate and played at the old one, a file is faster.
target = rate / scene["rate"]


def decibels(gain: float) -> float:
    return 20.0 * math.log10(gain)


def whole(path: str) -> Any:
    with AudioFile(path) as file:
        return file.read(file.frames)


def faster(path: str) -> Any:
    with AudioFile(path).resampled_to(target, quality) as file:
        return file.read(file.frames)


def mixed(stems: list[dict[str, Any]], read: Callable[[str], Any]) -> Any:
    total: Any = None
    for stem in stems:
        samples = read(stem["path"])
        samples *= np.float32(stem["gain"])
        total = samples if total is None else total[:, : samples.shape[1]] + samples
    return total


mix = np.zeros((2, frames), np.float32)
for deck in scene["decks"]:
    if summed:
        resampler = StreamResampler(rate, target, 2, quality)
        sound = np.concatenate(
            (resampler.process(mixed(deck["stems"], whole)), resampler.process()), axis=1
        )
    else:
        sound = mixed(deck["stems"], faster)
    if deck["eq"] != [1.0, 1.0, 1.0]:
        low, mid, high = map(decibels, deck["eq"])
        board = Pedalboard(
            [
                LowShelfFilter(scene["low_hz"], low, scene["shelf_q"]),
                PeakFilter(scene["mid_hz"], mid, scene["mid_q"]),
                HighShelfFilter(scene["high_hz"], high, scene["shelf_q"]),
            ]
        )
        sound = board(sound, rate)
    begin = 0.0 if deck["fade"] == "in" else deck["level"]
    end = 0.0 if deck["fade"] == "out" else deck["level"]
    some = min(frames, sound.shape[1])
    sound = sound[:, :some]
    sound *= np.linspace(begin, end, frames, dtype=np.float32)[:some]
    mix[:, :some] += sound
if scene["limiter"]:
    mix = Limiter(CEILING_DB, 1000.0 * scene["release_seconds"])(mix, rate)
with AudioFile(out, "w", rate, 2, bit_depth=32) as file:
    file.write(mix)
