"""Structure analysis: the energy of bars, and their segmentation into sections.

Dynamic programming finds the segmentation with the least variance within sections. Each section
has a cost, and so have lengths that are not multiples of a phrase or of 4 bars. Energy, low
frequencies, drums and vocals of a section determine its label.

Silent passages of a track: pauses, and the minutes before a hidden track.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crowdstream.analysis.downbeat import log_bands
from crowdstream.analysis.features import FRAME_RATE, SLOW_RATE, Features
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.result import PHRASE_BARS, Section, SectionKind
from crowdstream.analysis.tempo import Doubles, Floats
from crowdstream.audiofile.loudness import HOPS_PER_SECOND, lufs

BAR = 4  # beats of a bar, unless a track has another meter
MAX_SECTION_BARS = 64
# Cost of each section. Stems that enter and leave make bars more distinct than a mix does. Lower
# costs would suffice for generated tracks, but the bars of live music vary more.
STEMS_PRICE, MIX_PRICE = 18.0, 5.0
# Cost of a length that is no whole number of phrases, by the bars that are left over: a multiple of
# four, of two, or an odd number.
FOUR_PRICE, TWO_PRICE, ODD_PRICE = 1.0, 5.0, 8.0
END_ODD_SHARE = 0.5  # of these costs, for the first and the last section
# A song in phrases of twelve bars, such as a blues, repeats its harmony after twelve bars, but not
# after eight and sixteen. So much more similar is it then, on a scale of 0 to 1.
MIN_TWELVE_BAR_GAIN = 0.08
RANGE_DB = 40.0  # a bar this far below the loudest one has no energy
LOW_BANDS = 2  # number of slow bands that count as low frequencies: up to 150 Hz
SILENT_BARS = 35.0  # dB below the loudest bar: quieter bars at the ends are cut off
MIN_VERSE_VOCALS = 0.4  # minimum share of vocals in a verse
MAX_INTRO_ENERGY = 0.95  # of the maximum: a first or last section below it is an intro or outro
PICK_UP = 12.0  # dB below the loudest bar: softer sound before the first section is cut off
MIN_DROP_ENERGY = 0.99  # of the maximum energy: above it, a section with vocals is still a drop
SHORT_END = 2  # bars: shorter sections at the ends are merged as lead-in or ring-out


@dataclass(frozen=True)
class Bars:
    """Measurements per bar."""

    begin: Doubles  # beats: the first beat of each bar, and the end of the last one
    loud: Doubles  # dB
    low: Doubles  # dB, below 150 Hz
    drums: Doubles  # onset strength of the lowest band, relative to the 90th percentile
    rhythm: Doubles  # onset strength of all bands, relative to the 90th percentile
    rows: Doubles  # (bars, n): feature vectors that the segmentation compares
    harmony: Doubles  # (bars, 12): chroma vectors of length 1
    stems: Doubles  # (bars, stems): power


def _mean(rows: Doubles | Floats, rate: float, times: Doubles) -> Doubles:
    # Mean rows between consecutive times.
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
    at = np.clip(np.rint(times * rate).astype(np.int64), 0, len(rows))
    means: Doubles = (sums[at[1:]] - sums[at[:-1]]) / np.maximum(np.diff(at), 1)[:, None]
    return means


def measure_bars(
    features: Features, lines: Floats, beats: Beats, classes: Doubles, meter: int = BAR
) -> Bars:
    """Measure the bars of a grid whose beat 0 is a downbeat, from the first to the last sound.

    `lines` is a result of `tempo.normalize_onsets`; `classes` is the chromagram,
    `(windows, 12)`; `meter` is the number of beats per bar.
    """
    first, last = beats.beat(np.array([0.0, features.seconds]))
    begin = np.arange(np.floor(first / meter), np.ceil(last / meter) + 1) * meter
    times = beats.time(begin)
    power = _mean(features.bands, SLOW_RATE, times)
    total = power.sum(axis=1)
    top = float(total.max(initial=0.0))
    sounding = np.flatnonzero(total > top * 10 ** (-SILENT_BARS / 10))
    if len(sounding):
        keep = slice(int(sounding[0]), int(sounding[-1]) + 2)
        begin, times = begin[keep], times[keep]
        power = _mean(features.bands, SLOW_RATE, times)
        total = power.sum(axis=1)
    floor = 1e-6 * max(top, 1e-12)
    onsets = _mean(lines, FRAME_RATE, times)
    kicks = onsets[:, 0] / max(float(np.percentile(onsets[:, 0], 90)), 1e-9)
    rhythm = onsets.sum(axis=1)
    rhythm /= max(float(np.percentile(rhythm, 90)), 1e-9)
    bands = _mean(log_bands(features), SLOW_RATE, times)
    harmony = _mean(classes, features.pitches.rate, times)
    harmony /= np.maximum(np.linalg.norm(harmony, axis=1, keepdims=True), 1e-9)
    stems = _mean(features.stems, features.stems_rate, times)
    parts = [bands / 8.0, onsets, 0.7 * harmony]
    if stems.shape[1] > 1:
        parts.append(10 * np.log10(stems + floor) / 12.0)
    return Bars(
        begin=begin,
        loud=10 * np.log10(total + floor),
        low=10 * np.log10(power[:, :LOW_BANDS].sum(axis=1) + floor),
        drums=kicks,
        rhythm=rhythm,
        rows=np.concatenate(parts, axis=1),
        harmony=harmony,
        stems=stems,
    )


def phrase_length(bars: Bars) -> int:
    """Return the length of the track's phrases in bars, 8 or 12, by the repeats of its harmony."""

    def similarity(lag: int) -> float:
        if len(bars.harmony) < 2 * lag:
            return 0.0
        return float(np.mean(np.sum(bars.harmony[lag:] * bars.harmony[:-lag], axis=1)))

    gain = similarity(12) - max(similarity(8), similarity(16))
    return 12 if gain > MIN_TWELVE_BAR_GAIN else PHRASE_BARS


