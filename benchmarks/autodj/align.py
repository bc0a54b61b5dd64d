"""Align passages of a recording with a track, to a fraction of a millisecond.

A fragment of a tenth of a second around an attack of the track is recognised in the recording by
its waveform: the correlation of the waveforms has one sharp maximum, also while another track plays
and has its own attack at the same time, which envelopes of loudness could not tell apart. It works
for audio that was resampled, and for audio that was stretched, whose attacks are kept by every
usable method. In sections of eight seconds, the fragments vote for the offset and the slope of the
time map; a smooth curve through the fragments that agree is the time map of the passage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.autodj.search import RoughPassage
from benchmarks.autodj.sources import RATE, Doubles, Floats, fast_size

Bools = npt.NDArray[np.bool_]

FRAGMENTS_PER_SECOND = 4
BEFORE, AFTER = 441, 1764  # frames of a fragment around its attack: 20 and 80 ms
DECAY = 700.0  # frames: the attack counts most, so that a stretched fragment shifts it by < 0.5 ms
REACH_SECONDS = 0.16  # searched on either side of a rough position
FINE_REACH_SECONDS = 0.012  # and of a good one
SECTION_SECONDS = 8.0
SLOPES = np.arange(-0.024, 0.0245, 0.001)  # error of the rough tempo
LIKE = 0.12  # correlation of a fragment that counts; noise stays below 0.1
AGREE_SECONDS = 0.004  # fragments this close to the curve belong to it
ROUGH_STIFFNESS = 100.0  # smooths over some 10 windows
# Narrowing: the ends of a curve that bends are further away from it at first.
SCALES = (0.006, 0.004, 0.002, 0.001, 0.0005, 0.0003)  # seconds
KNOT_SECONDS = 2.0
STIFFNESS = 0.5  # weight of the curve's bends: a fragment is exact to some 0.1 ms
MIN_FRAGMENTS = 10
MIN_SHARE = 0.25  # of all fragments of a passage
EXTEND_SECONDS = 14.0  # beyond a rough passage, whose ends are known to a window's length
NO_GAP_SECONDS = 3.0  # without a fragment that is recognised for sure, an extension ends
SURE = 0.25  # correlation of such a fragment: a long note may resemble another one by chance
SAME_PITCH = 0.003  # relative: no fragment tells these apart
ROUGH_RATE_SECONDS = 8.0  # rates of a rough map are means over this, on either side


@dataclass(frozen=True)
class TimeMap:
    """Piecewise linear map from seconds of the recording to seconds of a track."""

    times: Doubles
    positions: Doubles

    def position(self, times: Doubles) -> Doubles:
        """Return the positions in the track at these times; both ends are extrapolated."""
        return _linear(times, self.times, self.positions)

    def time(self, positions: Doubles) -> Doubles:
        """Return the times at which these positions play."""
        return _linear(positions, self.positions, self.times)

    def rates(self, times: Doubles, around: float = 1.0) -> Doubles:
        """Return the mean playback rates from `around` seconds before to as many after `times`."""
        ahead, behind = self.position(times + around), self.position(times - around)
        found: Doubles = (ahead - behind) / (2 * around)
        return found

    def rate(self, time: float) -> float:
        """Return the playback rate at a time."""
        return float(self.rates(np.array([time]))[0])


def _linear(at: Doubles, x: Doubles, y: Doubles) -> Doubles:
    at = np.asarray(at, np.float64)
    found = np.interp(at, x, y)
    first, last = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    found = np.where(at < x[0], y[0] + first * (at - x[0]), found)
    found = np.where(at > x[-1], y[-1] + last * (at - x[-1]), found)
    return np.asarray(found, np.float64)


@dataclass(frozen=True)
class Passage:
    """A track plays from `begin` to `end` (seconds of the recording).

    `pitch`: factor of its frequencies; None with varispeed: it changes with the tempo, as when
    audio is resampled. `error`: median distance of the recognised fragments from the map, in
    seconds.
    """

    track: int
    begin: float
    end: float
    map: TimeMap
    pitch: float | None
    error: float
    fragments: int


class Track:
    """A track's sound, made ready for comparison: flat spectrum, and the times of its attacks."""

    def __init__(self, mono: Floats) -> None:
        self.mono = mono
        self.flat = flatten(mono)
        self.attacks = _attacks(mono)


def flatten(mono: Floats) -> Floats:
    """Return a sound with a flatter spectrum, so that its bass does not dominate."""
    flat = mono.copy()
    flat[1:] -= np.float32(0.95) * mono[:-1]
    return flat


