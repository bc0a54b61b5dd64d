"""Find which track plays when in a recording, roughly: to a tenth of a second and 2 % of tempo.

The fingerprint of a sound is the logarithmic power of sixth-octave bands, 12.5 times a second,
relative to the two seconds around it and to the mean of all bands, so that levels and slow filters
cancel out and a beat that all bands share counts little. Ten seconds of the recording at a time are
correlated with all positions of a track, at every tempo, with its pitch kept and with the pitch
that changes with the tempo. The best path through the positions is found by the Viterbi algorithm:
a track plays on, starts, stops, or jumps; the latter three have a cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from benchmarks.autodj.sources import RATE, Doubles, Floats, fast_size

SEARCH_RATE = 11_025  # Hz
HOP = 441
FRAMES_PER_SECOND = 12.5
WINDOW = 125  # frames: 10 s, enough for a chord sequence, short enough for a ramp of the tempo
STEP = 25  # frames from window to window
BANDS = 36
LOWEST_HZ = 80.0
BANDS_PER_OCTAVE = 6
AROUND = 12  # frames on either side whose mean is subtracted
# From 3/4 to 4/3 and a little more: a program that counts a track in two thirds of its tempo may
# play it that far away from its own.
TEMPOS = tuple(np.round(1.02 ** np.arange(-17, 18), 4).tolist())
# Semitones of transposition that are tried in addition to varispeed: DJs rarely shift further.
SHIFTS = (0.0, 1.0, -1.0, 2.0, -2.0)
PLAYS = 0.17  # correlation above which a track is taken to play; unrelated music stays below
TOGETHER = 8  # tempos whose spectra are in memory at the same time
COST_START = 0.6  # of starting or stopping, in sums of correlations
COST_BEND = 0.02  # of a tempo that differs from the one that fits a window best, per frame


@dataclass(frozen=True)
class RoughPassage:
    """A track plays, roughly. `times`, `positions`: seconds in the recording and in the track.

    `pitch`: the factor by which its frequencies are multiplied. `score`: mean correlation.
    """

    track: int
    times: Doubles
    positions: Doubles
    pitch: float
    score: float


def _powers(mono: Floats) -> Floats:
    # Power spectra (frames, bins) at 12.5 frames per second.
    low = soxr.resample(mono, RATE, SEARCH_RATE)
    count = max(2, -(-len(low) // HOP) // 2 * 2)
    padded = np.pad(low, (512, 1024 + HOP * count))
    window = np.hanning(1024).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[: HOP * count : HOP]
    blocks = [
        np.square(np.abs(np.fft.rfft(frames[at : at + 4096] * window, axis=1)))
        for at in range(0, count, 4096)
    ]
    power = np.concatenate(blocks)
    pairs: Floats = (power[0::2] + power[1::2]).astype(np.float32)
    return pairs


def _bank(pitch: float) -> Floats:
    # Triangular bands (bins, BANDS) whose centres are those of the recording.
    bins = np.arange(513) * SEARCH_RATE / 1024
    centres = LOWEST_HZ * 2 ** (np.arange(BANDS) / BANDS_PER_OCTAVE) / pitch
    width = np.maximum(centres * (2 ** (1 / BANDS_PER_OCTAVE) - 1), 1.2 * SEARCH_RATE / 1024)
    bank: Floats = np.maximum(0.0, 1 - np.abs(bins[:, None] - centres) / width).astype(np.float32)
    return bank


def _print(powers: Floats, pitch: float, tempo: float) -> Floats:
    # Fingerprint (BANDS, frames) of a track that plays at this tempo and pitch.
    power = powers @ _bank(pitch)
    logs = np.log(power + 1e-5 * power.mean(axis=0) + 1e-9)
    if tempo != 1.0:
        at = np.arange(0, len(logs) - 1, tempo)
        low = at.astype(int)
        share = (at - low)[:, None].astype(np.float32)
        logs = logs[low] * (1 - share) + logs[low + 1] * share
    padded = np.pad(logs, ((AROUND + 1, AROUND), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0, dtype=np.float64)
    logs = logs - (sums[2 * AROUND + 1 :] - sums[: -2 * AROUND - 1]) / (2 * AROUND + 1)
    logs -= logs.mean(axis=1, keepdims=True)
    shape: Floats = np.clip(logs, -3.0, 3.0).T.astype(np.float32)
    return shape


class Recording:
    """The fingerprints of a recording's windows."""

    def __init__(self, mono: Floats) -> None:
        shape = _print(_powers(mono), 1.0, 1.0)
        count = max(1, 1 + (shape.shape[1] - WINDOW // 2) // STEP)
        shape = np.pad(shape, ((0, 0), (WINDOW // 2, WINDOW)))
        self._windows = np.stack([shape[:, STEP * n : STEP * n + WINDOW] for n in range(count)])
        norms = np.sqrt(np.square(self._windows).sum(axis=(1, 2)))
        self._windows /= np.maximum(norms, 0.1 * np.median(norms) + 1e-9)[:, None, None]
        # The padding is symmetric, so the middle of window n is n steps after the beginning.
        self.middles = STEP * np.arange(count) / FRAMES_PER_SECOND

    def find(
        self, track: int, mono: Floats, tempos: Sequence[float] = TEMPOS,
        shifts: Sequence[float] = SHIFTS,
    ) -> list[RoughPassage]:
        """Return where a track plays, in order."""
        powers = _powers(mono)
        positions = len(powers)
        size = fast_size(int(positions / min(tempos)) + 3 * WINDOW)
        # (bins, windows, bands): one matrix product for several tempos is much faster than many.
        spectra = np.ascontiguousarray(
            np.conj(np.fft.rfft(self._windows, size, axis=2)).transpose(2, 0, 1)
        )
        best = np.zeros((len(self.middles), positions), np.float32)
        tempo_of = np.ones_like(best)
        pitch_of = np.ones_like(best)
        tries = [
            (tempo, pitch) for tempo in tempos
            for pitch in sorted({round(2 ** (shift / 12), 6) for shift in shifts} | {tempo})
        ]  # fmt: skip
        half = WINDOW // 2
        for begin in range(0, len(tries), TOGETHER):
            some = tries[begin : begin + TOGETHER]
            shapes = [np.pad(_print(powers, pitch, tempo), ((0, 0), (half, half + 1)))
                      for tempo, pitch in some]  # fmt: skip
            others = np.stack([np.fft.rfft(shape, size, axis=1) for shape in shapes], axis=2)
            products = np.matmul(spectra, others.transpose(1, 0, 2))
            for number, (tempo, pitch) in enumerate(some):
                lags = np.fft.irfft(products[:, :, number].T, size, axis=1)
                score = _normalised(lags, shapes[number], tempo, positions)
                better = score > best
                best[better] = score[better]
                tempo_of[better], pitch_of[better] = tempo, pitch
        return _paths(track, best, tempo_of, pitch_of, self.middles, (min(tempos), max(tempos)))


def _normalised(
    lags: npt.NDArray[Any], shape: Floats, tempo: float, positions: int
) -> Floats:
    # Correlations (windows, positions): the products at each lag, by the energy of the track.
    energy = np.concatenate([[0.0], np.cumsum(np.square(shape).sum(axis=0), dtype=np.float64)])
    length = len(energy) - WINDOW
    norms = np.sqrt(energy[WINDOW : WINDOW + length] - energy[:length])
    norms = np.maximum(norms, 0.3 * np.median(norms) + 1e-9)
    # The middle of the window at lag n is n frames after the beginning of the track.
    at = np.rint(np.arange(positions) / tempo).astype(int)
    at = np.minimum(at, length - 1)
    found: Floats = (lags[:, at] / norms[at]).astype(np.float32)
    return found


def _paths(
    track: int, score: Floats, tempo_of: Floats, pitch_of: Floats, middles: Doubles,
    tempos: tuple[float, float],
) -> list[RoughPassage]:
    windows, positions = score.shape
    advances = np.arange(int(STEP * tempos[0]), int(np.ceil(STEP * tempos[1])) + 1)
    gain = score - PLAYS
    value = np.full(positions, -np.inf)
    off = 0.0
    came = np.full((windows, positions), -1, np.int16)  # frames advanced; -1: started here
    stopped = np.full(windows, -1, np.int64)  # position after which the track stopped
    for n in range(windows):
        start = off - COST_START
        if n:
            top = int(np.argmax(value))
            if value[top] - COST_START > off:
                stopped[n] = top
            off_next = max(off, float(value[top]) - COST_START)
            new = np.full(positions, max(start, off_next - COST_START))
            from_ = np.full(positions, -1, np.int16)
            for advance in advances:
                came_from = np.full(positions, -np.inf)
                came_from[advance:] = value[:-advance]
                came_from -= COST_BEND * np.abs(advance - STEP * tempo_of[n])
                better = came_from > new
                new[better] = came_from[better]
                from_[better] = advance
            value, came[n], off = new + gain[n], from_, off_next
        else:
            value = start + gain[0]
    # Backwards from the best end.
    found: list[RoughPassage] = []
    playing = float(value.max()) - COST_START > off
    at = int(np.argmax(value)) if playing else -1
    nodes: list[tuple[int, int]] = []
    for n in range(windows - 1, -1, -1):
        if at >= 0:
            nodes.append((n, at))
            if came[n, at] >= 0:
                at -= int(came[n, at])
                continue
            found.append(_passage(track, nodes[::-1], score, pitch_of, middles))
            nodes, at = [], -1
        if stopped[n] >= 0 and n > 0:
            at = int(stopped[n])
    if nodes:
        found.append(_passage(track, nodes[::-1], score, pitch_of, middles))
    return [passage for passage in found[::-1] if len(passage.times) >= 2]


def _passage(
    track: int, nodes: list[tuple[int, int]], score: Floats, pitch_of: Floats, middles: Doubles
) -> RoughPassage:
    at = np.array(nodes)
    scores = score[at[:, 0], at[:, 1]]
    pitches = pitch_of[at[:, 0], at[:, 1]]
    return RoughPassage(
        track, middles[at[:, 0]], at[:, 1] / FRAMES_PER_SECOND,
        float(np.median(pitches[scores >= np.median(scores)])), float(scores.mean()),
    )  # fmt: skip
