"""The level at which each track plays in a recording, in three bands, over time.

The spectrum of the recording is explained as the sum of the spectra of the tracks that play,
aligned to the sample: in a narrow band, over a second, each track has one complex factor (level and
delay), found by least squares. The power of a factor that is only noise is known from the residual,
and is subtracted, so a track whose band is turned down has no level there, whatever the other one
plays. A track that was stretched is first put together from the fragments that the stretcher has
copied, each at its own offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.autodj.align import Passage, Track, correlate, cubic, flatten
from benchmarks.autodj.sources import RATE, Doubles, Floats

SIZE, HOP = 2048, 512  # frames of a spectrum
STEP_SECONDS = 0.25  # from level to level
BANDS = ("low", "mid", "high")
EDGES_HZ = ((35.0, 70.0, 105.0, 150.0), (300.0, 500.0, 800.0, 1250.0, 2000.0),
            (3500.0, 5000.0, 7000.0, 9500.0))  # fmt: skip  narrow bands; crossovers are between
SMOOTH_SECONDS = (0.9, 0.6, 0.6)  # half the length of the Hann window, for each band
INDEPENDENT = 0.28  # degrees of freedom per spectrum and bin: they overlap by three quarters
CHUNK_SECONDS = 30.0
MARGIN_SECONDS = 2.0
SPLICE_SECONDS = 0.02
SPLICE_REACH = 0.012  # seconds that a stretcher moves a fragment
MAX_TRACKS = 4  # at once
NOTHING_DB = -60.0


@dataclass(frozen=True)
class Levels:
    """The level of a passage at `times` (seconds of the recording).

    gain: `(times, 3)`, the factor relative to the track's file, in each of `BANDS`.
    level: the same, times the track's own level there relative to its usual one (linear): what of
        the track can be heard.
    share: `(times, 3)`, the share of the recording's power in the band that is the track's.
    """

    times: Doubles
    gain: Doubles
    level: Doubles
    share: Doubles


def _spectra(sound: Floats) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(sound, SIZE)[::HOP]
    found: np.ndarray = np.fft.rfft(frames * np.hanning(SIZE).astype(np.float32), axis=1)
    return found


def _bins(low: float, high: float) -> slice:
    return slice(round(low * SIZE / RATE), max(round(low * SIZE / RATE) + 1,
                                               round(high * SIZE / RATE)))  # fmt: skip


def usual_levels(mono: Floats) -> Doubles:
    """Return the root of the 90th percentile of a track's power in each band over a second."""
    powers = np.square(np.abs(_spectra(np.pad(mono, (0, SIZE)))))
    size = max(1, RATE // HOP)
    rows = max(1, len(powers) // size)
    found = []
    for edges in EDGES_HZ:
        band = powers[:, _bins(edges[0], edges[-1])].mean(axis=1)
        means = np.array([part.mean() for part in np.array_split(band, rows)])
        found.append(float(np.sqrt(np.percentile(means, 90))))
    return np.array(found)


def rendered(
    recording: Floats, track: Track, passage: Passage, begin: float, count: int
) -> Floats:
    """Return `count` frames of a track as they play in a recording from `begin` (s), at full level.

    recording: flattened. Without varispeed, each fragment is taken from where it fits best.
    """
    times = begin + np.arange(count) / RATE
    positions = passage.map.position(times)
    if passage.pitch is not None:
        pitch = passage.pitch
        middles = np.arange(begin, begin + count / RATE, SPLICE_SECONDS)
        at = passage.map.position(middles)
        offsets, like = correlate(
            recording, track.flat, middles, at, np.full(len(at), pitch), SPLICE_REACH, 1
        )
        # Smoothed by the median: a fragment that was not recognised takes its neighbours' offset.
        moved = np.where(like[:, 0] > 0.25, offsets[:, 0], np.nan)
        known = ~np.isnan(moved)
        moved = np.interp(middles, middles[known], moved[known]) if known.any() else 0 * middles
        # Every frame belongs to the fragment whose attack was last: positions advance at the pitch.
        which = np.clip(np.rint((times - begin) / SPLICE_SECONDS), 0, len(middles) - 1).astype(int)
        positions = at[which] + pitch * (times - (middles + moved)[which])
    return cubic(track.mono, positions * RATE)


def measure_levels(
    mono: Floats, tracks: Sequence[Track], passages: Sequence[Passage]
) -> list[Levels]:
    """Return the levels of each passage; they are 0 where it does not play.

    mono: the recording at `RATE`.
    """
    flat = flatten(mono)
    usual = {passage.track: usual_levels(tracks[passage.track].mono) for passage in passages}
    seconds = len(mono) / RATE
    times = np.arange(0.0, seconds, STEP_SECONDS)
    gains = np.zeros((len(passages), len(times), len(BANDS)))
    heard = np.zeros_like(gains)
    share = np.zeros_like(gains)
    margin = round(MARGIN_SECONDS * RATE)
    for begin in np.arange(0.0, seconds, CHUNK_SECONDS):
        inside = (times >= begin) & (times < begin + CHUNK_SECONDS)
        here = [
            number for number, passage in enumerate(passages)
            if passage.begin - 4 < begin + CHUNK_SECONDS and passage.end + 4 > begin
        ]  # fmt: skip
        here = here[:MAX_TRACKS]
        if not here:
            continue
        first = round(begin * RATE) - margin
        count = round(CHUNK_SECONDS * RATE) + 2 * margin
        part = np.pad(mono, (margin, count))[first + margin : first + margin + count]
        own = [rendered(flat, tracks[passages[n].track], passages[n], first / RATE, count)
               for n in here]  # fmt: skip
        middles = (first + HOP * np.arange((count - SIZE) // HOP + 1) + SIZE / 2) / RATE
        found = _solve(part, own, middles, times[inside])
        for row, number in enumerate(here):
            near = (times > passages[number].begin - 4) & (times < passages[number].end + 4)
            keep = near[inside]
            gain, power = found[0][row] * keep[:, None], found[1][row]
            gains[number, inside] = gain
            heard[number, inside] = gain * np.sqrt(power) / np.maximum(
                usual[passages[number].track], 1e-9
            )
            share[number, inside] = np.square(gain) * power / np.maximum(found[2], 1e-12)
    return [Levels(times, gains[n], heard[n], share[n]) for n in range(len(passages))]


def _solve(
    part: Floats, own: Sequence[Floats], middles: Doubles, times: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    # Gains and powers at full level (tracks, times, bands); power of the recording (times, bands).
    mix = _spectra(part)
    tracks = np.stack([_spectra(each) for each in own])
    gains = np.zeros((len(own), len(times), len(BANDS)))
    powers = np.zeros_like(gains)
    total = np.zeros((len(times), len(BANDS)))
    eye = np.eye(len(own))
    for band, edges in enumerate(EDGES_HZ):
        half = SMOOTH_SECONDS[band]
        away = (middles[None, :] - times[:, None]) / half
        window = np.where(np.abs(away) < 1, np.cos(np.pi / 2 * away) ** 2, 0.0)
        frames = np.square(window.sum(axis=1)) / np.maximum(np.square(window).sum(axis=1), 1e-9)
        window /= np.maximum(window.sum(axis=1, keepdims=True), 1e-9)
        above = np.zeros((len(own), len(times)))
        for low, high in pairwise(edges):
            bins = _bins(low, high)
            m, s = mix[:, bins], tracks[:, :, bins]
            width = m.shape[1]
            cross = np.einsum("tn,knf,lnf->tkl", window, np.conj(s), s, optimize=True)
            right = np.einsum("tn,knf,nf->tk", window, np.conj(s), m, optimize=True)
            power = window @ np.square(np.abs(m)).sum(axis=1)
            own_power = np.real(np.einsum("tkk->tk", cross))
            scale = np.maximum(own_power.max(axis=1), 1e-9)
            regular = cross + (1e-4 * scale)[:, None, None] * eye
            inverse = np.linalg.inv(regular)
            factor = np.einsum("tkl,tl->tk", inverse, right)
            rest = power - np.real(np.einsum("tk,tk->t", np.conj(right), factor))
            free = np.maximum(1.0, INDEPENDENT * frames * width - len(own))
            noise = np.maximum(rest, 0.0) / free
            bias = np.real(np.einsum("tkk->tk", inverse)) * noise[:, None]
            square = np.maximum(0.0, np.square(np.abs(factor)) - bias)
            above += (square * own_power).T
            powers[:, :, band] += own_power.T / (edges[-1] - edges[0]) * RATE / SIZE
            total[:, band] += power / (edges[-1] - edges[0]) * RATE / SIZE
        whole = powers[:, :, band] * (edges[-1] - edges[0]) * SIZE / RATE
        gains[:, :, band] = np.sqrt(above / np.maximum(whole, 1e-12))
        gains[:, :, band][whole < 1e-9] = 0.0
    return gains, powers, total
