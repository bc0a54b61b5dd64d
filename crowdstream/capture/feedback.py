"""Detection of feedback: an input that carries the server's own output.

The reference is the music: the mix before the inputs are added. What a singer or an instrument
plays into the input is not part of it, so a drone or a loop from outside can't be mistaken for the
output. If the input is h times the output, delayed, then it contains the music with the gain h g,
where g is that of the master; the gain of the whole loop is h g s, with s the gain of the input's
strip. Both are measured in one step, as the ratio of the input's music to the mix's.

Microphones always hear the music. That alone is no feedback: only a loop whose gain approaches 1
builds up. So the input is reported when the music in it is certain (the phases of the two spectra
agree at one delay, Knapp and Carter's GCC-PHAT, 1976) and the gain of the loop exceeds
`MIN_LOOP_GAIN`, both for some time, at the same delay.

Without music there is no reference; then `howling` looks for a loop that has built up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from crowdstream.capture.howling import NO_TONE, HowlingDetector, Tone

# Frames at `ANALYSIS_RATE` of the input that are compared: a second. The longest delay from the mix
# to the input (output, air, input) is the same.
WINDOW = 8192
LOW_HERTZ, HIGH_HERTZ = 100.0, 3500.0  # what loudspeakers and rooms pass on
ANALYSIS_RATE = 8000.0  # Hz, at least: the signals are averaged down to about this rate
STEP_SECONDS = 0.4  # between two comparisons
REPEATS = 3  # comparisons in a row that must agree
SAME_DELAY_SECONDS = 0.005
MIN_LOOP_GAIN = 0.5  # -6 dB: such a loop colours the sound, and a little more makes it howl
# Agreement of the phases, 0 to 1, that is no coincidence: at random it is below 0.06.
MIN_AGREEMENT = 0.15
SILENCE = 1e-3  # RMS, -60 dB: nothing to compare below
MIN_SHARE = 0.5  # of the music's level, which varies, in the shorter window of the input
FINE = 4  # fractions of a sample at which the delay is tried
FRACTIONS = np.arange(-FINE, FINE + 1) / FINE
WEAK = 1e-4  # bins with less than this share of the mean power are left out


@dataclass(frozen=True)
class Match:
    """The music found in an input: `gain` is linear, `agreement` 0 to 1, `delay` in seconds."""

    gain: float
    agreement: float
    delay: float


def compare(music: np.ndarray, captured: np.ndarray, rate: float) -> Match | None:
    """Find `music` in `captured`, both float `(frames,)` at about `rate` Hz, ending now.

    `music` has twice the length of `captured`; the difference is the longest delay that is found.
    Returns None if either is silent.
    """
    if _rms(music) < SILENCE or _rms(captured) < SILENCE * 0.1:
        return None
    window = len(captured)
    shape, turns = _window(window)
    padded = np.concatenate([np.zeros(window), captured * shape])
    band = _band(2 * window, rate)
    spectrum = np.zeros(window + 1, complex)
    spectrum[band] = _phases(np.fft.rfft(padded)[band], np.fft.rfft(music)[band])
    agreement = np.fft.irfft(spectrum, 2 * window)
    delay = int(np.argmax(np.abs(agreement[: window + 1])))
    # The same stretch of both, for an unbiased gain.
    band = _band(window, rate)
    x = np.fft.rfft(captured * shape)[band]
    m = np.fft.rfft(music[window - delay : 2 * window - delay] * shape)[band]
    phases = _phases(x, m)
    tried = turns[:, band]
    found = np.abs(tried @ phases) / max(1, np.count_nonzero(phases))
    best = int(np.argmax(found))
    gain = np.abs(tried[best] @ (x * np.conj(m))) / np.sum(np.abs(m) ** 2)
    return Match(float(gain), float(found[best]), (delay + FRACTIONS[best]) / rate)


@cache
def _window(frames: int) -> tuple[np.ndarray, np.ndarray]:
    # A window, and by fraction of a sample and bin the phase that it turns.
    bins = np.arange(frames // 2 + 1) / frames
    return np.hanning(frames), np.exp(2j * np.pi * np.outer(FRACTIONS, bins))


def _rms(samples: np.ndarray) -> float:
    if not len(samples):
        return 0.0
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _band(frames: int, rate: float) -> slice:
    # The bins of a spectrum over `frames` frames that are compared.
    return slice(math.ceil(LOW_HERTZ * frames / rate), int(HIGH_HERTZ * frames / rate))


def _phases(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    # The phase differences, with magnitude 1 where the reference has any power.
    power = np.abs(m) ** 2
    cross = x * np.conj(m)
    size = np.abs(cross)
    used = (power > WEAK * np.mean(power)) & (size > 0.0)
    phases: np.ndarray = np.zeros_like(cross)
    phases[used] = cross[used] / size[used]
    return phases


class _History:
    """The latest part of a signal, mono, averaged down by a whole factor to about `ANALYSIS_RATE`.

    `rate`: of the signal; `reduced`: after averaging, Hz. `keep`: frames that are kept.
    """

    def __init__(self, rate: float, keep: int) -> None:
        self._factor = max(1, int(rate // ANALYSIS_RATE))
        self.reduced = rate / self._factor
        self._keep = keep
        self._rest = np.zeros(0, np.float32)
        self.samples = np.zeros(0, np.float32)

    def add(self, frames: np.ndarray) -> None:
        """Add float32 frames `(frames, 2)`."""
        mono = np.concatenate([self._rest, 0.5 * (frames[:, 0] + frames[:, 1])])
        count = len(mono) // self._factor
        self._rest = mono[count * self._factor :]
        averaged = mono[: count * self._factor].reshape(count, self._factor).mean(axis=1)
        self.samples = np.concatenate([self.samples, averaged])[-self._keep :]


class FeedbackDetector:
    """Compares an input with the music, step by step.

    `rate`, `device_rate`: of the music and of the input, Hz. Feed both signals as they arrive, and
    call `step` every `STEP_SECONDS`.
    """

    def __init__(self, rate: float, device_rate: float) -> None:
        self._music = _History(rate, 2 * WINDOW)
        self._captured = _History(device_rate, 4 * WINDOW)
        self._rate, self._device_rate = rate, device_rate
        self._matches: list[Match] = []
        self._howling = HowlingDetector(self._captured.reduced)
        self.add_music = self._music.add
        self.add_captured = self._captured.add

    @property
    def suspects(self) -> bool:
        """Whether a suspicion of `howling` is neither confirmed nor refuted yet."""
        return self._howling.suspects

    def howling(self, strip_gain: float, limit_gain: float) -> tuple[str, Tone]:
        """Judge the input on its own, while no music plays; see `HowlingDetector.step`."""
        if _rms(self._music.samples[-WINDOW:]) >= SILENCE and not self._howling.suspects:
            return "", NO_TONE
        return self._howling.step(self._captured.samples, strip_gain, limit_gain)

    def step(self, ratio: float, strip_gain: float) -> Match | None:
        """Compare; return the match if the input carries the output, else None.

        `ratio`: frames of the input per frame of the music. `strip_gain`: gain of the input's
        strip, linear. The gain of the match is that of the loop.
        """
        match = self._compare(ratio, strip_gain)
        if match is not None:
            match = Match(match.gain * strip_gain, match.agreement, match.delay)
            if match.agreement < MIN_AGREEMENT or match.gain < MIN_LOOP_GAIN:
                match = None
        if match is None:
            self._matches = []
            return None
        self._matches = [
            one for one in self._matches if abs(one.delay - match.delay) < SAME_DELAY_SECONDS
        ]
        self._matches.append(match)
        return match if len(self._matches) >= REPEATS else None

    def _compare(self, ratio: float, strip_gain: float) -> Match | None:
        music, captured = self._music.samples, self._captured.samples
        # Reduced frames of the input per reduced frame of the music.
        step = ratio * (self._rate / self._device_rate)
        step *= self._captured.reduced / self._music.reduced
        need = int(WINDOW * step) + 2
        if len(music) < 2 * WINDOW or len(captured) < need:
            return None
        # Nothing to find: even if all of the input were music, the loop would be harmless.
        if _rms(captured[-need:]) * strip_gain < MIN_SHARE * MIN_LOOP_GAIN * _rms(music):
            return None
        # The input on the music's clock: linear interpolation is exact enough below `HIGH_HERTZ`.
        places = len(captured) - 1 - step * np.arange(WINDOW)[::-1]
        captured = np.interp(places, np.arange(len(captured)), captured)
        return compare(music, captured, self._music.reduced)
