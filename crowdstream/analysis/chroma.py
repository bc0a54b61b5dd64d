"""Chromagram: spectral peaks, accumulated in 60 pitch classes of 20 cents each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

WINDOW, HOP = 8192, 4096  # 0.37 s, 0.19 s
FINE = 60  # pitch classes per octave, 20 cents each: fine enough to detect the tuning
BASS = (32.0, 180.0)  # Hz: range of the bass, which plays the roots
TREBLE = (180.0, 2200.0)  # Hz: range of chords and melody
A4 = 440.0


class PitchCounter:
    """Accumulate the partials of a mono stream into pitch classes, window by window."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._line = np.zeros(WINDOW // 2, np.float32)
        self._window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
        self._low = int(BASS[0] * WINDOW / rate)
        self._high = int(TREBLE[1] * WINDOW / rate) + 2
        self._bass: list[Floats] = []
        self._treble: list[Floats] = []

    @property
    def rate(self) -> float:
        """Windows per second."""
        return self._rate / HOP

    def feed(self, block: Floats) -> None:
        """Process the next samples, `(frames,)`."""
        line = np.concatenate([self._line, block])
        count = (len(line) - WINDOW) // HOP + 1 if len(line) >= WINDOW else 0
        self._line = line[count * HOP :]
        if not count:
            return
        frames = np.lib.stride_tricks.sliding_window_view(line, WINDOW)[: (count - 1) * HOP + 1]
        spectrum = np.fft.rfft(frames[::HOP] * self._window, axis=1)
        part = spectrum[:, self._low - 1 : self._high + 1]
        power = np.square(part.real) + np.square(part.imag)
        here = power[:, 1:-1]
        loudest = here.max(axis=1, keepdims=True)
        # Partials 50 dB below the loudest one are noise, or irrelevant.
        is_peak = (here > power[:, :-2]) & (here >= power[:, 2:]) & (here > 1e-5 * loudest)
        rows, columns = np.nonzero(is_peak & (loudest > 1e-6))
        logs = np.log(power[rows[:, None], columns[:, None] + np.arange(3)] + 1e-20)
        bend = np.minimum(logs[:, 0] - 2 * logs[:, 1] + logs[:, 2], -1e-6)
        offset = np.clip(0.5 * (logs[:, 0] - logs[:, 2]) / bend, -0.5, 0.5)
        hertz = (columns + self._low + offset) * self._rate / WINDOW
        # Magnitude to the power of 0.6: loud partials count more, but do not mask the others.
        weight = here[rows, columns] ** 0.3
        pitch = np.rint(FINE * np.log2(np.maximum(hertz, 1.0) / A4)).astype(np.int64)
        cell = rows * FINE + (pitch + 9 * FINE // 12) % FINE  # 0 is C
        for low, high, into in ((*BASS, self._bass), (*TREBLE, self._treble)):
            inside = (hertz >= low) & (hertz < high)
            # High partials are more likely to be harmonics than fundamentals.
            share = weight if low < 100 else weight * np.minimum(1.0, 500.0 / hertz)
            counted = np.bincount(cell[inside], share[inside], count * FINE)
            into.append(counted.reshape(count, FINE).astype(np.float32))

    def bass(self) -> Floats:
        """Return the fine chromagram of the bass range: `(windows, FINE)`."""
        return np.concatenate([np.zeros((0, FINE), np.float32), *self._bass])

    def treble(self) -> Floats:
        """Return the fine chromagram of the range above the bass: `(windows, FINE)`."""
        return np.concatenate([np.zeros((0, FINE), np.float32), *self._treble])

    def part(self, begin: float, end: float) -> PitchCounter:
        """Return a counter with the windows between two times in seconds."""
        made = PitchCounter(self._rate)
        rows = slice(round(begin * self.rate), round(end * self.rate))
        made._bass, made._treble = [self.bass()[rows]], [self.treble()[rows]]
        return made
