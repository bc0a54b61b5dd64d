"""Where the attacks are, 1.45 ms by 1.45 ms, and a grid put on them.

Many beats together say it: a line is fitted through where the attacks of a steady track are, and a
grid that moves is bent to them, a few beats at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import ATTACK_RATE
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.tempo import Doubles, Floats

CLUSTER = 16  # beats whose attacks are looked at together, of a steady tempo
MOVING_CLUSTER = 8  # and of one that moves
REACH = 0.045  # s around a beat in which its attack is looked for
NEAR_REACH = 0.02  # and where most of the track's attacks have said where about
LEAD = 10  # entries that are looked at beyond that, so that a rise at the edge shows
SIDE = 8  # entries before and after an attack, 12 ms: longer than a bass's wave takes to rise
BETWEEN = 0.5  # weight of the eighths between the beats, which swing may make late
CLEARER = 0.5  # so much of their rise must be on the beats for these to be followed
ONSET = 0.25  # of a rise: there an attack begins, as it is heard
EDGE = 0.8  # share of a rise that does not count at the edge of the reach
FIRST = 0.35  # of the steepest rise: an earlier one that is so steep is the attack
MAX_ANCHORS = 500  # a sidecar takes 512


def _levels(attacks: Floats) -> Floats:
    # Amplitude by band, each band's own mean level 1.
    amplitude = np.sqrt(attacks) / np.maximum(np.sqrt(attacks.mean(axis=0)), 1e-9)
    level: Floats = amplitude.astype(np.float32, copy=False)
    return level


def _around(level: Floats, times: Doubles, reach: int) -> tuple[npt.NDArray[np.int64], Floats]:
    # Which of these times lie inside, and the levels around each: (n, 2 * (reach + LEAD), bands).
    first = np.rint(times * ATTACK_RATE).astype(np.int64) - reach - LEAD
    size = 2 * (reach + LEAD)
    inside = np.flatnonzero((first >= 0) & (first + size < len(level)))
    return inside, level[first[inside, None] + np.arange(size)]


def attack_offsets(
    attacks: Floats, beats: Beats, whole: Doubles, size: int, reach_seconds: float = REACH
) -> Doubles:
    """How late the attacks at these beats are, `size` at a time: rows of (beat, s late, weight)."""
    reach = int(reach_seconds * ATTACK_RATE)
    inside, around = _around(_levels(attacks), beats.time(whole), reach)
    rows = []
    for at in range(0, len(inside), size):
        found = _onset(around[at : at + size].mean(axis=0))
        if found is not None:
            late = (found[0] - reach - LEAD) / ATTACK_RATE
            rows.append((float(whole[inside[at : at + size]].mean()), late, found[1]))
    return np.array(rows).reshape(-1, 3)


def _steps(profile: Floats) -> Doubles:
    # How much the level after each entry is above that before it: entry i of `SIDE` and on.
    sums = np.cumsum(np.pad(profile.astype(np.float64), ((1, 0), (0, 0))), axis=0)
    means = (sums[SIDE:] - sums[:-SIDE]) / SIDE
    rises: Doubles = np.maximum(means[SIDE:] - means[:-SIDE], 0.0)
    return rises


def settle_coarse(attacks: Floats, beats: Beats, seconds: float) -> tuple[Beats, float]:
    """Shift an even grid to where most of the track's attacks are.

    All beats together say it, and the eighths between them, so that a track without a drum on the
    beat is not led by a bass note that swings through zero. Also: 0, or 0.5 where the eighths
    between the beats are attacked much more clearly.
    """
    level, reach = _levels(attacks), int(REACH * ATTACK_RATE)
    whole = beats.whole(seconds)
    found = []
    for share in (0.0, 0.5):
        inside, around = _around(level, beats.time(whole + share), reach)
        if not len(inside):
            return beats, 0.0
        found.append(_steps(around.mean(axis=0)).sum(axis=1))
    both = found[0] + BETWEEN * found[1]
    places = np.arange(len(both)) + SIDE - reach - LEAD  # of the entries, from the beat
    both *= 1 - EDGE * np.square(places / reach)
    late = float(places[int(np.argmax(both))]) / ATTACK_RATE
    clearer = float(found[1].max()) * CLEARER > float(found[0].max())
    return Beats(beats.numbers, beats.times + late), 0.5 if clearer else 0.0


def _onset(profile: Floats) -> tuple[float, float] | None:
    # Place (in entries, fractional) and strength of the steepest rise, weighted by band. It lasts:
    # the wave of a bass rises as steeply, and falls again.
    steps = _steps(profile)
    steep = np.maximum(profile[4:] - profile[:-4], 0.0)[SIDE - 2 :][: len(steps)]
    rise = np.sqrt(steep * steps)
    total = rise.sum(axis=1)
    # What is near is likelier to be the beat's than what is at the edge.
    total *= 1 - EDGE * np.square(np.linspace(-1, 1, len(total)))
    strength = float(total.max())
    if strength <= 0.05:
        return None
    # The first of several: a clap is three bursts, and begins with the first.
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
    # Entry i is the power from i to i + 1: its middle.
    return at - 1 + share + 0.5, strength


def settle_steady(attacks: Floats, beats: Beats, seconds: float) -> Beats:
    """Fit tempo and phase of an even grid to the attacks."""
    beats, share = settle_coarse(attacks, beats, seconds)
    most = min(CLUSTER, max(2, len(beats.whole(seconds)) // 4))
    for turn in range(3):
        size = most if turn else most // 2
        rows = attack_offsets(attacks, beats, beats.whole(seconds) + share, size, NEAR_REACH)
        if len(rows) < 2:
            return beats
        slope, offset = _robust_line(rows)
        number = np.array([0.0, 1.0])
        beats = Beats(number, beats.time(number) + offset + slope * number)
    return beats


def _robust_line(rows: Doubles) -> tuple[float, float]:
    # Weighted least squares, outliers left out (Tukey's biweight, Beaton and Tukey 1974).
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
    """Bend a grid to the attacks, a few beats at a time."""
    for _ in range(2):
        rows = attack_offsets(attacks, beats, beats.whole(seconds), MOVING_CLUSTER)
        if len(rows) < 3:
            return beats
        beat, late, weight = rows.T
        # A cluster is believed as far as its neighbours agree.
        smooth = np.array([
            _weighted_median(late[max(0, i - 1) : i + 2], weight[max(0, i - 1) : i + 2])
            for i in range(len(late))
        ])  # fmt: skip
        whole = beats.whole(seconds)
        each = max(MOVING_CLUSTER // 2, -(-len(whole) // MAX_ANCHORS))
        numbers = whole[::each]
        if len(numbers) < 2:
            return beats
        beats = Beats(numbers, beats.time(numbers) + np.interp(numbers, beat, smooth))
    return beats