def _attacks(mono: Floats) -> Doubles:
    # The strongest attack of every quarter of a second, in seconds.
    hop = 64
    count = max(1, (len(mono) - 512) // hop)
    window = np.hanning(512).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(mono, (0, 1024)), 512)[::hop][:count]
    flux = np.zeros(count)
    last = np.zeros((1, 257), np.float32)
    for at in range(0, count, 8192):
        logs = np.log1p(1000.0 * np.abs(np.fft.rfft(frames[at : at + 8192] * window, axis=1)))
        before = np.concatenate([last, logs[:-1]])
        flux[at : at + len(logs)] = np.maximum(0.0, logs - before).sum(axis=1)
        last = logs[-1:]
    size = RATE // hop // FRAGMENTS_PER_SECOND
    rows = len(flux) // size
    if not rows:
        return np.zeros(0)
    best = flux[: rows * size].reshape(rows, size).argmax(axis=1) + size * np.arange(rows)
    attacks: Doubles = (best * hop + 256) / RATE
    return attacks


def cubic(samples: Floats, at: Doubles) -> Floats:
    """Return samples at fractional places, by four-point cubic interpolation; 0 outside."""
    whole = np.floor(at).astype(np.int64)
    x = (at - whole).astype(np.float32)
    inside = (whole >= 1) & (whole < len(samples) - 2)
    base = np.where(inside, whole, 1)
    a, b, c, d = (samples[base + n] for n in (-1, 0, 1, 2))
    found: Floats = b + x * (
        0.5 * (c - a) + x * (a - 2.5 * b + 2 * c - 0.5 * d + x * (0.5 * (d - a) + 1.5 * (b - c)))
    )
    found[~inside] = 0.0
    return found


def correlate(
    recording: Floats, track: Floats, times: Doubles, positions: Doubles, pitches: Doubles,
    reach: float, peaks: int,
) -> tuple[Doubles, Doubles]:
    """Recognise fragments of a flattened track in a flattened recording.

    times, positions, pitches: where fragments are expected (s), and the factors of their
    frequencies, `(n,)` each. reach: seconds on either side.
    Return the offsets from `times` in seconds, positive if later, and the correlations (-1 to 1),
    both `(n, peaks)`, the best first.
    """
    around = round(reach * RATE)
    steps = np.arange(-BEFORE, AFTER)
    fade = np.where(steps < 0, (1 + steps / BEFORE) ** 2, np.exp(-np.maximum(steps, 0) / DECAY))
    weights = fade.astype(np.float32)
    size = fast_size(len(steps) + 2 * around + 1)
    offsets = np.zeros((len(times), peaks))
    likeness = np.zeros((len(times), peaks))
    lags = 2 * around + 1
    energy_of = np.conj(np.fft.rfft(weights**2, size))
    for at in range(0, len(times), 256):
        rows = slice(at, at + 256)
        places = positions[rows, None] * RATE + pitches[rows, None] * steps
        fragments = cubic(track, places) * weights
        first = np.rint(times[rows] * RATE).astype(np.int64)
        rest = times[rows] - first / RATE  # below half a frame
        index = first[:, None] + np.arange(-BEFORE - around, AFTER + around)
        parts = recording[np.clip(index, 0, len(recording) - 1)]
        parts = np.where((index >= 0) & (index < len(recording)), parts, 0).astype(np.float32)
        product = np.fft.rfft(parts, size) * np.conj(np.fft.rfft(fragments, size))
        found = np.fft.irfft(product, size)[:, :lags]
        # The energy of the recording under the fragment's weights.
        weighted = np.fft.rfft(np.square(parts), size) * energy_of
        energy = np.fft.irfft(weighted, size)[:, :lags]
        own = np.square(fragments / np.maximum(weights, 1e-6) * weights).sum(axis=1)
        floor = 1e-4 * energy.max(axis=1, keepdims=True) + 1e-12
        found = found / np.sqrt(np.maximum(energy, floor) * np.maximum(own, 1e-9)[:, None])
        found[own < 1e-7] = 0.0
        for peak in range(peaks):
            best = found.argmax(axis=1)
            inner = np.clip(best, 1, lags - 2)
            row = np.arange(len(found))
            left, top, right = (found[row, inner + n] for n in (-1, 0, 1))
            bend = left - 2 * top + right
            shift = np.where(np.abs(bend) > 1e-9, 0.5 * (left - right) / np.where(bend, bend, 1), 0)
            shift = np.clip(shift, -0.5, 0.5)
            offsets[rows, peak] = (inner + shift - around) / RATE - rest
            likeness[rows, peak] = found[row, best]
            for n in range(-22, 23):  # 1 ms
                found[row, np.clip(best + n, 0, lags - 1)] = -1.0
    return offsets, likeness


