"""The demo's pitched sounds: basses, chords, plucks, and a formant voice.

Pitches are in hertz. Every sound is stereo and starts and ends at silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from crowdstream.demo.dsp import (
    Array,
    band_pass,
    envelope,
    filtered,
    frames_of,
    in_room,
    low_pass,
    noise,
    room,
    saw,
    sine,
    stereo,
    times,
)

_rooms = cache(room)


@dataclass(frozen=True)
class Bass:
    """A bass whose filter closes from `cutoff` Hz at the start of a note to `rest` Hz."""

    cutoff: float
    rest: float
    close: float = 0.09
    resonance: float = 0.3
    sub: float = 0.6
    drive: float = 1.2
    detune: float = 0.0


def bass_note(bass: Bass, hertz: float, seconds: float, accent: float) -> Array:
    """Return one bass note in mono; `accent` 0..1 opens the filter further."""
    frames = frames_of(seconds)
    tooth = saw(hertz * (1 - bass.detune), frames) + saw(hertz * (1 + bass.detune), frames, 0.37)
    top = bass.cutoff * (0.6 + 0.6 * accent)

    def closing(hz: Array, t: Array) -> Array:
        cutoff = bass.rest + (top - bass.rest) * np.exp(-np.maximum(t, 0.0) / bass.close)
        return low_pass(cutoff, hz, bass.resonance) * band_pass(30.0, 2e4, hz)

    sound = 0.5 * filtered(tooth, closing) + bass.sub * sine(hertz, frames)
    sound = np.tanh(bass.drive * sound) / bass.drive
    return stereo(sound * envelope(frames, 0.004, min(0.03, seconds / 3)))


@dataclass(frozen=True)
class Timbre:
    """A chord sound. Times are in seconds; `dull` and `bright` are cutoffs in hertz.

    The filter starts between these two cutoffs, depending on the note's brightness 0..1, and closes
    to `floor` of that cutoff in about `close` seconds.
    """

    kind: str
    dull: float
    bright: float
    attack: float
    release: float
    decay: float = 0.0
    close: float = 1e9
    floor: float = 0.3
    detune: float = 0.004
    resonance: float = 0.2
    space: float = 1.4
    wet: float = 0.25


TIMBRES = {
    "keys": Timbre("electric", 900, 5000, 0.004, 0.12, 2.2, 0.5, 0.4, space=1.2, wet=0.22),
    "stab": Timbre("saws", 350, 4200, 0.003, 0.06, 1.1, 0.12, 0.25, 0.006, 0.35, 1.6, 0.35),
    "dub": Timbre("saws", 300, 2600, 0.004, 0.1, 0.9, 0.16, 0.3, 0.005, 0.7, 2.6, 0.6),
    "strings": Timbre("saws", 900, 6500, 0.12, 0.25, detune=0.007, space=1.8, wet=0.4),
    "pad": Timbre("saws", 250, 2600, 0.4, 0.5, detune=0.005, space=2.2, wet=0.5),
    "guitar": Timbre("saws", 900, 5200, 0.002, 0.04, 0.35, 0.05, 0.35, 0.002, 0.3, 0.6, 0.2),
    "pluck": Timbre("saws", 500, 5500, 0.002, 0.08, 0.6, 0.07, 0.2, 0.003, 0.3, 1.6, 0.4),
    "acid": Timbre("saws", 350, 3200, 0.003, 0.04, 0.0, 0.08, 0.3, 0.0, 1.6, 0.8, 0.15),
}


def _electric(hertz: float, frames: int, side: int) -> Array:
    """A tine piano: decaying FM synthesis, with the sides slightly detuned."""
    t = times(frames)
    hertz *= 1.0 + (0.0007 if side else -0.0007)
    bend = 1.6 * np.exp(-t * 4.0) * np.sin(2 * np.pi * hertz * t)
    bell = 0.25 * np.exp(-t * 14.0) * np.sin(2 * np.pi * 7.0 * hertz * t)
    tine: Array = np.sin(2 * np.pi * hertz * t + bend) + bell
    return tine


def chord(timbre: Timbre, pitches: tuple[float, ...], seconds: float, bright: float) -> Array:
    """Play `pitches` (Hz) together for `seconds`, followed by the room's tail."""
    frames = frames_of(seconds + timbre.release)
    start = timbre.dull * (timbre.bright / timbre.dull) ** bright
    sides = []
    for side in range(2):
        raw = np.zeros(frames)
        for n, hertz in enumerate(pitches):
            if timbre.kind == "electric":
                raw += _electric(hertz, frames, side)
                continue
            # Each side has its own pair of saws, detuned in opposite directions, for stereo width.
            lean = timbre.detune if (n + side) % 2 else -timbre.detune
            raw += saw(hertz * (1 + lean), frames, 0.31 * n + 0.5 * side)
            raw += saw(hertz * (1 - 0.4 * lean), frames, 0.17 * n + 0.23 * side)

        def moving(hz: Array, t: Array) -> Array:
            fall = np.exp(-np.maximum(t, 0.0) / timbre.close)
            cutoff = start * (timbre.floor + (1.0 - timbre.floor) * fall)
            return low_pass(cutoff, hz, timbre.resonance) * band_pass(150.0, 2e4, hz)

        sides.append(filtered(raw, moving))
    sound = np.stack(sides, axis=1) / np.sqrt(len(pitches))
    sound *= envelope(frames, timbre.attack, timbre.release, timbre.decay)[:, None]
    return in_room(sound, _rooms(401, timbre.space), timbre.wet)


