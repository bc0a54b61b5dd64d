"""Where the beats are: from a rough tempo to a grid that is exact to a few milliseconds.

A steady tempo shows as one sharp line in the spectrum of the onsets of the whole track; how sharp
is a matter of the track's length, so two minutes give 0.01 beats a minute. Then the attacks
themselves are looked at, 1.45 ms by 1.45 ms, and a line is fitted through what many beats
together say of their place. A tempo that moves is followed window by window (Viterbi's algorithm
over local tempi), and the attacks bend the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crowdstream.analysis.features import ATTACK_RATE, FRAME_RATE
from crowdstream.analysis.tempo import Doubles, Floats

PULL = 0.025  # share of the rough tempo by which the exact one may differ
HARMONICS = (1, 2, 4)  # of the beat: quarters, eighths, sixteenths
WANDER = 0.14  # share by which a moving tempo may leave its median
STEP = 0.0025  # of it: resolution of local tempi
WINDOW, HOP = 10.0, 2.5  # s of one local tempo
STIFFNESS = 6.0  # cost of a change by 1 % from one window to the next
COHERENCE_WINDOW = 6.0  # s
STEADY = 0.97  # coherence from which a tempo is steady
GAIN = 0.02  # by which a moving grid must be better than an even one
DRIFT_WINDOWS = (5.0, 3.0)  # s in which the drift of an integrated tempo is looked for
DRIFT_HOP = 1.0  # s
DRIFT_STEP, DRIFT_MOST = 1 / 64, 1.5  # beats
DRIFT_COST = 600.0  # of a beat squared of drift within a second
CLUSTER = 16  # beats whose attacks are looked at together, of a steady tempo
MOVING_CLUSTER = 8  # and of one that moves
REACH = 0.045  # s around a beat in which its attack is looked for
NEAR_REACH = 0.02  # and where most of the track's attacks have said where about
LEAD = 10  # entries that are looked at beyond that, so that a rise at the edge shows
SIDE = 8  # entries before and after an attack, 12 ms: longer than a bass's wave takes to rise
BETWEEN = 0.5  # weight of the eighths between the beats, which swing may make late
CLEARER = 0.5  # so much of their rise must be on the beats for these to be followed

ONSET = 0.25
EDGE = 0.8  # share of a rise that does not count at the edge of the reach
FIRST = 0.35  # of the steepest rise: an earlier one that is so steep is the attack
MOST_ANCHORS = 500  # a sidecar takes 512


@dataclass
class Beats:
    """A grid: `times` (s) of evenly numbered beats `numbers`; linear between and beyond."""

    numbers: Doubles
    times: Doubles

    @classmethod
    def even(cls, hertz: float, phase: float = 0.0) -> Beats:
        """Beat 0 at `phase` (s), `hertz` beats a second."""
        return cls(np.array([0.0, 1.0]), np.array([phase, phase + 1 / hertz]))

    def time(self, beat: Doubles) -> Doubles:
        """Seconds of beats."""
        return _line(beat, self.numbers, self.times)

    def beat(self, second: Doubles) -> Doubles:
        """Beats of seconds."""
        return _line(second, self.times, self.numbers)

    def shifted(self, beats: float) -> Beats:
        """The same grid with what was beat `beats` as beat 0."""
        return Beats(self.numbers - beats, self.times)

    def whole(self, seconds: float) -> Doubles:
        """All whole beats from 0 to `seconds`."""
        first, last = self.beat(np.array([0.0, seconds]))
        return np.arange(np.ceil(first - 1e-6), last)


def _line(at: Doubles, x: Doubles, y: Doubles) -> Doubles:
    # Interpolation that goes on straight beyond the ends.
    at = np.asarray(at, np.float64)
    found = np.interp(at, x, y)
    low, high = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    found = np.where(at < x[0], y[0] + (at - x[0]) * low, found)
    line: Doubles = np.where(at > x[-1], y[-1] + (at - x[-1]) * high, found)
    return line


def steady_tempo(lines: Floats, hertz: float) -> float:
    """The exact beats a second near `hertz` that all of the track agrees on most."""
    pulse = lines.sum(axis=1)
    pulse = pulse - pulse.mean()
    size = 1 << (4 * len(pulse)).bit_length()
    spectrum = np.abs(np.fft.rfft(pulse, size))
    width = FRAME_RATE / size  # Hz of a bin
    step = width / HARMONICS[-1] / 2
    grid = np.arange(hertz * (1 - PULL), hertz * (1 + PULL), step)
    places = np.arange(len(spectrum)) * width
    # Somewhat more of the middle: the rough tempo is not off by much.
    score = sum(np.interp(grid * number, places, spectrum) for number in HARMONICS)
    score = score * (1 - 4 * np.square(grid / hertz - 1) / PULL)
    return float(grid[int(np.argmax(score))])


def coherence(lines: Floats, beats: Beats) -> float:
    """How well the pulse keeps to the grid all along: 1 is never off."""
    pulse = lines.sum(axis=1)
    turns = beats.beat(np.arange(len(pulse)) / FRAME_RATE)
    width = int(COHERENCE_WINDOW * FRAME_RATE)
    count = max(1, len(pulse) // width)
    best = 0.0
    for number in HARMONICS:
        wave = pulse * np.exp(-2j * np.pi * number * turns)
        parts = np.array([part.sum() for part in np.array_split(wave, count)])
        length = float(np.abs(parts).sum())
        best = max(best, abs(complex(parts.sum())) / max(length, 1e-9))
    return best


def moving_tempo(lines: Floats, hertz: float) -> Beats:
    """A grid that follows the local tempo, never far from `hertz`."""
    pulse = lines.sum(axis=1)
    width, hop = int(WINDOW * FRAME_RATE), int(HOP * FRAME_RATE)
    ratios = np.exp(np.arange(-WANDER, WANDER + STEP / 2, STEP))
    t = np.arange(width) / FRAME_RATE
    shape = np.hanning(width)
    waves = [np.exp(-2j * np.pi * number * hertz * np.outer(t, ratios)) for number in HARMONICS]
    padded = np.pad(pulse, (width // 2, width))
    starts = np.arange(0, len(pulse), hop)
    scores = np.zeros((len(starts), len(ratios)))
    for at, start in enumerate(starts):
        part = padded[start : start + width] * shape
        part = part - shape * (part.sum() / shape.sum())
        scores[at] = sum(np.abs(part @ wave) for wave in waves)
    scores /= max(float(scores.max()), 1e-9)
    cost = np.abs(np.subtract.outer(np.arange(len(ratios)), np.arange(len(ratios)))) * STEP * 100
    path = _viterbi(scores, cost / STIFFNESS)
    speed = hertz * ratios[path]
    # Beats are the integral of the tempo.
    seconds = starts / FRAME_RATE
    numbers = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(seconds))])
    if len(seconds) < 2:
        return Beats.even(hertz)
    return _bend(pulse, Beats(numbers, seconds))


def _viterbi(scores: Doubles, cost: Doubles) -> npt.NDArray[np.int64]:
    total = scores[0].copy()
    back = np.zeros(scores.shape, np.int64)
    for at in range(1, len(scores)):
        options = total[None, :] - cost
        back[at] = options.argmax(axis=1)
        total = options.max(axis=1) + scores[at]
    path = np.zeros(len(scores), np.int64)
    path[-1] = int(total.argmax())
    for at in range(len(scores) - 1, 0, -1):
        path[at - 1] = back[at, path[at]]
    return path


def _bend(pulse: Floats, beats: Beats) -> Beats:
    # How far the integral has drifted is followed second by second: the phase of the sixteenths
    # says it, the drift changes slowly, and where nothing plays it stays.
    seconds = np.arange(len(pulse)) / FRAME_RATE
    line = pulse - pulse.mean()
    for width in DRIFT_WINDOWS:
        wave = line * np.exp(-2j * np.pi * 4 * beats.beat(seconds))
        half, hop = int(width / 2 * FRAME_RATE), int(DRIFT_HOP * FRAME_RATE)
        centres = np.arange(0, len(pulse), hop)
        sums = np.concatenate([[0.0], np.cumsum(wave)])
        local = sums[np.minimum(centres + half, len(pulse))] - sums[np.maximum(centres - half, 0)]
        local /= max(float(np.percentile(np.abs(local), 75)), 1e-9)
        drifts = np.arange(-DRIFT_MOST, DRIFT_MOST + DRIFT_STEP / 2, DRIFT_STEP)
        turn = np.exp(-2j * np.pi * 4 * drifts)
        scores = np.minimum(np.abs(local), 1.5)[:, None] * np.real(
            np.exp(1j * np.angle(local))[:, None] * np.conj(turn)[None, :]
        )
        cost = DRIFT_COST * np.square(np.subtract.outer(drifts, drifts))
        path = drifts[_viterbi(scores, cost)]
        path = np.convolve(np.pad(path, 2, "edge"), np.hanning(7)[1:-1] / 3.0, "valid")
        at = centres / FRAME_RATE
        numbers = beats.beat(at) - path
        keep = np.concatenate([[True], np.diff(np.maximum.accumulate(numbers)) > 1e-3])
        if keep.sum() < 2:
            return beats
        beats = Beats(numbers[keep], at[keep])
    return beats


def _levels(attacks: Floats) -> Floats:
    # Amplitude by band, each band's own mean level 1.
    level: Floats = np.sqrt(attacks)
    return level / np.maximum(np.sqrt(attacks.mean(axis=0)), 1e-9)


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
    for turn in range(3):
        size = CLUSTER if turn else CLUSTER // 2
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
        each = max(MOVING_CLUSTER // 2, -(-len(whole) // MOST_ANCHORS))
        numbers = whole[::each]
        if len(numbers) < 2:
            return beats
        beats = Beats(numbers, beats.time(numbers) + np.interp(numbers, beat, smooth))
    return beats