def align(recording: Floats, track: Track, rough: RoughPassage) -> list[Passage]:
    """Return the exact passages of a rough one; none if its fragments do not agree.

    recording: flattened, at `RATE`.
    """
    first, last = rough.times[0] - EXTEND_SECONDS, rough.times[-1] + EXTEND_SECONDS
    first, last = max(0.0, first), min(len(recording) / RATE, last)
    start = TimeMap(rough.times, _smooth(rough.positions))
    slope = float(np.polyfit(rough.times, rough.positions, 1)[0])
    pitches: list[float | None] = [None]
    for constant in (1.0, rough.pitch):
        if all(abs(constant / other - 1) > 0.01 for other in (slope, *filter(None, pitches))):
            pitches.append(constant)
    rates = start.rates(rough.times, ROUGH_RATE_SECONDS)
    if 1.0 not in pitches and float(np.ptp(rates)) > SAME_PITCH:
        pitches.append(1.0)  # a ramp of the tempo may keep the pitch, too
    best: tuple[float, Passage] | None = None
    for pitch in pitches:
        voted = _vote(recording, track, start, pitch, rough.times[0], rough.times[-1])
        for _round in range(3):
            if voted is not None:
                refined = _refine(recording, track, voted, pitch, first, last)
                voted = refined.map if refined else None
        if voted is None or refined is None:
            continue
        begin, end = float(refined.times[0]), float(refined.times[-1])
        inside = (refined.expected >= begin) & (refined.expected <= end)
        count = len(refined.times)
        if count < max(MIN_FRAGMENTS, MIN_SHARE * inside.sum()):
            continue
        passage = Passage(rough.track, begin, end, refined.map, pitch, refined.error, count)
        if best is None or refined.evidence > 1.02 * best[0]:
            best = refined.evidence, passage
    return [best[1]] if best else []


def _smooth(positions: Doubles) -> Doubles:
    # Without the steps of a rough path: least squares with a penalty for bends (Whittaker).
    bends = np.diff(np.eye(len(positions), dtype=np.float64), 2, axis=0)
    left_side = np.eye(len(positions)) + ROUGH_STIFFNESS * bends.T @ bends
    return np.asarray(np.linalg.solve(left_side, positions), np.float64)


@dataclass(frozen=True)
class _Refined:
    # A map, the times of the fragments that agree with it, their median distance from it in
    # seconds, the sum of their squared correlations, and the times at which any were expected.
    map: TimeMap
    times: Doubles
    error: float
    evidence: float
    expected: Doubles


def _pitches(exact: TimeMap, times: Doubles, pitch: float | None, around: float) -> Doubles:
    return exact.rates(times, around) if pitch is None else np.full(len(times), pitch)


def _expected(track: Track, exact: TimeMap, begin: float, end: float) -> tuple[Doubles, Doubles]:
    positions = track.attacks
    times = exact.time(positions)
    inside = (times >= begin) & (times <= end)
    return times[inside], positions[inside]


def _vote(
    recording: Floats, track: Track, start: TimeMap, pitch: float | None, begin: float, end: float
) -> TimeMap | None:
    times, positions = _expected(track, start, begin - 2.0, end + 2.0)
    if len(times) < MIN_FRAGMENTS:
        return None
    pitches = _pitches(start, times, pitch, ROUGH_RATE_SECONDS)
    offsets, likeness = correlate(
        recording, track.flat, times, positions, pitches, REACH_SECONDS, 3
    )
    weights = np.where(likeness > LIKE, np.square(likeness), 0.0)
    sections: list[tuple[float, float, float, float]] = []  # time, offset, slope, strength
    bins = np.arange(-REACH_SECONDS - 0.02, REACH_SECONDS + 0.02, 0.001)
    blur = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
    for middle in np.arange(begin, end + 0.1, SECTION_SECONDS / 2):
        near = np.abs(times - middle) < SECTION_SECONDS / 2
        if near.sum() < 6:
            continue
        x = np.repeat(times[near] - middle, offsets.shape[1])
        y, w = offsets[near].ravel(), weights[near].ravel()
        top = (0.0, 0.0, 0.0)
        for slope in SLOPES:
            votes = np.histogram(y - slope * x, bins, weights=w)[0]
            votes = np.convolve(votes, blur, "same")
            place = int(votes.argmax())
            if votes[place] > top[0]:
                top = (float(votes[place]), float(bins[place]) + 0.0005, float(slope))
        sections.append((float(middle), top[1], top[2], top[0] / float(near.sum())))
    if not sections:
        return None
    found = np.array(sections)
    strength = found[:, 3]
    good = strength > max(0.25 * np.percentile(strength, 90), 0.5 * LIKE**2)
    # A section that continues neither the one before nor the one after it followed something else.
    kept = found[good]
    if len(kept) == 0:
        return None
    if len(kept) > 2:
        step = np.diff(kept[:, 0])
        slope = (kept[1:, 2] + kept[:-1, 2]) / 2
        joined = np.abs(np.diff(kept[:, 1]) - slope * step) < 0.012 + 0.002 * step
        kept = kept[np.concatenate([[False], joined]) | np.concatenate([joined, [False]])]
        if len(kept) == 0:
            return None
    half = SECTION_SECONDS / 4
    times = np.concatenate([kept[:, 0] - half, kept[:, 0] + half])
    moved = np.concatenate([kept[:, 1] - half * kept[:, 2], kept[:, 1] + half * kept[:, 2]])
    order = np.argsort(times, kind="stable")
    times, moved = times[order], moved[order]
    places = start.position(times)
    arrived = times + moved
    up = np.concatenate([[True], np.diff(arrived) > 0.05])
    if up.sum() < 2:
        return None
    return TimeMap(arrived[up], places[up])


