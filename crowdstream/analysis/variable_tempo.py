"""A tempo that moves, followed: played by people, or going up and down.

Local tempi are followed window by window (Viterbi's algorithm), beats are their integral, and how
far that has drifted is followed second by second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import FRAME_RATE
from crowdstream.analysis.grid import HARMONICS, Beats
from crowdstream.analysis.tempo import Doubles, Floats

Complexes = npt.NDArray[np.complex128]

WANDER = 0.14  # share by which a moving tempo may leave its median
STEP = 0.0025  # of it: resolution of local tempi
WINDOW, HOP = 10.0, 2.5  # s of one local tempo
STIFFNESS = 6.0  # cost of a change by 1 % from one window to the next
DRIFT_WINDOWS = (5.0, 3.0)  # s in which the drift of an integrated tempo is looked for
DRIFT_HOP = 1.0  # s
DRIFT_STEP, DRIFT_MOST = 1 / 64, 1.5  # beats
DRIFT_CHANGE = 3 / 16  # beats, most within a second
DRIFT_COST = 600.0  # of a beat squared of drift within a second
PATTERN_SECONDS = 5.0  # two bars, or more, of most music
PATTERN_HARMONICS = (0.25, 0.5, 1.0, 2.0)  # bars, half bars, beats, eighths
PATTERN_WEIGHT = 2.0  # beside that of the sixteenths' phase
PATTERNS = 6  # stretches that are tried as what the rest is laid beside


def moving_tempo(lines: Floats, hertz: float) -> Beats:
    """A grid that follows the local tempo, never far from `hertz`."""
    pulse = lines.sum(axis=1)
    width, hop = int(WINDOW * FRAME_RATE), int(HOP * FRAME_RATE)
    ratios = np.exp(np.arange(-WANDER, WANDER + STEP / 2, STEP))
    t = np.arange(width) / FRAME_RATE
    shape = np.hanning(width).astype(np.float32)
    padded = np.pad(pulse, (width // 2, width))
    starts = np.arange(0, len(pulse), hop)
    parts = np.lib.stride_tricks.sliding_window_view(padded, width)[starts] * shape
    parts -= shape * (parts.sum(axis=1, keepdims=True) / shape.sum())
    scores = np.zeros((len(starts), len(ratios)))
    for number in HARMONICS:
        turns = 2 * np.pi * number * hertz * np.outer(t, ratios)
        real, imaginary = (parts @ wave(turns).astype(np.float32) for wave in (np.cos, np.sin))
        scores += np.hypot(real, imaginary)
    scores /= max(float(scores.max()), 1e-9)
    steps = np.arange(round(STIFFNESS / 100 / STEP) + 1)  # beyond, a step costs more than it brings
    path = _viterbi(scores, np.asarray(100 * STEP * steps / STIFFNESS, np.float64))
    speed = hertz * ratios[path]
    # Beats are the integral of the tempo.
    seconds = starts / FRAME_RATE
    numbers = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(seconds))])
    if len(seconds) < 2:
        return Beats.even(hertz)
    return _unslip(lines, _bend(pulse, Beats(numbers, seconds)))


def _viterbi(scores: Doubles, cost: Doubles) -> npt.NDArray[np.int64]:
    # The best way through `scores`, (times, places). `cost`: of staying, of a step of one place,
    # of two, ...; longer steps than it has are not taken.
    reach = len(cost) - 1
    both = np.concatenate([cost[:0:-1], cost])
    total = scores[0].copy()
    back = np.zeros(scores.shape, np.int64)
    places = np.arange(scores.shape[1])
    for at in range(1, len(scores)):
        padded = np.pad(total, reach, constant_values=-np.inf)
        options = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1) - both
        best = options.argmax(axis=1)
        back[at] = places + best - reach
        total = options[places, best] + scores[at]
    path = np.zeros(len(scores), np.int64)
    path[-1] = int(total.argmax())
    for at in range(len(scores) - 1, 0, -1):
        path[at - 1] = back[at, path[at]]
    return path


def _carrier(beats: npt.NDArray[np.float64], harmonic: float) -> Complexes:
    # What a line is multiplied by to find the phase of a harmonic of the beat.
    wave: Complexes = np.exp(-2j * np.pi * harmonic * beats).astype(np.complex128, copy=False)
    return wave


def _local(wave: Complexes, centres: npt.NDArray[np.int64], width: float) -> Complexes:
    # The sums of stretches of `width` seconds around these frames.
    half = int(width / 2 * FRAME_RATE)
    sums = np.concatenate([[0.0], np.cumsum(wave)])
    found: Complexes = (
        sums[np.minimum(centres + half, len(wave))] - sums[np.maximum(centres - half, 0)]
    )
    return found


def _drifts() -> tuple[Doubles, Doubles]:
    # By how many beats a grid may have drifted, and what steps within a second cost.
    drifts = np.arange(-DRIFT_MOST, DRIFT_MOST + DRIFT_STEP / 2, DRIFT_STEP, dtype=np.float64)
    steps = np.arange(0, DRIFT_CHANGE + DRIFT_STEP / 2, DRIFT_STEP, dtype=np.float64)
    costs: Doubles = DRIFT_COST * np.square(steps)
    return drifts, costs


def _drifted(local: Complexes, drifts: Doubles) -> Doubles:
    # How well each drift explains where the sixteenths are: (seconds, drifts).
    local = local / max(float(np.percentile(np.abs(local), 75)), 1e-9)
    turn = np.exp(2j * np.pi * 4 * drifts)
    scores: Doubles = np.minimum(np.abs(local), 1.5)[:, None] * np.real(
        np.exp(1j * np.angle(local))[:, None] * turn[None, :]
    )
    return scores


def _moved(beats: Beats, centres: npt.NDArray[np.int64], path: Doubles) -> Beats:
    # A grid without its drift, which changes smoothly.
    path = np.convolve(np.pad(path, 2, "edge"), np.hanning(7)[1:-1] / 3.0, "valid")
    at = centres / FRAME_RATE
    numbers = beats.beat(at) - path
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(numbers)) > 1e-3])
    return Beats(numbers[keep], at[keep]) if keep.sum() > 1 else beats


def _bend(pulse: Floats, beats: Beats) -> Beats:
    # How far the integral has drifted is followed second by second: the phase of the sixteenths
    # says it, the drift changes slowly, and where nothing plays it stays.
    seconds = np.arange(len(pulse)) / FRAME_RATE
    line = pulse - pulse.mean()
    centres = np.arange(0, len(pulse), int(DRIFT_HOP * FRAME_RATE))
    drifts, cost = _drifts()
    for width in DRIFT_WINDOWS:
        local = _local(line * _carrier(beats.beat(seconds), 4), centres, width)
        beats = _moved(beats, centres, drifts[_viterbi(_drifted(local, drifts), cost)])
    return beats


def _unslip(lines: Floats, beats: Beats) -> Beats:
    # Sixteenths look alike, so a stretch without drums can lead the grid from one to another.
    # What each band does within the bar, before and after, tells them apart. One stretch after
    # another is taken as the pattern that the rest is laid beside; the one that explains most wins.
    turns = beats.beat(np.arange(len(lines)) / FRAME_RATE)
    centres = np.arange(0, len(lines), int(DRIFT_HOP * FRAME_RATE))
    centred = lines - lines.mean(axis=0)
    sixteenths = _carrier(turns, 4)
    drifts, cost = _drifts()
    fine = _drifted(_local(centred.sum(axis=1) * sixteenths, centres, PATTERN_SECONDS), drifts)
    patterns = np.stack([
        _local(band * _carrier(turns, number), centres, PATTERN_SECONDS)
        for number in PATTERN_HARMONICS
        for band in centred.T
    ], axis=1)  # fmt: skip
    norms = np.linalg.norm(patterns, axis=1)
    patterns /= np.maximum(norms, 1e-9)[:, None]
    sure = np.minimum(norms / max(float(np.percentile(norms, 75)), 1e-9), 1.5)
    numbers = np.repeat(PATTERN_HARMONICS, lines.shape[1])
    turn = np.exp(2j * np.pi * np.outer(numbers, drifts))
    clear = np.flatnonzero(norms >= np.median(norms))
    best, most = np.zeros(len(centres), np.int64), -np.inf
    for at in clear[:: max(1, len(clear) // PATTERNS)]:
        alike = np.real((patterns * np.conj(patterns[at])) @ turn)
        scores = fine + PATTERN_WEIGHT * sure[:, None] * alike
        path = _viterbi(scores, cost)
        total = float(scores[np.arange(len(path)), path].sum())
        total -= float(cost[np.abs(np.diff(path))].sum())
        if total > most:
            best, most = path, total
    return _moved(beats, centres, drifts[best])
