"""Onset detection: find where a kick, snare, hat or plucked note begins in a page of a stem.

Keylock places these onsets exactly on the beat and does not cut through the attacks that follow
them. The detector compares energies in three bands: each onset raises the energy of one band within
a few milliseconds, far above its maximum over longer than one period of the lowest bass. Swells,
beating tones and hum do not do this.
"""

from __future__ import annotations

import numpy as np

from crowdstream.desk.constants import ATTACKS

CONTEXT = 2048  # frames of context before a page: 46 ms, more than LOOKBACK
HOP = 64  # frames per energy value: 1.45 ms
LOOKBACK = 18  # hops above whose maximum an onset has to rise: 26 ms, a period of a 38 Hz bass
RISE = 4  # hops within which it has to rise: 5.8 ms
# Required ratio of the energy after to the maximum before, by band: 8, 5 and 5 dB. The low band
# varies most by chance, because a hop holds few periods of it.
RATIOS = (6.0, 3.2, 3.2)
MAX_LEVEL = 100.0  # linear, +40 dBFS: anything louder is an error in the file
LOW_AVERAGE = 32  # frames averaged for the low band, which reaches up to about 600 Hz
FLOOR = 3e-4  # of the band's largest energy nearby, -35 dB: anything softer is masked
SILENCE = 1e-6  # mean square, -60 dBFS: anything softer is not an onset
DIFFERENCE_SILENCE = 1e-7  # the same for the high band
ONSET = 0.3  # of the peak of the first milliseconds: the level at which an onset is said to begin
BORDER = 96  # frames before a page, 2.2 ms, in which the previous page sees too little of an onset
GAP = 882  # frames, 20 ms: two onsets closer than this count as one, as in a flam
LOUDER = 4.0  # unless the second is this many times stronger

Offsets = np.ndarray
"""Frames from the beginning of a page, ascending: shape `(n,)`, n up to `ATTACKS`, uint16."""


def _mono(samples: np.ndarray) -> np.ndarray:
    # Unequal weights, so that a stem whose channels are in opposite phase does not cancel out.
    scale = 1 / 32768 if samples.dtype == np.int16 else 1.0
    weights = np.array([scale] if samples.shape[1] == 1 else [0.6 * scale, 0.4 * scale], np.float32)
    mono: np.ndarray = samples.astype(np.float32, copy=False) @ weights
    return np.clip(mono, -MAX_LEVEL, MAX_LEVEL, out=mono)


def _bands(mono: np.ndarray) -> list[np.ndarray]:
    # Low, full and high band; each as long as `mono`, whose length is a multiple of HOP.
    low = np.repeat(mono.reshape(-1, LOW_AVERAGE).mean(axis=1), LOW_AVERAGE)
    high = np.zeros_like(mono)
    high[2:] = mono[2:] - 2 * mono[1:-1] + mono[:-2]
    return [low, mono, high]


def _max_before(energy: np.ndarray) -> np.ndarray:
    # The maximum energy of the LOOKBACK hops before each hop.
    padded = np.concatenate((np.zeros(LOOKBACK, np.float32), energy))
    windows = np.lib.stride_tricks.sliding_window_view(padded, LOOKBACK)
    most: np.ndarray = windows[: len(energy)].max(axis=1)
    return most


def _max_after(energy: np.ndarray) -> np.ndarray:
    # The maximum energy of each hop and of the RISE - 1 hops that follow it.
    padded = np.concatenate((energy, np.zeros(RISE - 1, np.float32)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, RISE)
    most: np.ndarray = windows.max(axis=1)
    return most


def _onset(band: np.ndarray, first: int) -> int:
    # The first frame from `first` on at which the band comes near its next peak.
    part = np.abs(band[first : first + (RISE + 1) * HOP])
    return first + int(np.argmax(part >= ONSET * part.max()))


def find_onsets(samples: np.ndarray, before: np.ndarray) -> Offsets:
    """Return the offsets in frames of the onsets in one page.

    samples: the page's frames, `(n, channels)`, int16 or float32. before: up to CONTEXT frames that
    precede the page in the file, in the same format; empty at the file's beginning, which is
    treated as preceded by silence. The result depends on these arguments alone. An onset in the
    last milliseconds of a page may only show in the next page; it is then reported there, at offset
    0.
    """
    frames = len(samples)
    if frames == 0:
        return np.empty(0, np.uint16)
    mono = np.zeros(CONTEXT + -(-frames // HOP) * HOP, np.float32)
    mono[CONTEXT : CONTEXT + frames] = _mono(samples)
    mono[CONTEXT + frames :] = mono[CONTEXT + frames - 1]  # the end of the file is not an onset
    if len(before):
        mono[CONTEXT - len(before) : CONTEXT] = _mono(before)
    bands = _bands(mono)
    scores = np.zeros((len(bands), len(mono) // HOP), np.float32)
    for number, band in enumerate(bands):
        energy = np.square(band).reshape(-1, HOP).mean(axis=1)
        silence = DIFFERENCE_SILENCE if number == len(bands) - 1 else SILENCE
        ratio = RATIOS[number]
        floor = max(silence, FLOOR * float(energy.max()))
        after = _max_after(energy)
        score = after / (ratio * np.maximum(_max_before(energy), floor))
        scores[number] = np.where(after > ratio * floor, score, 0)
    offsets = _choose(bands, scores, CONTEXT + frames)
    return np.array(offsets, np.uint16)


def _choose(bands: list[np.ndarray], scores: np.ndarray, end: int) -> list[int]:
    best = scores.max(axis=0)
    first_hop = CONTEXT // HOP - RISE  # for onsets that the previous page could not see whole
    found: list[tuple[int, float]] = []
    for hop in np.flatnonzero(best[first_hop:] > 1).tolist():
        at = first_hop + hop
        near = best[max(0, at - RISE) : at + RISE + 1]
        if best[at] < near.max():
            continue
        band = bands[int(scores[:, at].argmax())]
        frame = _onset(band, at * HOP)
        if not CONTEXT - BORDER <= frame < end:
            continue
        frame = max(CONTEXT, frame)
        strength = float(best[at])
        if found and frame - found[-1][0] < GAP and strength < LOUDER * found[-1][1]:
            continue
        if found and frame == found[-1][0]:
            continue
        found.append((frame, strength))
    if len(found) > ATTACKS:
        weakest = sorted(strength for _, strength in found)[len(found) - ATTACKS]
        found = [entry for entry in found if entry[1] >= weakest][:ATTACKS]
    return [frame - CONTEXT for frame, _ in found]