def _odd_price(bars: int, phrase: int) -> float:
    left = bars % phrase
    if not left:
        return 0.0
    return FOUR_PRICE if left % 4 == 0 else TWO_PRICE if left % 2 == 0 else ODD_PRICE


def cuts(rows: Doubles, cost: float, phrase: int = PHRASE_BARS) -> list[int]:
    """Segment bars into sections; return the first bar of each, and the number of bars.

    `rows` holds a feature vector per bar; `cost` is the cost of each section; `phrase` is the
    length of a phrase in bars.
    """
    count = len(rows)
    if count < 2:
        return [0, count]
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum(np.square(rows).sum(axis=1))])
    lengths = np.arange(1, MAX_SECTION_BARS + 1)
    odd = np.array([_odd_price(int(length), phrase) for length in lengths])
    best = np.zeros(count + 1)
    back = np.zeros(count + 1, np.int64)
    for end in range(1, count + 1):
        starts = end - lengths[: min(end, MAX_SECTION_BARS)]
        mean_square = np.square(sums[end] - sums[starts]).sum(axis=1) / (end - starts)
        # The first and the last section may more easily have any length.
        share = np.where((starts == 0) | (end == count), END_ODD_SHARE, 1.0)
        own = cost + share * odd[end - starts - 1]
        whole = best[starts] + squares[end] - squares[starts] - mean_square + own
        at = int(whole.argmin())
        best[end], back[end] = whole[at], starts[at]
    found = [count]
    while found[-1] > 0:
        found.append(int(back[found[-1]]))
    return found[::-1]


def bar_energy(bars: Bars) -> Doubles:
    """Return the energy per bar, 0 to 1: loudness relative to the loudest bar, and rhythm."""
    loud = np.clip((bars.loud - np.max(bars.loud, initial=-200.0)) / RANGE_DB + 1, 0.0, 1.0)
    return np.asarray(0.75 * np.square(loud) + 0.25 * np.clip(bars.rhythm, 0, 1) * loud)


def bar_bass(bars: Bars) -> Doubles:
    """Return the level of the low frequencies per bar, 0 to 1, relative to the loudest bar."""
    top = float(np.max(bars.low, initial=-200.0))
    return np.clip((bars.low - top) / 30.0 + 1, 0.0, 1.0)


def bar_loudness(features: Features, times: Doubles) -> Doubles:
    """Return the loudness in LUFS between consecutive times in seconds, not gated."""
    powers = features.weighted
    if not len(powers):
        return np.full(len(times) - 1, lufs(0.0))
    sums = np.concatenate([[0.0], np.cumsum(powers)])
    at = np.clip(times * HOPS_PER_SECOND, 0.0, len(powers))
    total = np.diff(np.interp(at, np.arange(len(sums)), sums))
    means = total / np.maximum(np.diff(at), 1e-9)
    return np.array([lufs(float(power)) for power in means])


