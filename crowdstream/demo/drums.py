"""The demo's drums: every hit is synthesized from sines and shaped noise; stereo, peak about 1."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial

import numpy as np

from crowdstream.demo.dsp import (
    Array,
    add_at,
    band_pass,
    envelope,
    filtered,
    frames_of,
    in_room,
    low_pass,
    noise,
    room,
    sine,
    stereo,
    times,
)


def _peak_one(sound: Array) -> Array:
    sound /= np.max(np.abs(sound))
    return sound


def _band_noise(seed: int, seconds: float, low: float, high: float, decay: float) -> Array:
    frames = frames_of(seconds)
    sound = filtered(noise(seed, frames), lambda hertz, _: band_pass(low, high, hertz))
    return sound * envelope(frames, 0.001, seconds / 4, decay=decay)


def _kick(pitch: tuple[float, float, float], length: float, drive: float, click: float) -> Array:
    """A sine that falls from one `pitch` to another (Hz) with a time constant (seconds)."""
    start, end, fall = pitch
    frames = frames_of(length)
    t = times(frames)
    # The phase is the integral of end + (start - end) * exp(-t / fall).
    turns = end * t + (start - end) * fall * (1.0 - np.exp(-t / fall))
    body = np.tanh(drive * np.sin(2.0 * np.pi * turns)) / np.tanh(drive)
    body *= envelope(frames, 0.001, length / 3, decay=length * 1.7)
    tick = _band_noise(11, 0.02, 1500.0, 9000.0, 0.012)
    body[: len(tick)] += click * tick
    return _peak_one(stereo(body))


def _clap(seed: int, space: float) -> Array:
    """Three quick bursts and a tail, like several hands in a small room."""
    out = np.zeros((frames_of(0.35), 2))
    for n, (at, gain) in enumerate(((0.0, 1.0), (0.011, 0.6), (0.023, 0.8))):
        decay = 0.03 if n < 2 else 0.22
        for side, pan in enumerate((-0.5, 0.5)):
            burst = _band_noise(seed + 2 * n + side, 0.25, 900.0, 4200.0, decay)
            add_at(out, stereo(burst, pan), frames_of(at), gain)
    return _peak_one(in_room(out, room(seed + 20, 0.5 + space), 0.25 + space * 0.2))


def _snare(seed: int, pitch: float = 185.0) -> Array:
    """Two drum modes under wide noise."""
    frames = frames_of(0.28)
    t = times(frames)
    tone = np.sin(2 * np.pi * (pitch * t + 0.9 * (1 - np.exp(-t / 0.012))))
    tone += 0.6 * np.sin(2 * np.pi * 1.79 * pitch * t)
    wires = _band_noise(seed, 0.28, 1400.0, 11000.0, 0.2) * 2.0
    sound = np.tanh(1.4 * (tone * envelope(frames, 0.001, 0.05, decay=0.14) + wires))
    return _peak_one(in_room(stereo(sound), room(seed + 5, 0.35), 0.22))


def _metal(seed: int, length: float, decay: float, low: float, pan: float) -> Array:
    """A cymbal: six square-like partials with no common divisor, and noise, high-passed."""
    frames = frames_of(length)
    raw = noise(seed, frames)
    for hertz in (2053.0, 3071.0, 3697.0, 4177.0, 5413.0, 8009.0):
        raw += 0.16 * np.sign(sine(hertz, frames))
    sound = filtered(raw, lambda hertz, _: band_pass(low, 16000.0, hertz) ** 2)
    return _peak_one(stereo(sound * envelope(frames, 0.001, length / 3, decay=decay), pan))


def _shaker(seed: int, pan: float) -> Array:
    frames = frames_of(0.09)
    sound = filtered(noise(seed, frames), lambda hertz, _: band_pass(4500.0, 12000.0, hertz))
    return _peak_one(stereo(sound * envelope(frames, 0.02, 0.05), pan))


def _drum_tone(pitch: float, decay: float, pan: float, snap: float) -> Array:
    """A conga, tom or rim: a short falling sine with a snap of noise."""
    frames = frames_of(decay * 1.3)
    t = times(frames)
    tone = np.sin(2 * np.pi * (pitch * t + 0.35 * (1 - np.exp(-t / 0.01))))
    tone += 0.3 * np.sin(2 * np.pi * 1.58 * pitch * t) * np.exp(-t * 30)
    tone *= envelope(frames, 0.001, decay / 2, decay=decay)
    hit = _band_noise(77, min(0.04, decay), 1200.0, 7000.0, 0.02)
    tone[: len(hit)] += snap * hit
    return _peak_one(in_room(stereo(tone, pan), room(31, 0.3), 0.12))


def _crash() -> Array:
    wide = _metal(41, 2.2, 2.0, 2800.0, -0.3) + _metal(47, 2.2, 2.2, 3400.0, 0.3)
    return _peak_one(wide)


SOUNDS: dict[str, Callable[[], Array]] = {
    "kick deep": partial(_kick, (190.0, 47.0, 0.028), 0.36, 1.3, 0.10),
    "kick round": partial(_kick, (230.0, 52.0, 0.024), 0.32, 1.6, 0.16),
    "kick tight": partial(_kick, (260.0, 55.0, 0.020), 0.26, 1.8, 0.28),
    "kick hard": partial(_kick, (300.0, 46.0, 0.026), 0.38, 2.6, 0.20),
    "clap": partial(_clap, 101, 0.2),
    "clap hall": partial(_clap, 131, 1.0),
    "snare": partial(_snare, 151),
    "snare crisp": partial(_snare, 163, 215.0),
    "hat": partial(_metal, 201, 0.07, 0.06, 6500.0, 0.12),
    "hat soft": partial(_metal, 207, 0.05, 0.04, 8000.0, -0.12),
    "open hat": partial(_metal, 211, 0.32, 0.34, 6000.0, 0.08),
    "ride": partial(_metal, 223, 0.7, 0.8, 4500.0, 0.3),
    "crash": _crash,
    "shaker": partial(_shaker, 231, -0.35),
    "tambourine": partial(_metal, 241, 0.12, 0.14, 7000.0, 0.4),
    "conga high": partial(_drum_tone, 330.0, 0.18, 0.35, 0.25),
    "conga low": partial(_drum_tone, 220.0, 0.24, -0.35, 0.2),
    "tom": partial(_drum_tone, 110.0, 0.3, -0.2, 0.15),
    "rim": partial(_drum_tone, 1650.0, 0.05, 0.25, 0.5),
}
"""All hits by name; `hit` synthesizes one."""


@cache
def hit(name: str) -> Array:
    """Return the drum `name`, ``(frames, 2)``, starting at frame 0. The array is read-only."""
    return SOUNDS[name]()


@lru_cache(maxsize=16)
def riser(frames: int) -> Array:
    """Noise that opens and swells for `frames` frames and then stops: tension before a drop."""
    length = frames / frames_of(1.0)

    def opening(hertz: Array, t: Array) -> Array:
        place = np.clip(t / length, 0.0, 1.0)
        return low_pass(300.0 * 2.0 ** (5.0 * place), hertz, 0.8) * band_pass(250.0, 2e4, hertz)

    swell = envelope(frames, length * 0.95, 0.02) ** 2
    sides = [filtered(noise(seed, frames), opening) * swell for seed in (301, 302)]
    return _peak_one(np.stack(sides, axis=1))
