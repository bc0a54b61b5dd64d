"""Detection of howling: a tone that grows by itself, because an input carries the output.

While no music plays, there is nothing to compare an input with (see `feedback`). A loop with a gain
above 1 shows itself: one frequency, without harmonics, grows exponentially, until the limiter holds
it. (Peak-to-harmonic power ratio, interframe magnitude slope; van Waterschoot and Moonen, "Fifty
years of acoustic feedback control", Proc. IEEE 99, 2011.)

Somebody who whistles looks the same. What follows tells them apart: the input is muted on
suspicion, and a tone that does not fall then is not the server's own. It is left alone from then
on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAME = 1024  # samples at about 8 kHz: 0.13 s
HOP = 512
GROWING_FRAMES = 8  # 0.6 s in which the tone grows
HELD_FRAMES = 15  # 1 s in which it is held by the limiter
LOW_HERTZ = 80.0
PEAK_BINS = 2  # on each side of a peak: the width of the window's main lobe
MIN_SHARE = 0.9  # of the power, in the tone
MAX_HARMONIC = 10.0**-2.5  # -25 dB: power at the double, triple and half frequency
MIN_SLOPE, MAX_SLOPE = 5.0, 400.0  # dB/s
MIN_GROWTH = 4.0  # dB, within `GROWING_FRAMES`
MAX_DEVIATION = 1.5  # dB RMS from an exponential growth
MAX_LIMITED = 0.9  # gain of the limiter that holds a tone
MIN_LEVEL = 3e-3  # RMS after the strip, -50 dB: what is below does no harm yet
PROOF_STEPS = 2  # of the detector after a suspicion, until the tone must have fallen
MIN_FALL = 10.0  # dB


@dataclass(frozen=True)
class Tone:
    """A tone in the input: frequency in Hz, RMS level, and its growth in dB/s."""

    hertz: float
    level: float
    slope: float


NO_TONE = Tone(0.0, 0.0, 0.0)


class HowlingDetector:
    """Judges the latest samples of an input; call `step` every 0.4 s.

    `rate`: of the samples, about 8000 Hz.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._window = np.hanning(FRAME).astype(np.float32)
        # Of a sine, the power in its peak is this times its mean square.
        self._power = 0.5 * float(np.sum(self._window**2)) * FRAME
        self._suspected: Tone | None = None
        self._steps = 0
        self._innocent: list[float] = []  # frequencies that the input has without a loop

    @property
    def suspects(self) -> bool:
        """Whether a suspicion is neither confirmed nor refuted yet."""
        return self._suspected is not None

    def step(self, samples: np.ndarray, strip_gain: float, limit_gain: float) -> tuple[str, Tone]:
        """Judge float32 samples `(frames,)` that end now.

        Returns an event and its tone: "suspected" (mute the input now), "confirmed" or "refuted"
        after a suspicion, or "" for nothing new. The gains are linear.
        """
        if self._suspected is not None:
            return self._prove(samples)
        tone = self._tone(samples, limit_gain)
        known = tone is not None and any(self._same(tone.hertz, one) for one in self._innocent)
        if tone is None or known or tone.level * strip_gain < MIN_LEVEL:
            return "", NO_TONE
        self._suspected, self._steps = tone, 0
        return "suspected", tone

    def _prove(self, samples: np.ndarray) -> tuple[str, Tone]:
        tone = self._suspected
        assert tone is not None
        self._steps += 1
        if self._steps < PROOF_STEPS:
            return "", tone
        self._suspected = None
        # The frame has begun after the mute: the input still holds what was under way.
        spectrum = self._spectra(samples, 1)[0]
        center = round(tone.hertz * FRAME / self._rate)
        left = float(np.sqrt(_peak_power(spectrum, center) / self._power))
        if left < tone.level * 10.0 ** (-MIN_FALL / 20.0):
            return "confirmed", tone
        self._innocent.append(tone.hertz)
        return "refuted", tone

    def _same(self, first: float, second: float) -> bool:
        return abs(first - second) <= PEAK_BINS * self._rate / FRAME

    def _tone(self, samples: np.ndarray, limit_gain: float) -> Tone | None:
        held = limit_gain < MAX_LIMITED
        count = (len(samples) - FRAME) // HOP + 1
        if count < GROWING_FRAMES:
            return None
        spectra = self._spectra(samples, min(count, HELD_FRAMES))
        pure = self._pure_frames(spectra)
        if pure < GROWING_FRAMES:
            return None
        center = int(np.argmax(spectra[-1]))
        powers = np.array([_peak_power(one, center) for one in spectra[-GROWING_FRAMES:]])
        levels = 10.0 * np.log10(powers + 1e-20)
        times = np.arange(GROWING_FRAMES) * HOP / self._rate
        slope, start = np.polyfit(times, levels, 1)
        deviation = float(np.sqrt(np.mean((levels - slope * times - start) ** 2)))
        grows = (
            MIN_SLOPE <= slope <= MAX_SLOPE
            and slope * times[-1] >= MIN_GROWTH
            and deviation <= MAX_DEVIATION
        )
        if not grows and not (held and pure >= HELD_FRAMES):
            return None
        level = float(np.sqrt(powers[-1] / self._power))
        return Tone(center * self._rate / FRAME, level, float(slope))

    def _spectra(self, samples: np.ndarray, count: int) -> np.ndarray:
        # Power spectra of the latest frames, (count, FRAME // 2 + 1), the latest last.
        begins = len(samples) - FRAME - HOP * np.arange(count)[::-1]
        frames = samples[begins[:, None] + np.arange(FRAME)] * self._window
        spectra: np.ndarray = np.abs(np.fft.rfft(frames, axis=1)) ** 2
        spectra[:, :PEAK_BINS] = 0.0  # an offset of the device is no sound
        return spectra

    def _pure_frames(self, spectra: np.ndarray) -> int:
        # How many of the latest frames consist of the same single tone.
        center = int(np.argmax(spectra[-1]))
        if center * self._rate < LOW_HERTZ * FRAME:
            return 0
        for number, one in enumerate(spectra[::-1]):
            total = float(one.sum())
            power = _peak_power(one, center)
            others = max(_peak_power(one, round(center * part)) for part in (0.5, 2.0, 3.0))
            pure = total > 0.0 and power >= MIN_SHARE * total and others <= MAX_HARMONIC * power
            if not pure or abs(int(np.argmax(one)) - center) > 1:
                return number
        return len(spectra)


def _peak_power(spectrum: np.ndarray, center: int) -> float:
    if center >= len(spectrum):
        return 0.0
    return float(spectrum[max(0, center - PEAK_BINS) : center + PEAK_BINS + 1].sum())