def sections(bars: Bars, sung: Doubles, phrase: int = PHRASE_BARS) -> list[Section]:
    """Return the labelled sections of a track, from its first bar to its last.

    `sung` is the share of vocals in each bar, 0 to 1; `phrase` the length of a phrase in bars.
    """
    if not len(bars.loud):
        return []
    edges = cuts(bars.rows, STEMS_PRICE if bars.stems.shape[1] > 1 else MIX_PRICE, phrase)
    if len(edges) > 3 and edges[1] - edges[0] < SHORT_END:
        # A soft sound before the first bar is not a section; a pick-up belongs to the first one.
        quiet = float(np.max(bars.loud[: edges[1]])) < float(np.max(bars.loud)) - PICK_UP
        del edges[0 if quiet else 1]
    if len(edges) > 2 and edges[-1] - edges[-2] < SHORT_END:
        del edges[-2]
    energy = bar_energy(bars)
    spans = list(pairwise(edges))

    def level(line: Doubles, span: tuple[int, int]) -> float:
        return float(np.median(line[slice(*span)]))

    long = [span for span in spans if span[1] - span[0] >= 4] or spans
    top_loud = max(level(bars.loud, span) for span in long)
    top_low = max(level(bars.low, span) for span in long)
    top_energy = max(level(energy, span) for span in long)
    kinds: list[SectionKind] = []
    for number, span in enumerate(spans):
        following = spans[number + 1] if number + 1 < len(spans) else None
        down, low = top_loud - level(bars.loud, span), top_low - level(bars.low, span)
        kicks = level(bars.drums, span)
        rising = _rise(bars.rhythm[slice(*span)]) + _rise(bars.loud[slice(*span)]) / 10
        leads = following is not None and top_low - level(bars.low, following) < 4.0
        quieter = level(energy, span) < MAX_INTRO_ENERGY * top_energy
        if number == 0 and following is not None and (quieter or low > 4.0):
            kinds.append("intro")
        elif following is None and number and (quieter or low > 4.0):
            kinds.append("outro")
        elif low > 6.0 and leads and span[1] - span[0] <= 16 and rising > 0.25:
            kinds.append("build")
        elif low > 6.0 and kicks < 0.5:
            kinds.append("break")
        elif down < 2.0 and low < 4.0 and (
            float(np.mean(sung[slice(*span)])) < MIN_VERSE_VOCALS
            or level(energy, span) > MIN_DROP_ENERGY * top_energy
        ):
            kinds.append("drop")
        else:
            kinds.append("verse")
    return [
        Section(
            int(bars.begin[span[0]]),
            int(bars.begin[span[1]]) if span[1] < len(bars.begin) else int(bars.begin[-1]),
            kind,
            round(float(np.mean(energy[slice(*span)])), 3),
        )
        for span, kind in zip(spans, kinds, strict=True)
    ]


def _rise(line: Doubles) -> float:
    # The increase of the mean from the first third to the last third.
    third = max(1, len(line) // 3)
    return float(np.mean(line[-third:]) - np.mean(line[:third])) if len(line) > 1 else 0.0


SILENT_DB = -60.0  # dBFS, mean square over 46 ms
# A level this far below the track's loudness in LUFS is silence as well: the DJ trims tracks to
# -16 LUFS (dj/planning/planner.py), which brings it to -60 dB.
BELOW_LOUDNESS_DB = 44.0
MIN_SECONDS = 1.0


def find_silences(features: Features) -> tuple[tuple[float, float], ...]:
    """Return (begin, end) in seconds of each silence of at least `MIN_SECONDS`.

    Silence at the beginning and the end of the file is included.
    """
    limit = max(SILENT_DB, features.lufs - BELOW_LOUDNESS_DB)
    silent = features.stems.sum(axis=1, dtype=np.float64) < 10 ** (limit / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
    found = []
    for first, last in edges.reshape(-1, 2):
        begin, end = first / features.stems_rate, last / features.stems_rate
        end = features.seconds if last >= len(silent) else min(end, features.seconds)
        if end - begin >= MIN_SECONDS:
            found.append((round(float(begin), 3), round(float(end), 3)))
    return tuple(found)
