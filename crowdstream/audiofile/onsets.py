"""Attacks: where in a page of a stem a kick, a snare, a hat or a plucked note begins.

Keylock puts them exactly where the beat wants them and keeps them whole. They are found in
the energies of three bands: each attack lifts one of them, within a few milliseconds, far
above all it has been for longer than a period of the lowest bass. What swells, beats or
hums does not.
"""

from __future__ import annotations

import numpy as np

from crowdstream.desk.constants import ATTACKS

CONTEXT = 2048  # frames before a page that are looked at too: 46 ms, more than LOOKBACK
HOP = 64  # frames of one energy: 1.45 ms
LOOKBACK = 18  # hops that an attack has to stand out from: 26 ms, a period of a 38 Hz bass
RISE = 4  # hops in which it has to get there: 5.8 ms
# Energy after against the most before, by band: 8, 5 and 5 dB. What little fits into the low
# band of a hop varies most by chance.
RATIOS = (6.0, 3.2, 3.2)
LOUDEST = 100.0  # +40 dB full scale: what is beyond is an error in the file
LOW_AVERAGE = 32  # frames averaged for the low band, up to about 600 Hz
FLOOR = 3e-4  # of the band's largest energy nearby, -35 dB: less is hidden by the rest
SILENCE = 1e-6  # mean square, -60 dB full scale: less is no attack
DIFFERENCE_SILENCE = 1e-7  # the same for the high band
ONSET = 0.3  # of the peak of the first milliseconds: where an attack is said to begin
BORDER = 96  # frames before a page, 2.2 ms, in which the page before sees too little of an attack
GAP = 882  # frames, 20 ms: two attacks closer than this are one, as in a flam
LOUDER = 4.0  # unless the second has this many times the energy

Offsets = np.ndarray
"""Frames from the beginning of a page, ascending: shape `(n,)`, n up to `ATTACKS`, uint16."""


def _mono(samples: np.ndarray) -> np.ndarray:
    # Unequal shares, so that a stem whose sides are each other's opposite does not vanish.
    scale = 1 / 32768 if samples.dtype == np.int16 else 1.0
    shares = np.array([scale] if samples.shape[1] == 1 else [0.6 * scale, 0.4 * scale], np.float32)
    mono: np.ndarray = samples.astype(np.float32, copy=False) @ shares
    return np.clip(mono, -LOUDEST, LOUDEST, out=mono)


def _bands(mono: np.ndarray) -> list[np.ndarray]:
    # Low, everything, high; each as long as `mono`, whose length is a multiple of HOP.
    low = np.repeat(mono.reshape(-1, LOW_AVERAGE).mean(axis=1), LOW_AVERAGE)
    high = np.zeros_like(mono)
    high[2:] = mono[2:] - 2 * mono[1:-1] + mono[:-2]
    return [low, mono, high]


def _before(energy: np.ndarray) -> np.ndarray:
    # The most energy of the LOOKBACK hops before each hop.
    padded = np.concatenate((np.zeros(LOOKBACK, np.float32), energy))
    windows = np.lib.stride_tricks.sliding_window_view(padded, LOOKBACK)
    most: np.ndarray = windows[: len(energy)].max(axis=1)
    return most


def _after(energy: np.ndarray) -> np.ndarray:
    # The most energy of each hop and those in which an attack that begins there rises.
    padded = np.concatenate((energy, np.zeros(RISE - 1, np.float32)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, RISE)
    most: np.ndarray = windows.max(axis=1)
    return most


def _onset(band: np.ndarray, first: int) -> int:
    # The frame from `first` on at which the band comes near its next peak.
    part = np.abs(band[first : first + (RISE + 1) * HOP])
    return first + int(np.argmax(part >= ONSET * part.max()))


def find_attacks(samples: np.ndarray, before: np.ndarray) -> Offsets:
    """Offsets of the attacks in one page.

    `samples`: the page's frames, `(n, channels)`, int16 or float32. `before`: up to CONTEXT
    frames that precede it in the file, of the same kind; none at the file's beginning, which
    silence precedes. The answer depends on these alone. An attack in a page's last
    milliseconds may show only in the next page: it is told there, at offset 0.
    """
    frames = len(samples)
    if frames == 0:
        return np.empty(0, np.uint16)
    mono = np.zeros(CONTEXT + -(-frames // HOP) * HOP, np.float32)
    mono[CONTEXT : CONTEXT + frames] = _mono(samples)
    mono[CONTEXT + frames :] = mono[CONTEXT + frames - 1]  # a file cut off is no attack
    if len(before):
        mono[CONTEXT - len(before) : CONTEXT] = _mono(before)
    bands = _bands(mono)
    scores = np.zeros((len(bands), len(mono) // HOP), np.float32)
    for number, band in enumerate(bands):
        energy = np.square(band).reshape(-1, HOP).mean(axis=1)
        silence = DIFFERENCE_SILENCE if number == len(bands) - 1 else SILENCE
        ratio = RATIOS[number]
        floor = max(silence, FLOOR * float(energy.max()))
        after = _after(energy)
        score = after / (ratio * np.maximum(_before(energy), floor))
        scores[number] = np.where(after > ratio * floor, score, 0)
    offsets = _choose(bands, scores, CONTEXT + frames)
    return np.array(offsets, np.uint16)


def _choose(bands: list[np.ndarray], scores: np.ndarray, end: int) -> list[int]:
    best = scores.max(axis=0)
    first_hop = CONTEXT // HOP - RISE  # an attack that the page before could not see whole
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
