"""Building blocks of the demo's sounds: noise, saws, a time-varying filter, reverb, echo.

All sounds are float64 arrays at 44.1 kHz, of shape ``(frames,)`` for mono and ``(frames, 2)`` for
stereo. Sine and exponential may differ in their last bit between machines. In double precision the
difference is about 1e-10 of a 16-bit step, so the files are identical.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

RATE = 44100
"""Sample rate of everything in the demo, in hertz."""

Array = npt.NDArray[np.float64]
Curve = Callable[[Array, Array], Array]
"""Gains of a time-varying filter, from Hz ``(1, bins)`` and seconds ``(blocks, 1)``."""

WINDOW = 1024
HOP = 256
TRANSFORM = 2048
CLICK_FREE = 0.001
"""Shortest attack, in seconds, that is not audible as a click of its own."""


def frames_of(seconds: float) -> int:
    """Convert seconds to frames, rounded."""
    return round(seconds * RATE)


def times(frames: int) -> Array:
    """Return the time in seconds of each of `frames` frames, from 0."""
    return np.arange(frames, dtype=np.float64) / RATE


def noise(seed: int, frames: int) -> Array:
    """Return white noise, uniform in -1..1.

    It is derived from the raw words of PCG64, whose sequence numpy guarantees. The distributions
    based on it may change between numpy versions.
    """
    words = np.random.PCG64(seed).random_raw(frames)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def chances(seed: int, count: int) -> Array:
    """Return `count` numbers from 0 to 1 that depend only on `seed`."""
    return noise(seed, count) * 0.5 + 0.5


def saw(hertz: float | Array, frames: int, phase: float = 0.0) -> Array:
    """Return a sawtooth in -1..1 with a smoothed step (PolyBLEP), which reduces aliasing.

    `hertz` may be one number or one per frame; `phase` is a fraction of a period.
    """
    step = np.broadcast_to(np.asarray(hertz, dtype=np.float64) / RATE, (frames,))
    turn = (np.cumsum(step) - step + phase) % 1.0
    out = 2.0 * turn - 1.0
    early = turn < step
    x = turn[early] / step[early]
    out[early] -= x + x - x * x - 1.0
    late = turn > 1.0 - step
    x = (turn[late] - 1.0) / step[late]
    out[late] -= x * x + x + x + 1.0
    return out


def sine(hertz: float | Array, frames: int, phase: float = 0.0) -> Array:
    """Return a sine in -1..1; `hertz` may be one number or one per frame."""
    step = np.broadcast_to(np.asarray(hertz, dtype=np.float64) / RATE, (frames,))
    return np.sin(2.0 * np.pi * (np.cumsum(step) - step + phase))


def filtered(sound: Array, curve: Curve) -> Array:
    """Filter a mono `sound` with a time-varying response, without phase shift.

    The sound is cut into overlapping windows, each multiplied in the frequency domain by
    ``curve(hertz, seconds)``. Each window is centred in a transform of twice its length, so a
    response that is smooth over about 50 Hz does not wrap around.
    """
    frames = len(sound)
    blocks = (frames + WINDOW) // HOP + 1
    margin = (TRANSFORM - WINDOW) // 2
    padded = np.zeros(blocks * HOP + TRANSFORM)
    padded[WINDOW : WINDOW + frames] = sound
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    cut = np.zeros((blocks, TRANSFORM))
    views = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:blocks]
    # Four of these windows overlap at any frame and add up to 2.
    cut[:, margin : margin + WINDOW] = views * (hann * 0.5)
    hertz = np.arange(TRANSFORM // 2 + 1, dtype=np.float64)[None, :] * (RATE / TRANSFORM)
    seconds = ((np.arange(blocks) * HOP - WINDOW / 2) / RATE)[:, None]
    shaped = np.fft.irfft(np.fft.rfft(cut) * curve(hertz, seconds), TRANSFORM)
    out = np.zeros((blocks + TRANSFORM // HOP, HOP))
    for part in range(TRANSFORM // HOP):
        out[part : part + blocks] += shaped[:, part * HOP : (part + 1) * HOP]
    first = WINDOW + margin
    return out.reshape(-1)[first : first + frames]


def low_pass(cutoff: Array | float, hertz: Array, resonance: float = 0.0) -> Array:
    """Return gains of a 24 dB/octave low-pass with a peak of `resonance` at its `cutoff` (Hz)."""
    square = (hertz / cutoff) ** 2
    fourth = square * square
    slope: Array = 1.0 / np.sqrt(1.0 + fourth * fourth)
    if not resonance:
        return slope
    # A bell on a logarithmic scale, about two thirds of an octave wide.
    return slope + resonance * np.exp(-1.1 * np.log(square + 1e-9) ** 2)


def band_pass(low: float, high: float, hertz: Array) -> Array:
    """Return gains of a band from `low` to `high` (Hz), with 12 dB per octave on both sides."""
    below = np.maximum(hertz, 1.0) / low
    above = hertz / high
    gains: Array = below**2 / np.sqrt(1.0 + below**4) / np.sqrt(1.0 + above**4)
    return gains


def envelope(frames: int, attack: float, release: float, decay: float = 0.0) -> Array:
    """Return gains 0..1 that rise over `attack` seconds and fall to 0 over the last `release`
    seconds.

    In between the sound decays by 60 dB in `decay` seconds; 0 means no decay. Both edges are raised
    cosines, so notes neither start nor end with a click.
    """
    out = np.ones(frames)
    if decay > 0.0:
        out *= np.exp(-6.9 / decay * times(frames))
    for seconds, rising in ((max(attack, CLICK_FREE), True), (release, False)):
        edge = min(frames_of(seconds), frames)
        if edge:
            ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
            if rising:
                out[:edge] *= ramp
            else:
                out[frames - edge :] *= ramp[::-1]
    return out


def stereo(sound: Array, pan: float = 0.0) -> Array:
    """Convert mono to stereo with constant power; `pan` from -1 (left) to 1 (right)."""
    angle = (pan + 1.0) * np.pi / 4.0
    left, right = np.sqrt(2.0) * np.cos(angle), np.sqrt(2.0) * np.sin(angle)
    return np.stack([sound * left, sound * right], axis=1)


def room(seed: int, seconds: float, dark: float = 5000.0) -> Array:
    """Return the impulse response ``(frames, 2)`` of a room: decaying noise that loses highs first.

    `seconds` is the time to -60 dB, `dark` the initial cutoff in Hz.
    """
    frames = frames_of(seconds)
    sides = []
    for side in range(2):
        tail = filtered(
            noise(seed + side, frames),
            lambda hertz, t: (
                low_pass(dark * np.exp(-1.5 * np.maximum(t, 0.0) / seconds), hertz)
                * band_pass(180.0, 20000.0, hertz)
            ),
        )
        sides.append(tail * envelope(frames, 0.004, 0.05, decay=seconds))
    response: Array = np.stack(sides, axis=1)
    response /= np.sqrt(np.sum(response**2, axis=0))
    return response


def in_room(sound: Array, response: Array, amount: float) -> Array:
    """Return stereo `sound` plus `amount` of its reverb; longer by the response's length."""
    frames = len(sound) + len(response)
    size = 1 << (frames - 1).bit_length()
    out = np.zeros((frames, 2))
    out[: len(sound)] = sound
    middle = np.fft.rfft(sound.mean(axis=1), size)
    for side in range(2):
        wet = np.fft.irfft(middle * np.fft.rfft(response[:, side], size), size)
        out[:, side] += amount * wet[:frames]
    return out


def add_echo(sound: Array, delay: int, amount: float, repeats: int = 3) -> None:
    """Add in place echoes that alternate between the sides, every `delay` frames."""
    dry = sound.copy()
    for repeat in range(1, repeats + 1):
        late = repeat * delay
        if late >= len(dry):
            return
        source = dry[: len(dry) - late]
        # Odd repeats swap the sides and pan to the right, even ones to the left.
        sound[late:, 0] += source[:, repeat % 2] * amount**repeat * (0.5 + 0.5 * (repeat % 2 == 0))
        sound[late:, 1] += source[:, 1 - repeat % 2] * amount**repeat * (0.5 + 0.5 * (repeat % 2))


def add_at(out: Array, sound: Array, frame: int, gain: float) -> None:
    """Add a stereo `sound` to `out` from `frame` on; the part beyond the end is dropped."""
    last = min(len(out), frame + len(sound))
    if last > frame:
        out[frame:last] += sound[: last - frame] * gain
