"""Where a track changes from one tempo to another, and one grid made of those of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crowdstream.analysis import grid_checks
from crowdstream.analysis.features import ATTACK_RATE, FRAME_RATE, SLOW_RATE, Features
from crowdstream.analysis.grid import HARMONICS, Beats
from crowdstream.analysis.tempo import Doubles, Floats

PRICE = 2.5  # windows that one part more must explain better
MAX_PARTS = 8
EDGE = 1.0  # s beside a change that no part takes into account
SEARCH = (
    9.0  # s around where windows say the tempo changes, in which the place itself is looked for
)
EARLY = 0.03  # s before a change in which a beat belongs to what follows
TIE_SECONDS = 0.03  # of mean onsets, by which two places differ that are as good


def find_changes(lines: Floats) -> list[float]:
    """Seconds at which the tempo changes from one steady tempo to another; empty where it keeps."""
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
    """The features of a part of the sound, in seconds."""

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
    """A steady stretch: its grid in seconds of the whole track, beat 0 a downbeat.

    `begin`: s, from which it holds.
    """

    begin: float
    beats: Beats


def refined(lines: Floats, parts: Sequence[Part]) -> list[Part]:
    """The parts with their beginnings where one grid stops and the next begins to explain most."""
    pulse = lines.sum(axis=1).astype(np.float64)
    made = [parts[0]]
    for before, after in pairwise(parts):
        first = max(0, int((after.begin - SEARCH) * FRAME_RATE))
        last = min(len(pulse), int((after.begin + SEARCH) * FRAME_RATE))
        times = np.arange(first, last) / FRAME_RATE
        gain = pulse[first:last] * (_on(before.beats, times) - _on(after.beats, times))
        total = np.concatenate([[0.0], np.cumsum(gain)])
        # A beat that both have belongs to what follows: it is its first.
        tie = TIE_SECONDS * FRAME_RATE * float(pulse.mean())
        begin = first + int(np.argmax(total >= total.max() - tie))
        made.append(Part(begin / FRAME_RATE, after.beats))
    return made


def _on(beats: Beats, times: Doubles) -> Doubles:
    # 1 on a beat, less between, also at eighths and sixteenths.
    turns = beats.beat(times)
    waves: Doubles = np.mean([np.cos(2 * np.pi * n * turns) for n in HARMONICS], axis=0)
    return waves


def joined(parts: Sequence[Part]) -> Beats:
    """One grid of several, numbered through.

    Between two parts as many beats are counted as fit: their tempo there is about that of both,
    so that a deck that is synced goes through without a jolt.
    """
    ends = [part.begin for part in parts[1:]]
    rows = [_beats_of(part, end) for part, end in zip(parts, [*ends, None], strict=True)]
    for before, after in pairwise(rows):
        (number, second), (last, at) = after[0], before[-1]
        period = (after[1][1] - second + at - before[-2][1]) / 2
        shift = last + max(1, round((second - at) / period)) - number
        after[:] = [(each + shift, place) for each, place in after]
    # A steady part needs no more than its ends.
    kept = [
        pair for row, part in zip(rows, parts, strict=True)
        for pair in (row if len(part.beats.numbers) > 2 else (row[0], row[-1]))
    ]  # fmt: skip
    numbers, times = np.array(kept, np.float64).T
    return Beats(numbers, times)


def _beats_of(part: Part, end: float | None) -> list[tuple[float, float]]:
    # Whole beats of a part, and where they are; of the last part two, which say its tempo.
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
