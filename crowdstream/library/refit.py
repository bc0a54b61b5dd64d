"""Fit an analysis to another beat grid: convert its beats and bars to the beats of the new grid."""

from __future__ import annotations

import bisect
import cmath
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from crowdstream.analysis.result import Analysis, Section, Tempo, phrase_beats, second_of
from crowdstream.audiofile.beatgrid import BeatGrid

Anchors = tuple[tuple[float, float], ...]

BAR_WITHOUT_BEAT = 2.0  # s, see `Analysis`
# Typical tempo errors: octave errors (half, double), and three against two or four.
RATIOS = tuple(Fraction(p, q) for p, q in (
    (1, 1), (2, 1), (1, 2), (4, 1), (1, 4), (3, 1), (1, 3), (3, 2), (2, 3), (4, 3), (3, 4)
))  # fmt: skip
SAME = 0.02  # relative tolerance of a ratio: an unsteady track has no exact tempo
# Mean resultant length of the old beats' phases within the new period, 0 (spread evenly) to 1
# (identical), from which they determine the phase of the new beats.
AGREE = 0.5


def with_tempo(analysis: Analysis, bpm: float) -> Analysis:
    """Return the analysis at another tempo (beats per minute), in phase with the old beats.

    An unsteady grid is scaled if the new tempo is one of `RATIOS` times its own, and is otherwise
    replaced by a steady grid.
    """
    anchors = analysis.tempo.anchors
    if not anchors:
        return _on_grid(analysis, BeatGrid.of_tempo(bpm))
    ratio = _ratio(bpm / analysis.tempo.bpm)
    if ratio is not None and not analysis.tempo.steady:
        scaled = tuple((beat * float(ratio), second) for beat, second in anchors)
        return _moved(analysis, scaled, False)
    period = 60.0 / bpm
    step = ratio.denominator if ratio is not None else 1
    downbeat = second_of(anchors, 0.0)
    phase = _phase(anchors, step, period, analysis.seconds)
    if phase is not None:
        # The new beat that is nearest to the old downbeat begins the bar.
        downbeat = phase + round((downbeat - phase) / period) * period
    while downbeat < 0.0:
        downbeat += period
    return _on_grid(analysis, BeatGrid.of_tempo(bpm, downbeat))


def with_downbeat(analysis: Analysis, second: float) -> Analysis:
    """Return the analysis with its first downbeat (beat 0) at a time in seconds.

    The grid is shifted such that its nearest beat is at that time.
    """
    anchors = analysis.tempo.anchors
    if not anchors:
        return analysis
    beat = round(_beats(anchors)(second))
    shift = second - second_of(anchors, beat)
    moved = tuple((at - beat, place + shift) for at, place in anchors)
    return _moved(_with_certain_downbeat(analysis), moved, analysis.tempo.steady)


def with_grid(analysis: Analysis, grid: BeatGrid) -> Analysis:
    """Return the analysis with a beat grid that a person has entered."""
    return _on_grid(_with_certain_downbeat(analysis), grid)


def _on_grid(analysis: Analysis, grid: BeatGrid) -> Analysis:
    return _moved(analysis, grid.anchors, grid.steady)


def _with_certain_downbeat(analysis: Analysis) -> Analysis:
    # A person has placed it.
    return replace(analysis, downbeat=replace(analysis.downbeat, confidence=1.0))


def _moved(analysis: Analysis, anchors: Anchors, steady: bool) -> Analysis:
    meter = analysis.downbeat.meter
    tempo = Tempo(BeatGrid(anchors).bpm, steady, 1.0, anchors)
    old = analysis.tempo.anchors or ((0.0, 0.0), (meter, BAR_WITHOUT_BEAT))
    old_second, old_beat, second, beat = _Line(old), _beats(old), _Line(anchors), _beats(anchors)

    def on_bar(old: float) -> int:
        return round(beat(old_second(old)) / meter) * meter

    # A hundredth of a bar more or less does not make another bar.
    first = math.floor(beat(old_second(analysis.first_bar_beat)) / meter + 0.01) * meter
    last = beat(old_second(analysis.first_bar_beat + meter * len(analysis.energy)))
    count = max(0, math.ceil((last - first) / meter - 0.01))
    middles = (old_beat(second(first + meter * (bar + 0.5))) for bar in range(count))
    places = [math.floor((middle - analysis.first_bar_beat) / meter) for middle in middles]

    def bars(values: Sequence[float]) -> tuple[float, ...]:
        if not values:
            return ()
        return tuple(values[min(max(place, 0), len(values) - 1)] for place in places)

    sections = [
        Section(on_bar(one.begin_beat), on_bar(one.end_beat), one.kind, one.energy)
        for one in analysis.sections
    ]
    sections = [one for one in sections if one.end_beat > one.begin_beat]
    phrases = tuple(sorted({on_bar(beat) for beat in analysis.phrases}))
    if not phrases and not analysis.downbeat.uncertain:  # it was uncertain until now
        phrases = phrase_beats(sections, meter, analysis.phrase_bars)
    return replace(
        analysis,
        tempo=tempo,
        first_bar_beat=first,
        energy=bars(analysis.energy),
        bass=bars(analysis.bass),
        bar_loudness=bars(analysis.bar_loudness),
        activity={name: bars(values) for name, values in analysis.activity.items()},
        sections=tuple(sections),
        phrases=phrases,
    )


def _ratio(value: float) -> Fraction | None:
    near = min(RATIOS, key=lambda ratio: abs(value / float(ratio) - 1.0))
    return near if abs(value / float(near) - 1.0) <= SAME else None


def _phase(anchors: Anchors, step: int, period: float, seconds: float) -> float | None:
    # Circular mean of the old beats' phases within the new period, in seconds; None if they are
    # spread over the whole period.
    last = max(1, int(_beats(anchors)(seconds)))
    second, total = _Line(anchors), 0j
    beats = range(0, last, step)
    for beat in beats:
        total += cmath.exp(2j * math.pi * second(beat) / period)
    if abs(total) < AGREE * len(beats):
        return None
    return cmath.phase(total) / (2 * math.pi) * period


class _Line:
    """A piecewise linear function through ascending pairs, extrapolated beyond both ends.

    A lookup is a binary search: an unsteady grid has thousands of pairs.
    """

    def __init__(self, pairs: Iterable[tuple[float, float]]) -> None:
        self._x, self._y = zip(*pairs, strict=True)

    def __call__(self, x: float) -> float:
        at = min(max(bisect.bisect_left(self._x, x), 1), len(self._x) - 1)
        left, right, low, high = (*self._x[at - 1 : at + 1], *self._y[at - 1 : at + 1])
        return float(low + (x - left) * (high - low) / (right - left))


def _beats(anchors: Anchors) -> _Line:
    # The beat as a function of the time in seconds.
    return _Line((second, beat) for beat, second in anchors)
