"""Feature extraction: one pass over the samples yields all features that the analysis needs.

Each stem is read once, in blocks of about a second, so the memory needed grows only with the
features: 25 kB per second of music. If there is a drum stem, rhythm is analysed in it, plus a
share of the other stems for passages without drums. Harmony is analysed in everything but drums.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from crowdstream.analysis.chroma import PitchCounter
from crowdstream.analysis.source import Floats, Mono, Sound, blocks, total_seconds
from crowdstream.audiofile.loudness import LoudnessMeter
from crowdstream.audiofile.stems.names import kind_of

RATE = 22_050  # Hz: hi-hats are still audible
ONSET_WINDOW, ONSET_HOP = 512, 128  # 23 ms, 5.8 ms
MIN_RATE, MAX_RATE = 22_050, 48_000  # Hz: range of sample rates at which stems are mixed
OTHER_RATE = 44_100  # Hz: stems beyond the range are mixed at this rate
FRAME_RATE = RATE / ONSET_HOP
ATTACK_HOP = 32  # 1.45 ms: the grid's accuracy is a fraction of this
ATTACK_RATE = RATE / ATTACK_HOP
SLOW_HOP = 1024  # 46 ms
SLOW_WINDOW = 2048
SLOW_RATE = RATE / SLOW_HOP
ONSET_EDGES = (0, 4, 12, 47, 117, 257)  # bins of 43 Hz: to 150, 500, 2000, 5000, 11025 Hz
SLOW_EDGES = (1, 6, 14, 28, 56, 112, 223, 465, 1025)  # bins of 10.8 Hz: to 60, 150 ... 5000 Hz
REST_OF_RHYTHM = 0.35  # gain of the other stems in the signal for rhythm
BLOCK = 1 << 16  # frames that are read at a time, 1.5 s at 44.1 kHz
VOICE_BINS = (28, 316)  # of the slow spectrum: 300 to 3400 Hz


@dataclass
class Features:
    """The features of a track."""

    seconds: float
    sample_rate: int
    names: tuple[str, ...]
    onsets: Floats  # (n, 5), FRAME_RATE: spectral flux per band; frame i is centred at i hops
    attacks: Floats  # (m, 2), ATTACK_RATE: power of lows and highs; entry i begins at i hops
    bands: Floats  # (k, 8), SLOW_RATE: power per band of the mix
    stems: Floats  # (j, stems), stems_rate: power
    stems_rate: float
    voice: Floats  # (k, 3), SLOW_RATE: see `_VoicePass`
    pitches: PitchCounter
    weighted: Floats  # (i,), HOPS_PER_SECOND: see `LoudnessMeter.powers`
    lufs: float
    peak: float


class _Frames:
    """Divide a stream into overlapping windows that are centred at multiples of the hop."""

    def __init__(self, size: int, hop: int) -> None:
        self.size, self.hop = size, hop
        self._line = np.zeros(size // 2, np.float32)

    def feed(self, block: Floats) -> Floats:
        """Return the windows that the next samples complete, `(n, size)`, as a view."""
        line = np.concatenate([self._line, block])
        count = (len(line) - self.size) // self.hop + 1 if len(line) >= self.size else 0
        self._line = line[count * self.hop :]
        if not count:
            return np.zeros((0, self.size), np.float32)
        view: Floats = np.lib.stride_tricks.sliding_window_view(line, self.size)
        return view[: (count - 1) * self.hop + 1 : self.hop]


def _power(frames: Floats, window: Floats) -> Floats:
    spectrum = np.fft.rfft(frames * window, axis=1)
    power: Floats = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _hann(size: int) -> Floats:
    window: Floats = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    return window / np.float32(window.sum())


class _OnsetPass:
    """Spectral flux per band: the rise of the square root of each bin's magnitude over 2 hops."""

    LAG = 2

    def __init__(self) -> None:
        self._frames = _Frames(ONSET_WINDOW, ONSET_HOP)
        self._window = _hann(ONSET_WINDOW)
        self._last = np.zeros((self.LAG, ONSET_WINDOW // 2 + 1), np.float32)
        self.found: list[Floats] = []

    def feed(self, block: Floats) -> None:
        """The next samples."""
        frames = self._frames.feed(block)
        if not len(frames):
            return
        level = np.sqrt(np.sqrt(_power(frames, self._window)))
        line = np.concatenate([self._last, level])
        rise = line[self.LAG :] - line[: -self.LAG]
        np.maximum(rise, 0.0, out=rise)
        self._last = line[-self.LAG :]
        self.found.append(np.add.reduceat(rise, ONSET_EDGES[:-1], axis=1))


class _AttackPass:
    """Envelopes with a resolution of 1.45 ms: power below about 300 Hz and above about 3 kHz."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._past = np.zeros(2, np.float32)
        self.found: list[Floats] = []

    def feed(self, block: Floats) -> None:
        """The next samples."""
        line = np.concatenate([self._rest, block])
        count = len(line) // ATTACK_HOP
        used = line[: count * ATTACK_HOP]
        self._rest = line[count * ATTACK_HOP :]
        if not count:
            return
        padded = np.concatenate([self._past, used])
        self._past = padded[-2:]
        high = padded[2:] - 2 * padded[1:-1] + padded[:-2]
        low = used.reshape(count, ATTACK_HOP).mean(axis=1)
        high_power = np.square(high).reshape(count, ATTACK_HOP).mean(axis=1)
        self.found.append(np.stack([np.square(low), high_power], axis=1))


class _SlowSpectrum:
    """Power spectra of long windows, every `SLOW_HOP` samples."""

    def __init__(self) -> None:
        self._frames, self._window = _Frames(SLOW_WINDOW, SLOW_HOP), _hann(SLOW_WINDOW)

    def feed(self, block: Floats) -> Floats:
        """Return the spectra that the next samples complete, `(n, SLOW_WINDOW // 2 + 1)`."""
        return _power(self._frames.feed(block), self._window)


class _VoicePass:
    """Features that distinguish vocals in a mix: three numbers per frame.

    They are the power of mid and side from 300 to 3400 Hz, and the share of the mid's power in
    gliding partials, whose frequency changes between frames. The partials of a voice glide; those
    of most instruments do not.
    """

    def __init__(self) -> None:
        low, high = VOICE_BINS
        self._last = np.zeros((1, high - low), np.float32)
        self.found: list[Floats] = []

    def feed(self, mid: Floats, side: Floats) -> None:
        """Process the next spectra of mid and side; see `_SlowSpectrum`."""
        low, high = VOICE_BINS
        middle, sides = mid[:, low - 1 : high + 1], side[:, low:high]
        if not len(middle):
            return
        centre = middle[:, 1:-1]
        is_peak = (centre > middle[:, :-2]) & (centre >= middle[:, 2:])
        logs = np.log(middle + np.float32(1e-12))
        left, here, right = logs[:, :-2], logs[:, 1:-1], logs[:, 2:]
        bend = left - 2 * here + right
        offset = np.where(is_peak, 0.5 * (left - right) / np.minimum(bend, -1e-6), 0.0)
        place = np.where(is_peak, np.arange(high - low, dtype=np.float32) + low + offset, 0.0)
        line = np.concatenate([self._last, place])
        self._last = line[-1:]
        before, now = line[:-1], line[1:]
        # The same partial in the previous frame: a peak in the same bin or in an adjacent one.
        near = np.pad(before, ((0, 0), (1, 1)))
        step = np.full_like(now, 9.0)
        for shifted in (near[:, :-2], near[:, 1:-1], near[:, 2:]):
            change = np.where(shifted > 0, now - shifted, 9.0)
            step = np.where(np.abs(change) < np.abs(step), change, step)
        cents = 1731.2 * np.abs(step) / np.maximum(now, 1.0)
        gliding = is_peak & (np.abs(step) < 2.0) & (cents > 8.0) & (cents < 120.0)
        # The power of a partial is represented by its peak bin.
        glide = np.where(gliding, centre, 0.0).sum(axis=1)
        peaks = np.where(is_peak, centre, 0.0).sum(axis=1)
        self.found.append(
            np.stack(
                [centre.sum(axis=1), sides.sum(axis=1), glide / np.maximum(peaks, 1e-12)], axis=1
            ).astype(np.float32)
        )


def _per_hop(samples: Floats, rest: Floats, hop: int) -> tuple[Floats, Floats]:
    # The mean square of each `hop` frames, and the remaining frames.
    line = np.concatenate([rest, samples]) if len(rest) else samples
    count = len(line) // hop
    used = line[: count * hop].reshape(count, 2 * hop)
    return np.einsum("ij,ij->i", used, used) / np.float32(2 * hop), line[count * hop :]


class _Decimate:
    """Resample a mono stream to RATE."""

    def __init__(self, rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32") if rate != RATE else None

    def feed(self, block: Floats, last: bool) -> Floats:
        """Return the resampled samples; `last` flushes the resampler."""
        if self._stream is None:
            return block
        made: Floats = self._stream.resample_chunk(np.ascontiguousarray(block), last=last)
        return made


def extract(
    sounds: Sequence[Sound], progress: Callable[[float], None] = lambda _share: None
) -> Features:
    """Read all stems once, and return their features.

    `progress` is called with the share that is done, 0 to 1.
    """
    steps = extract_in_steps(sounds)
    while True:
        try:
            progress(next(steps))
        except StopIteration as end:
            found: Features = end.value
            return found


def extract_in_steps(sounds: Sequence[Sound]) -> Generator[float, None, Features]:
    """Extract features like `extract`, as a generator that reads about a second in each step.

    Yields the share that is done, 0 to 1; returns the features.
    """
    rate = sounds[0].sample_rate
    if not MIN_RATE <= rate <= MAX_RATE:
        rate = OTHER_RATE
    names = tuple(sound.name for sound in sounds)
    kinds = [kind_of(name) if len(names) > 1 else "" for name in names]
    beats = [number for number, kind in enumerate(kinds) if kind == "drums"]
    has_drums, has_voice = bool(beats), "vocals" in kinds
    loudness = LoudnessMeter(rate)
    drums_in, mid_in, side_in = _Decimate(rate), _Decimate(rate), _Decimate(rate)
    onset, attack, voice = _OnsetPass(), _AttackPass(), _VoicePass()
    slow_whole, slow_mid, slow_side = _SlowSpectrum(), _SlowSpectrum(), _SlowSpectrum()
    pitches = PitchCounter(RATE)
    bands: list[Floats] = []
    powers: list[list[Floats]] = [[] for _ in sounds]
    rests = [np.zeros((0, 2), np.float32) for _ in sounds]
    monos = [Mono(rate) for _ in sounds]  # each stem has its own polarity
    hop = round(rate / SLOW_RATE)
    seconds = total_seconds(sounds)
    total, done = round(seconds * rate), 0
    for parts in blocks(sounds, rate, BLOCK):
        done += len(parts[0])
        last = done >= total
        mix = parts[0].copy()
        for part in parts[1:]:
            mix += part
        loudness.feed(mix)
        for number, part in enumerate(parts):
            found, rests[number] = _per_hop(part, rests[number], hop)
            powers[number].append(found)
        drums, middle, sides = (np.zeros(len(mix), np.float32) for _ in range(3))
        for kind, part, mono in zip(kinds, parts, monos, strict=True):
            own, other = mono.feed(part)
            if kind == "drums":
                drums = drums + own
            else:
                middle, sides = middle + own, sides + other
        mid = mid_in.feed(middle, last)
        rhythm = whole = mid
        if has_drums:
            beat = drums_in.feed(drums, last)
            rhythm, whole = beat + np.float32(REST_OF_RHYTHM) * mid, beat + mid
        if last:  # pad, because the last windows are centred at the last samples
            tail = np.zeros(4096, np.float32)
            mid, rhythm, whole = (np.concatenate([line, tail]) for line in (mid, rhythm, whole))
        onset.feed(rhythm)
        attack.feed(rhythm)
        pitches.feed(mid)
        slow = slow_whole.feed(whole)
        bands.append(np.add.reduceat(slow[:, : SLOW_EDGES[-1]], SLOW_EDGES[:-1], axis=1))
        if not has_voice:
            side = side_in.feed(sides, last)
            side = np.pad(side, (0, len(mid) - len(side)))
            voice.feed(slow_mid.feed(mid) if has_drums else slow, slow_side.feed(side))
        yield min(1.0, done / max(total, 1))
    return Features(
        seconds=seconds,
        sample_rate=sounds[0].sample_rate,
        names=names,
        onsets=_joined(onset.found, len(ONSET_EDGES) - 1),
        attacks=_joined(attack.found, 2),
        bands=_joined(bands, len(SLOW_EDGES) - 1),
        stems=np.stack([np.concatenate(each) for each in powers], axis=1),
        stems_rate=rate / hop,
        voice=_joined(voice.found, 3),
        pitches=pitches,
        weighted=loudness.powers.astype(np.float32),
        lufs=loudness.integrated(),
        peak=loudness.peak,
    )


def _joined(parts: Sequence[npt.NDArray[np.float32]], width: int) -> Floats:
    whole: Floats = np.concatenate([np.zeros((0, width), np.float32), *parts])
    return whole