def _refine(
    recording: Floats, track: Track, exact: TimeMap, pitch: float | None, begin: float, end: float
) -> _Refined | None:
    times, positions = _expected(track, exact, begin, end)
    if len(times) < MIN_FRAGMENTS:
        return None
    pitches = _pitches(exact, times, pitch, SECTION_SECONDS / 2)
    offsets, likeness = correlate(
        recording, track.flat, times, positions, pitches, FINE_REACH_SECONDS, 1
    )
    arrived, like = times + offsets[:, 0], likeness[:, 0]
    good = like > LIKE
    # Beyond the ends of the old map, only fragments that follow one another count.
    near = (like > SURE) & (np.abs(offsets[:, 0]) < AGREE_SECONDS)
    good &= _continuous(arrived, near, exact)
    if good.sum() < MIN_FRAGMENTS:
        return None
    arrived, positions_of, like = arrived[good], positions[good], like[good]
    weights = np.square(like)
    for least in SCALES:
        curve = _curve(arrived, positions_of, weights)
        rate = (curve.positions[-1] - curve.positions[0]) / (curve.times[-1] - curve.times[0])
        away = np.abs(curve.position(arrived) - positions_of) / rate
        scale = max(least, min(AGREE_SECONDS, 3 * float(np.median(away))))
        weights = np.square(like) * np.square(np.maximum(0.0, 1 - np.square(away / scale)))
        if (weights > 0).sum() < MIN_FRAGMENTS:
            return None
    near = away < AGREE_SECONDS
    evidence = float(np.square(like[near]).sum())
    return _Refined(curve, arrived[near], float(np.median(away[near])), evidence, times)


def _continuous(times: Doubles, agrees: Bools, exact: TimeMap) -> Bools:
    # Which fragments lie in the stretch around the old map that has no long gap in it.
    inside = (times >= exact.times[0]) & (times <= exact.times[-1])
    keep: Bools = inside.copy()
    for direction, limit in ((1, exact.times[-1]), (-1, exact.times[0])):
        last = limit
        order = np.argsort(direction * times)
        for index in order:
            if direction * (times[index] - limit) <= 0 or not agrees[index]:
                continue
            if direction * (times[index] - last) > NO_GAP_SECONDS:
                break
            keep[index], last = True, times[index]
    return keep


def _curve(times: Doubles, positions: Doubles, weights: Doubles) -> TimeMap:
    # The piecewise linear curve with the least squared distance and bends (a smoothing spline).
    first, last = float(times.min()), float(times.max())
    count = max(3, round((last - first) / KNOT_SECONDS) + 1)
    knots = np.linspace(first, last, count)
    width = knots[1] - knots[0]
    place = np.clip((times - first) / width, 0, count - 1.000001)
    left = place.astype(int)
    share = place - left
    basis = np.zeros((len(times), count))
    basis[np.arange(len(times)), left] = 1 - share
    basis[np.arange(len(times)), left + 1] = share
    line = np.polynomial.Polynomial.fit(times, positions, 1, w=np.sqrt(weights))
    bends = np.zeros((count - 2, count))
    for n in range(count - 2):
        bends[n, n : n + 3] = 1, -2, 1
    left_side = basis.T @ (weights[:, None] * basis) + STIFFNESS * bends.T @ bends
    left_side += 1e-9 * np.eye(count)
    right_side = basis.T @ (weights * (positions - line(times)))
    return TimeMap(knots, line(knots) + np.linalg.solve(left_side, right_side))
