"""Align a beat grid with the onsets, with a time resolution of 1.45 ms.

The envelopes around many beats are averaged before their onset is located. If the notes of a beat
are played early as well as late, as by people, the centre of their rises counts instead of the
first one. A steady grid is fitted to the onsets by robust linear regression; a variable one is bent
to them, a few beats at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import ATTACK_RATE
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.tempo import Doubles, Floats

CLUSTER = 16  # beats whose envelopes are averaged, at a steady tempo
MOVING_CLUSTER = 8  # the same at a variable tempo
REACH = 0.045  # s before and after a beat in which its onset is searched
NEAR_REACH = 0.02  # s: the same once the coarse alignment is known
LEAD = 10  # further envelope entries on each side, so that a rise at the edge is detected
SIDE = 8  # entries averaged before and after an onset, 12 ms: longer than a bass wave rises
OFF_BEAT_WEIGHT = 0.5  # weight of the off-beat eighths, which swing may delay
MIN_ON_BEAT_SHARE = 0.5  # of the rise on the off-beats: follow those if the beats have less
ONSET = 0.25  # share of a rise at which the onset is perceived
EDGE = 0.8  # a rise at the edge of the reach is attenuated by this share
FIRST = 0.35  # of the steepest rise: the first rise of at least this share is the onset
# Share of the onsets within 2 ms of the same distance from the beat, below which notes are early as
# well as late, so that the first rise of their average is too early. Programmed music has 0.4 or
# more, notes with a standard deviation of 8 ms or more 0.3 or less.
HUMAN_SHARE, HUMAN_WIDTH = 0.33, 0.002
MIN_ONSETS = 16  # to measure this
MAX_ANCHORS = 500  # a sidecar holds up to 512


def _levels(attacks: Floats) -> Floats:
    # The amplitude of each band, normalized to a mean power of 1.
    amplitude = np.sqrt(attacks) / np.maximum(np.sqrt(attacks.mean(axis=0)), 1e-9)
    level: Floats = amplitude.astype(np.float32, copy=False)
    return level


def _around(level: Floats, times: Doubles, reach: int) -> tuple[npt.NDArray[np.int64], Floats]:
    # The indices of the times whose surroundings lie inside the track, and the levels around
    # each: (n, 2 * (reach + LEAD), bands).
    first = np.rint(times * ATTACK_RATE).astype(np.int64) - reach - LEAD
    size = 2 * (reach + LEAD)
    inside = np.flatnonzero((first >= 0) & (first + size < len(level)))
    return inside, level[first[inside, None] + np.arange(size)]


def attack_offsets(
    attacks: Floats, beats: Beats, whole: Doubles, size: int, reach_seconds: float = REACH,
    centred: bool = False,
) -> Doubles:
    """Measure how late the onsets are relative to the grid, in clusters of `size` beats.

    `centred`: measure the centre of all rises near the beat instead of the first one.

    Returns a row per cluster: mean beat, delay in seconds, and weight (the strength of the onset).
    """
    reach = int(reach_seconds * ATTACK_RATE)
    inside, around = _around(_levels(attacks), beats.time(whole), reach)
    rows = []
    for at in range(0, len(inside), size):
        profile = around[at : at + size].mean(axis=0)
        found = _onset(profile)
        if found is not None:
            place = _centre(around[at : at + size]) if centred else found[0]
            late = (place - reach - LEAD) / ATTACK_RATE
            rows.append((float(whole[inside[at : at + size]].mean()), late, found[1]))
    return np.array(rows).reshape(-1, 3)


def _centre(cluster: Floats) -> float:
    # The centre of all rises of these beats, each measured alone.
    rise = np.mean([_rise(profile)[0].sum(axis=1) for profile in cluster], axis=0)
    rise = np.maximum(rise - np.median(rise), 0.0)
    return float((rise * (np.arange(len(rise)) + SIDE)).sum() / max(float(rise.sum()), 1e-9))


def _is_human(attacks: Floats, beats: Beats, whole: Doubles) -> bool:
    # Whether the notes on these beats are early as well as late.
    _inside, around = _around(_levels(attacks), beats.time(whole), int(NEAR_REACH * ATTACK_RATE))
    single = [found for found in map(_onset, around) if found is not None]
    if len(single) < MIN_ONSETS:
        return False
    places, strengths = np.array(single, np.float64).T
    near = np.abs(places[:, None] - places[None, :]) <= HUMAN_WIDTH * ATTACK_RATE
    return float((near @ strengths).max()) < HUMAN_SHARE * float(strengths.sum())


def _steps(profile: Floats) -> Doubles:
    # How far the mean level after each entry exceeds that before it. Row i is entry i + SIDE.
    sums = np.cumsum(np.pad(profile.astype(np.float64), ((1, 0), (0, 0))), axis=0)
    means = (sums[SIDE:] - sums[:-SIDE]) / SIDE
    rises: Doubles = np.maximum(means[SIDE:] - means[:-SIDE], 0.0)
    return rises


def settle_coarse(attacks: Floats, beats: Beats, seconds: float) -> tuple[Beats, float]:
    """Shift a steady grid to the onsets of the whole track, averaged over all beats.

    The off-beat eighths count as well. In a track without a drum on the beat, the swing of a bass
    wave through zero would otherwise determine the phase.

    Returns the shifted grid, and the phase in beats of the positions with the clearest onsets:
    0, or 0.5 if those of the off-beats are much clearer.
    """
    level, reach = _levels(attacks), int(REACH * ATTACK_RATE)
    whole = beats.whole(seconds)
    found = []
    for share in (0.0, 0.5):
        inside, around = _around(level, beats.time(whole + share), reach)
        if not len(inside):
            return beats, 0.0
        found.append(_steps(around.mean(axis=0)).sum(axis=1))
    both = found[0] + OFF_BEAT_WEIGHT * found[1]
    places = np.arange(len(both)) + SIDE - reach - LEAD  # in entries relative to the beat
    both *= 1 - EDGE * np.square(places / reach)
    late = float(places[int(np.argmax(both))]) / ATTACK_RATE
    clearer = float(found[1].max()) * MIN_ON_BEAT_SHARE > float(found[0].max())
    return Beats(beats.numbers, beats.times + late), 0.5 if clearer else 0.0


def _rise(profile: Floats) -> tuple[Doubles, Doubles]:
    # How steeply each band rises, and all of them, weighted by the distance from the beat. A rise
    # must last: a bass wave rises as steeply, but falls again.
    steps = _steps(profile)
    steep = np.maximum(profile[4:] - profile[:-4], 0.0)[SIDE - 2 :][: len(steps)]
    rise = np.sqrt(steep * steps)
    # A rise near the beat is more likely to belong to it than one at the edge.
    return rise, rise.sum(axis=1) * (1 - EDGE * np.square(np.linspace(-1, 1, len(rise))))


def _onset(profile: Floats) -> tuple[float, float] | None:
    # Position (in entries, fractional) and strength of the onset.
    rise, total = _rise(profile)
    strength = float(total.max())
    if strength <= 0.05:
        return None
    # Take the first of several rises: a clap has three bursts, and starts with the first.
    is_peak = (total[1:-1] >= total[:-2]) & (total[1:-1] >= total[2:])
    is_peak &= total[1:-1] >= FIRST * strength
    if not is_peak.any():
        return None
    peak = 1 + int(np.argmax(is_peak))
    line = profile @ (rise[peak] / max(float(rise[peak].sum()), 1e-9))
    peak += SIDE - 2
    begin, end = max(0, peak - 6), min(len(line), peak + 9)
    top = peak + int(line[peak:end].argmax())
    bottom = begin + int(line[begin : top + 1].argmin())
    goal = line[bottom] + ONSET * (line[top] - line[bottom])
    above = np.flatnonzero(line[bottom : top + 1] >= goal)
    if not len(above) or above[0] == 0:
        return float(bottom), strength
    at = bottom + int(above[0])
    share = (goal - line[at - 1]) / max(float(line[at] - line[at - 1]), 1e-9)
    # Entry i is the mean power from i to i + 1: add half an entry to refer to its middle.
    return at - 1 + share + 0.5, strength


def settle_steady(attacks: Floats, beats: Beats, seconds: float) -> Beats:
    """Fit the tempo and the phase of a steady grid to the onsets.

    `attacks` is `Features.attacks`; `seconds` is the length of the track.
    """
    beats, share = settle_coarse(attacks, beats, seconds)
    beats = _fitted(attacks, beats, seconds, share, NEAR_REACH, centred=False)
    if _is_human(attacks, beats, beats.whole(seconds) + share):
        beats = _fitted(attacks, beats, seconds, share, REACH, centred=True)
    return beats


def _fitted(
    attacks: Floats, beats: Beats, seconds: float, share: float, reach: float, centred: bool
) -> Beats:
    # A steady grid after three fits of a line to the onsets.
    most = min(CLUSTER, max(2, len(beats.whole(seconds)) // 4))
    for turn in range(3):
        size = most if turn else most // 2
        whole = beats.whole(seconds) + share
        rows = attack_offsets(attacks, beats, whole, size, reach, centred)
        if len(rows) < 2:
            return beats
        slope, offset = _robust_line(rows)
        number = np.array([0.0, 1.0])
        beats = Beats(number, beats.time(number) + offset + slope * number)
    return beats


def _robust_line(rows: Doubles) -> tuple[float, float]:
    # Delay as a linear function of the beat: (slope, offset). Iteratively reweighted least
    # squares with Tukey's biweight, which rejects outliers (Beaton and Tukey 1974).
    beat, late, weight = rows.T
    own = weight.copy()
    middle = float(np.average(beat, weights=weight))
    slope, offset = 0.0, _weighted_median(late, weight)
    for _ in range(8):
        rest = late - offset - slope * (beat - middle)
        spread = max(0.0008, 1.4826 * _weighted_median(np.abs(rest), weight))
        own = weight * np.square(np.maximum(0.0, 1 - np.square(rest / (4.7 * spread))))
        total = own.sum()
        if total <= 0:
            break
        x = beat - middle
        mean_x, mean_y = (own * x).sum() / total, (own * late).sum() / total
        variance = (own * np.square(x - mean_x)).sum()
        slope = float((own * (x - mean_x) * (late - mean_y)).sum() / variance) if variance else 0.0
        offset = float(mean_y - slope * mean_x)
    return slope, offset - slope * middle


def _weighted_median(values: Doubles, weights: Doubles) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(sums, 0.5 * sums[-1]))])


def settle_moving(attacks: Floats, beats: Beats, seconds: float) -> Beats:
    """Bend a variable grid to the onsets, a few beats at a time.

    `attacks` is `Features.attacks`; `seconds` is the length of the track.
    """
    for _ in range(2):
        beats = _bent(attacks, beats, seconds, centred=False)
    if _is_human(attacks, beats, beats.whole(seconds)):
        beats = _bent(attacks, beats, seconds, centred=True)
    return beats


def _bent(attacks: Floats, beats: Beats, seconds: float, centred: bool) -> Beats:
    rows = attack_offsets(attacks, beats, beats.whole(seconds), MOVING_CLUSTER, REACH, centred)
    if len(rows) < 3:
        return beats
    beat, late, weight = rows.T
    # Median filter: a cluster counts only as far as its neighbours agree.
    smooth = np.array([
        _weighted_median(late[max(0, i - 1) : i + 2], weight[max(0, i - 1) : i + 2])
        for i in range(len(late))
    ])  # fmt: skip
    whole = beats.whole(seconds)
    each = max(MOVING_CLUSTER // 2, -(-len(whole) // MAX_ANCHORS))
    numbers = whole[::each]
    if len(numbers) < 2:
        return beats
    return Beats(numbers, beats.time(numbers) + np.interp(numbers, beat, smooth))
