"""Find abrupt changes between steady tempi, and join the grids of the parts into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crowdstream.analysis import grid_checks
from crowdstream.analysis.features import ATTACK_RATE, FRAME_RATE, SLOW_RATE, Features
from crowdstream.analysis.grid import HARMONICS, Beats
from crowdstream.analysis.tempo import Doubles, Floats

PRICE = 2.5  # cost of each further part, in windows whose scores must improve by 1
MAX_PARTS = 8
EDGE = 1.0  # s on each side of a change that are excluded from the analysis of the parts
SEARCH = 9.0  # s before and after the approximate change in which the exact change is searched
EARLY = 0.03  # s: a beat this short before a change belongs to the following part
TIE_SECONDS = 0.03  # of mean onset strength: positions that differ by less are equally good


def find_changes(lines: Floats) -> list[float]:
    """Return the approximate times in seconds at which one steady tempo follows another.

    `lines` holds the onset functions of `tempo.pulses`. The list is empty if the tempo is
    constant, or if there are more than `MAX_PARTS` parts. Dynamic programming over the windows of
    `grid_checks` finds the changes.
    """
    _hertz, scores = grid_checks.window_scores(lines)
    count = len(scores)
    if count < 2:
        return []
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores, axis=0)])
    best, back = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    for end in range(1, count + 1):
        whole = best[:end] + (sums[end] - sums[:end]).max(axis=1) - PRICE
        back[end] = int(whole.argmax())
        best[end] = whole[back[end]]
    edges = [count]
    while edges[-1] > 0:
        edges.append(int(back[edges[-1]]))
    hop = grid_checks.hop_frames(lines) / FRAME_RATE
    inner = edges[-2:0:-1]
    if len(inner) >= MAX_PARTS:
        return []
    return [edge * hop + (grid_checks.WINDOW - hop) / 2 for edge in inner]


def part_of(features: Features, begin: float, end: float) -> Features:
    """Return the features of a part of the sound; `begin` and `end` are in seconds."""

    def cut(rows: Floats, rate: float) -> Floats:
        return rows[round(begin * rate) : round(end * rate)]

    return Features(
        seconds=end - begin, sample_rate=features.sample_rate, names=features.names,
        onsets=cut(features.onsets, FRAME_RATE), attacks=cut(features.attacks, ATTACK_RATE),
        bands=cut(features.bands, SLOW_RATE), stems=cut(features.stems, features.stems_rate),
        stems_rate=features.stems_rate, voice=cut(features.voice, SLOW_RATE),
        pitches=features.pitches.part(begin, end), lufs=features.lufs, peak=features.peak,
    )  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of a track with its own tempo.

    begin: time in seconds from which the grid holds.
    beats: its grid, in seconds of the whole track; beat 0 is a downbeat.
    """

    begin: float
    beats: Beats


def refine_boundaries(lines: Floats, parts: Sequence[Part]) -> list[Part]:
    """Return the parts with exact boundaries.

    A boundary is the time at which the next grid begins to explain the onsets better than the
    previous one.
    """
    pulse = lines.sum(axis=1).astype(np.float64)
    made = [parts[0]]
    for before, after in pairwise(parts):
        first = max(0, int((after.begin - SEARCH) * FRAME_RATE))
        last = min(len(pulse), int((after.begin + SEARCH) * FRAME_RATE))
        times = np.arange(first, last) / FRAME_RATE
        gain = pulse[first:last] * (_on(before.beats, times) - _on(after.beats, times))
        total = np.concatenate([[0.0], np.cumsum(gain)])
        # A beat that both grids share belongs to the following part, as its first beat.
        tie = TIE_SECONDS * FRAME_RATE * float(pulse.mean())
        begin = first + int(np.argmax(total >= total.max() - tie))
        made.append(Part(begin / FRAME_RATE, after.beats))
    return made


def _on(beats: Beats, times: Doubles) -> Doubles:
    # 1 on a beat, and less elsewhere, with further peaks at eighths and sixteenths.
    turns = beats.beat(times)
    waves: Doubles = np.mean([np.cos(2 * np.pi * n * turns) for n in HARMONICS], axis=0)
    return waves


def join_parts(parts: Sequence[Part]) -> Beats:
    """Join the grids of the parts into one grid with consecutive beat numbers.

    The gap between two parts gets the number of beats that fits the mean of both beat lengths, so
    a synced deck passes the change without a jolt.
    """
    ends = [part.begin for part in parts[1:]]
    rows = [_beats_of(part, end) for part, end in zip(parts, [*ends, None], strict=True)]
    for before, after in pairwise(rows):
        (number, second), (last, at) = after[0], before[-1]
        period = (after[1][1] - second + at - before[-2][1]) / 2
        shift = last + max(1, round((second - at) / period)) - number
        after[:] = [(each + shift, place) for each, place in after]
    # The first and the last anchor describe a steady part.
    kept = [
        pair for row, part in zip(rows, parts, strict=True)
        for pair in (row if len(part.beats.numbers) > 2 else (row[0], row[-1]))
    ]  # fmt: skip
    numbers, times = np.array(kept, np.float64).T
    return Beats(numbers, times)


def _beats_of(part: Part, end: float | None) -> list[tuple[float, float]]:
    # The whole beats of a part, and their times. Of a steady last part, two beats define the tempo.
    zero, one = part.beats.time(np.array([0.0, 1.0]))
    early = EARLY / float(one - zero)
    moves = len(part.beats.numbers) > 2
    first = float(part.beats.beat(np.array([part.begin]))[0])
    begin = int(np.ceil(first - early))
    if end is not None:
        stop = int(np.ceil(float(part.beats.beat(np.array([end]))[0]) - early))
    else:
        stop = int(part.beats.numbers[-1]) + 1 if moves else begin + 2
    numbers = np.arange(begin, max(stop, begin + 2), dtype=np.float64)
    return list(zip(numbers.tolist(), part.beats.time(numbers).tolist(), strict=True))