# Resonances of the vocal tract: hertz and gain of the first three formants of a singing
# voice, rounded from textbook averages of vowels (Peterson and Barney's ranges).
VOWELS = {
    "a": ((740.0, 1.0), (1180.0, 0.55), (2640.0, 0.22)),
    "e": ((480.0, 1.0), (1840.0, 0.42), (2560.0, 0.28)),
    "i": ((300.0, 1.0), (2250.0, 0.32), (3000.0, 0.26)),
    "o": ((470.0, 1.0), (860.0, 0.55), (2500.0, 0.10)),
    "u": ((330.0, 1.0), (760.0, 0.32), (2350.0, 0.06)),
}

SYLLABLES = {
    "ah": ("", "a", "a"),
    "oh": ("", "o", "u"),
    "oo": ("", "u", "u"),
    "ooah": ("", "u", "a"),
    "ya": ("", "i", "a"),
    "wa": ("", "u", "a"),
    "hey": ("h", "e", "i"),
    "ha": ("h", "a", "a"),
    "ta": ("t", "a", "a"),
    "tu": ("t", "u", "u"),
    "so": ("s", "o", "u"),
}
"""Consonant, first vowel, last vowel."""

_CONSONANTS = {"h": (700.0, 3500.0, 0.06, 0.35), "t": (3000.0, 9000.0, 0.02, 0.4)}
_CONSONANTS["s"] = (5000.0, 11000.0, 0.08, 0.35)


def _vowel_gains(vowel: str, hertz: Array) -> Array:
    total = np.full_like(hertz, 0.015)
    for center, gain in VOWELS[vowel]:
        width = 45.0 + 0.05 * center
        total = total + gain / (1.0 + ((hertz - center) / width) ** 2)
    return total


def sing(
    syllable: str, hertz: float, seconds: float, voices: int = 2, opening: float = 0.2
) -> Array:
    """One sung syllable of `voices` singers, with its room.

    A glottal source (a softened saw with vibrato and breath) goes through the formants of
    the syllable's first vowel, moving to those of its last in `opening` seconds.
    """
    consonant, first, last = SYLLABLES[syllable]
    frames = frames_of(seconds)
    t = times(frames)
    sound = np.zeros((frames, 2))
    for singer in range(voices):
        spread = (singer - (voices - 1) / 2) / max(voices - 1, 1)
        vibrato = 0.006 * np.sin(2 * np.pi * (5.1 + 0.4 * spread) * t + singer)
        vibrato *= np.clip((t - 0.15) / 0.3, 0.0, 1.0)
        scoop = -0.035 * np.exp(-t / 0.03)
        source = saw(hertz * (1 + 0.005 * spread + vibrato + scoop), frames, 0.29 * singer)
        source += 0.12 * noise(500 + singer, frames)

        def mouth(hz: Array, at: Array) -> Array:
            place = np.clip(at / opening, 0.0, 1.0)
            gains = _vowel_gains(first, hz) * (1 - place) + _vowel_gains(last, hz) * place
            # The slope of the vocal tract: the source loses level above 800 Hz.
            sloped: Array = gains * 2.5 / np.sqrt(1.0 + (hz / 2600.0) ** 2)
            return sloped * band_pass(120.0, 2e4, hz)

        sound += stereo(filtered(source, mouth), 0.75 * spread)
    # A formant that coincides with a harmonic would make some notes too loud: equalize all.
    sound *= 0.2 / np.sqrt(np.mean(sound**2))
    sound *= envelope(frames, 0.015, min(0.08, seconds / 3))[:, None]
    if consonant:
        low, high, length, gain = _CONSONANTS[consonant]
        count = min(frames_of(length), frames)
        burst = filtered(noise(601, count), lambda hz, _: band_pass(low, high, hz))
        sound[:count] += stereo(gain * burst * envelope(count, 0.003, length / 2))
    return in_room(sound, _rooms(431, 1.6), 0.3)
