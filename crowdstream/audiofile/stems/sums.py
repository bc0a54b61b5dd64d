"""Compare the audio of possible stems: their lengths, and which file is the sum of others.

A few seconds of each file are compared, taken from the same positions in all of them. A file is the
sum of others if a mix of these, each with its own gain, matches it. MP3 and AAC encoders put some
silence before the audio; delays of up to `MAX_DELAY` frames are compensated for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crowdstream.audiofile.decode import ignore_progress
from crowdstream.audiofile.duration import transcoded_duration_frames
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.reader import open_stem
from crowdstream.audiofile.transcode import FlacOf, transcode

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

PLACES = 16  # windows per file
MAX_DELAY = 4096  # frames, 93 ms at 44.1 kHz: more than any encoder's delay
WINDOW = 4 * MAX_DELAY  # frames; the inner half is compared at any delay
SILENCE = 1e-7  # mean square, -70 dBFS
# Share of a file's power that a mix of the others has to explain.
EXACT_SHARE = 0.98  # for a file named as a stem: an exact sum, apart from rounding or encoding
MASTERED_SHARE = 0.8  # for a possible mix that was mastered, that is limited and equalised
PARTIAL_SHARE = 0.3  # for a mix of these stems with something that is not in the folder
ADDEND = 0.3  # gain relative to the largest one from which a file counts as part of a sum
EVEN = 2.0  # maximum ratio between the gains of a partial sum's addends
CONTAINED_GAIN = 0.7  # gain from which a file counts as contained in another one
COPY = 0.995  # correlation of two copies of the same audio
ENCODED = 0.95  # correlation of the original with a lossily encoded copy
LOW_HZ, HIGH_HZ = 100.0, 5000.0


@dataclass
class SampledFile:
    """Audio read from a file. windows: (places, frames, 2), empty until `read_windows` fills it.

    frames: length of the file. rate: Hz.
    """

    path: Path
    frames: int
    rate: int
    windows: Floats = field(default_factory=lambda: np.zeros((0, WINDOW, 2), np.float32))

    @property
    def seconds(self) -> float:
        """Duration of the file."""
        return self.frames / self.rate


def _no_watch(_path: Path) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class FileAccess:
    """How to open files for comparison.

    roots: the files must lie inside one of these folders, if there are any. progress: called from
    time to time during long operations. pause: called between two reads. watch: returns a context
    in which each file is read, since a crafted file may kill the decoder. flac_of: see `open_stem`.
    """

    roots: Sequence[Path] = ()
    progress: Callable[[], None] = ignore_progress
    pause: Callable[[], None] = ignore_progress
    watch: Callable[[Path], AbstractContextManager[None]] = field(default=_no_watch)
    flac_of: FlacOf = transcode


def measure_lengths(paths: Sequence[Path], access: FileAccess) -> dict[Path, SampledFile]:
    """Return the lengths of those files that can be opened."""
    found = {}
    for path in paths:
        try:
            with access.watch(path):
                length = transcoded_duration_frames(
                    path, access.roots
                )  # does not transcode the file
            if length is not None:
                found[path] = SampledFile(path, *length)
                continue
            with (
                access.watch(path),
                open_stem(path, None, access.progress, access.roots, access.flac_of) as reader,
            ):
                found[path] = SampledFile(path, reader.frames, reader.source_rate)
        except AudioFileError:
            continue  # the fault is reported when the file is played or analysed
        access.pause()
    return found


def read_windows(sounds: dict[Path, SampledFile], access: FileAccess) -> None:
    """Read the windows of `sounds`, and remove those that can't be read."""
    if not sounds:
        return
    rate = Counter(sound.rate for sound in sounds.values()).most_common(1)[0][0]
    longest = max(sound.seconds for sound in sounds.values())
    # Even if the lengths differ a little, all files have audio at these positions.
    usual = min(one.seconds for one in sounds.values() if one.seconds >= 0.9 * longest)
    places = _places(round(usual * rate))
    for path in list(sounds):
        try:
            sounds[path].windows = _windows(path, rate, places, access)
        except AudioFileError:
            del sounds[path]


def _places(frames: int) -> list[int]:
    # Spread over the file, and not aligned with any beat.
    room = max(0, frames - WINDOW)
    if room <= PLACES * WINDOW:
        return list(range(0, room + 1, WINDOW)) or [0]
    return [int(room * ((number + (number * 0.618) % 1.0) / PLACES)) for number in range(PLACES)]


def _windows(path: Path, rate: int, places: Sequence[int], access: FileAccess) -> Floats:
    made = np.zeros((len(places), WINDOW, 2), np.float32)
    with access.watch(path):
        reader = open_stem(path, rate, access.progress, access.roots, access.flac_of)
    try:
        for window, place in zip(made, places, strict=True):
            with access.watch(path):
                found = reader.read(place, WINDOW)
            if found.dtype == np.int16:
                found = found.astype(np.float32) / 32768
            window[: len(found)] = found  # one channel is copied to both
            access.pause()
    finally:
        reader.close()
    return made


def power(sound: SampledFile) -> float:
    """Return the mean square of the windows."""
    return float(np.mean(np.square(sound.windows, dtype=np.float64)))


