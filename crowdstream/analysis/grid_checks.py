"""What speaks against a grid: a tempo that changes, bars of three.

A grid is looked at window by window: how much of the onsets keeps to it, beside what the best tempo
for that window alone explains. And a bar is three beats long where onsets repeat themselves after
three and six beats and not after two and four.

The limits were set on generated tracks of seeds 20000 to 20047, pairs of these, and waltzes;
docs/development/analysis.md gives what others came to.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crowdstream.analysis import tempo
from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.grid import HARMONICS, Beats
from crowdstream.analysis.tempo import Doubles, Floats

WINDOW, HOP = 10.0, 2.5  # s
MAX_WINDOWS = 400  # of a longer sound the hop is longer
MIN_BEAT_HZ, MAX_BEAT_HZ, STEP = (
    0.9,
    3.5,
    0.01,
)  # Hz of possible beats, and their distance as a share
QUIET = 0.25  # of the mean onsets: a window with less has no beat that a grid could miss
IN_A_ROW = 4  # windows, 17.5 s, that do not keep to a grid: shorter ones are fills and breaks
FOLLOWED = 0.65  # steady tracks kept to theirs with 0.75 or more, wrong grids with 0.57 or less
TRIPLE_BEATS = (0.25, 0.9)  # s, of a bar of three
TRIPLE_RATIOS = (0.5, 1.0, 2.0, 3.0)  # what of the found tempo the beat may be
SLOWEST_TRIPLET = 0.3  # s: three of them in a beat that are faster are triplets, not a bar
PLAYED = 0.3  # share of the repetition after a bar that every beat must have
AS_CLEAR = 0.6  # of the clearest
THREE = 0.1  # waltzes repeat themselves by 0.22 more after three beats, other music by -0.09


def hop_frames(lines: Floats) -> int:
    """Frames between two windows."""
    spare = len(lines) - WINDOW * FRAME_RATE
    return max(int(HOP * FRAME_RATE), -(-int(spare) // MAX_WINDOWS))


def window_scores(lines: Floats) -> tuple[Doubles, Doubles]:
    """How well each possible beat explains each window: hertz, and rows `(windows, hertz)`.

    The best of each window has 1. No rows where the sound is shorter than a window.
    """
    hertz = np.exp(np.arange(np.log(MIN_BEAT_HZ), np.log(MAX_BEAT_HZ), STEP))
    rows = [
        sum(np.interp(hertz * number, places, spectrum) for number in HARMONICS)
        for _first, _part, places, spectrum in _windows(lines)
    ]
    scores: Doubles = np.array(rows).reshape(-1, len(hertz))
    return hertz, scores / np.maximum(scores.max(axis=1, keepdims=True), 1e-9)


def worst_stretch(lines: Floats, beats: Beats) -> float:
    """How well the onsets keep to a grid where they do so least, `IN_A_ROW` windows long.

    About 1 where no other tempo explains them better. `lines`: of `tempo.pulses`.
    """
    hertz = np.exp(np.arange(np.log(MIN_BEAT_HZ), np.log(MAX_BEAT_HZ), STEP))
    pulse = lines.sum(axis=1)
    least, width = QUIET * float(pulse.mean()), int(WINDOW * FRAME_RATE)
    kept = []
    for first, part, places, spectrum in _windows(lines):
        if float(pulse[first : first + width].mean()) < least:
            kept.append(1.0)
            continue
        best = max(sum(np.interp(hertz * number, places, spectrum) for number in HARMONICS))
        turns = beats.beat((first + np.arange(len(part))) / FRAME_RATE)
        own = sum(abs((part * np.exp(-2j * np.pi * n * turns)).sum()) for n in HARMONICS)
        kept.append(own / max(float(best), 1e-9))
    if not kept:
        return 1.0
    rows = [max(kept[at : at + IN_A_ROW]) for at in range(max(1, len(kept) - IN_A_ROW + 1))]
    return float(min(rows))


def _windows(lines: Floats) -> list[tuple[int, Doubles, Doubles, Doubles]]:
    # First frame, samples, and the frequencies and magnitudes of the spectrum of each.
    pulse = lines.sum(axis=1)
    width = int(WINDOW * FRAME_RATE)
    size = 1 << (2 * width).bit_length()
    places: Doubles = np.arange(size // 2 + 1, dtype=np.float64) * (FRAME_RATE / size)
    shape: Doubles = np.hanning(width).astype(np.float64)
    made: list[tuple[int, Doubles, Doubles, Doubles]] = []
    for first in range(0, len(pulse) - width + 1, hop_frames(lines)):
        part: Doubles = pulse[first : first + width].astype(np.float64)
        part -= part.mean()
        part *= shape
        magnitudes: Doubles = np.abs(np.fft.rfft(part, size))
        made.append((first, part, places, magnitudes))
    return made


def triple_beat(lines: Floats, hertz: float) -> float | None:
    """Beats a second of bars of three beats, where music of about `hertz` has such; else None."""
    curve = tempo.autocorrelation(lines).mean(axis=1, keepdims=True)
    found: list[tuple[float, float]] = []
    for ratio in TRIPLE_RATIOS:
        beat = 1 / (hertz * ratio)
        least = SLOWEST_TRIPLET if ratio == TRIPLE_RATIOS[-1] else TRIPLE_BEATS[0]
        if not least <= beat <= TRIPLE_BEATS[1]:
            continue
        one, two, three, four, six = (_repeat(curve, beats * beat) for beats in (1, 2, 3, 4, 6))
        more = min(three, six) - max(two, four)
        if one >= PLAYED * three and more > THREE:
            found.append((more, hertz * ratio))
    # Two bars of three are three times two beats: the shortest beat that will do.
    most = max((more for more, _ in found), default=0.0)
    return max((beat for more, beat in found if more >= AS_CLEAR * most), default=None)


def _repeat(curve: npt.NDArray[np.float64], seconds: float) -> float:
    return float(tempo.repeat_at(curve, seconds)[0])