@dataclass(frozen=True)
class Sum:
    """How well a mix of other files explains a file.

    share: of the file's power, 0 to 1. gains: linear, by path.
    """

    share: float
    gains: dict[Path, float]

    @property
    def addends(self) -> list[Path]:
        """The files whose gain is significant."""
        largest = max(self.gains.values(), default=0.0)
        return [path for path, gain in self.gains.items() if gain >= ADDEND * largest > 0]

    @property
    def even(self) -> bool:
        """Whether all addends have similar gains of at least 0.5, as in a mix."""
        gains = [self.gains[path] for path in self.addends]
        return bool(gains) and max(gains) <= EVEN * min(gains) and min(gains) >= 0.5


def explain_as_sum(sound: SampledFile, others: Sequence[SampledFile]) -> Sum:
    """Find the mix of `others` that comes closest to `sound`. Copies of each other count once."""
    own = power(sound)
    audible = _without_copies([other for other in others if power(other) > SILENCE])
    if own <= SILENCE or not audible:
        return Sum(0.0, {})
    target, parts = _aligned(sound, audible)
    matrix = np.stack(parts)
    gram = (matrix @ matrix.T).astype(np.float64)
    against = (matrix @ target).astype(np.float64)
    gains = _positive_gains(gram, against)
    made = gains @ matrix
    total = float(np.dot(target, target))
    # Per window, because a limiter reduces a mix's level in places.
    columns = target.reshape(len(_inner(sound)), -1), made.reshape(len(_inner(sound)), -1)
    cross = np.einsum("ij,ij->i", *columns)
    power_made = np.einsum("ij,ij->i", columns[1], columns[1])
    explained = np.sum(np.maximum(cross, 0.0) ** 2 / np.maximum(power_made, 1e-12))
    share = min(1.0, float(explained) / max(total, 1e-12))
    return Sum(share, {one.path: float(gain) for one, gain in zip(audible, gains, strict=True)})


def is_copy(sound: SampledFile, other: SampledFile) -> bool:
    """Return whether two files hold the same audio, at the same level within 1 dB."""
    if min(power(sound), power(other)) <= SILENCE:
        return False
    target, [part] = _aligned(sound, [other])
    cross = float(np.dot(target, part))
    scale = float(np.sqrt(np.dot(target, target) * np.dot(part, part)))
    gain = cross / max(float(np.dot(part, part)), 1e-12)
    return cross >= ENCODED * scale > 0 and 0.89 < gain < 1.12


def band_powers(sound: SampledFile) -> tuple[float, float]:
    """Return the power below `LOW_HZ` and above `HIGH_HZ`, in dB relative to the total.

    Silence yields (0, -inf).
    """
    size = sound.windows.shape[1]
    mono = sound.windows.reshape(-1, size, 2).transpose(0, 2, 1).reshape(-1, size)
    spectrum = np.sum(np.abs(np.fft.rfft(mono * np.hanning(size), axis=1)) ** 2, axis=0)
    hertz = np.fft.rfftfreq(size, 1 / sound.rate)
    total = float(spectrum.sum())
    if total <= 0:
        return 0.0, -np.inf
    low, high = spectrum[hertz < LOW_HZ].sum(), spectrum[hertz > HIGH_HZ].sum()
    return 10 * np.log10(low / total + 1e-12), 10 * np.log10(high / total + 1e-12)


def _inner(sound: SampledFile, delay: int = 0) -> Floats:
    return sound.windows[:, MAX_DELAY + delay : WINDOW - MAX_DELAY + delay]


def _flat(sound: SampledFile, delay: int = 0) -> Floats:
    return np.ascontiguousarray(_inner(sound, delay)).reshape(-1)


def _without_copies(sounds: Sequence[SampledFile]) -> list[SampledFile]:
    found: list[SampledFile] = []
    for sound in sounds:
        own = _flat(sound)
        norm = float(np.dot(own, own))
        copies = (
            float(np.dot(own, other)) ** 2 >= COPY**2 * norm * float(np.dot(other, other))
            for other in map(_flat, found)
        )
        if not any(copies):
            found.append(sound)
    return found


def _aligned(sound: SampledFile, others: Sequence[SampledFile]) -> tuple[Floats, list[Floats]]:
    # Compensate for the delay of `sound` relative to the others.
    parts = [_flat(other) for other in others]
    whole: Floats = np.sum([other.windows for other in others], axis=0, dtype=np.float32)
    size = 2 * WINDOW
    cross = np.zeros(size)
    for channel in range(2):
        one = np.fft.rfft(sound.windows[:, :, channel], size, axis=1)
        two = np.fft.rfft(whole[:, :, channel], size, axis=1)
        cross += np.fft.irfft(np.sum(one * np.conj(two), axis=0), size)
    delays = np.concatenate([cross[-MAX_DELAY:], cross[: MAX_DELAY + 1]])
    best = int(np.argmax(delays)) - MAX_DELAY
    # Zero delay, unless another one matches clearly better: a beat matches itself at many delays.
    if cross[best] <= 1.05 * cross[0]:
        best = 0
    return _flat(sound, best), parts


def _positive_gains(gram: Doubles, against: Doubles) -> Doubles:
    # Non-negative least squares by coordinate descent: one gain at a time, until none changes.
    gains = np.zeros(len(against))
    for _ in range(500):
        before = gains.copy()
        for number in range(len(gains)):
            rest = against[number] - gram[number] @ gains + gram[number, number] * gains[number]
            gains[number] = max(0.0, rest / max(gram[number, number], 1e-12))
        if np.max(np.abs(gains - before)) < 1e-5:
            break
    return gains
