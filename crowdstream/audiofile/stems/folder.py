"""Classify a folder of audio files: the stems of one track, or several tracks, and the reason.

File names are considered first (`names.py`). If they leave it open, the audio is
compared: stems of one track are equally long, a mixdown is the sum of the others, and a song
that is called 'Bass' holds more than a bass. The verdict is cached on disk until a file in the
folder changes. Reading the audio takes about 5 ms for each WAV or FLAC file and 50 ms for each MP3:
suitable for loaders, analyses and threads, but not for an event loop.

Compare the audio of possible stems: their lengths, and which file is the sum of others.

A few seconds of each file are compared, taken from the same positions in all of them. A file is the
sum of others if a mix of these, each with its own gain, matches it. MP3 and AAC encoders put some
silence before the audio; delays of up to `MAX_DELAY` frames are compensated for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crowdstream.audiofile.decode import ignore_progress
from crowdstream.audiofile.duration import transcoded_duration_frames
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.reader import open_stem
from crowdstream.audiofile.stems.names import (
    A_CAPPELLA,
    CLICK,
    MIX,
    RELEASE,
    REST,
    StemName,
    plain_stem,
    read_names,
)
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


MAX_STEMS = 8
# Files of a folder whose audio is compared; each takes 2 MB during the comparison.
MAX_COMPARED = 40
MAX_UNNAMED = 6  # files without a stem name that are tolerated beside few stems
MAX_LISTED = 200  # characters of a list of file names in a message
# By which a mix may be longer than its stems; encoders and reverbs leave less.
MAX_TAIL_SECONDS = 1.0
# Stems of one track are equally long, apart from a trimmed tail or an encoder's padding.
EQUAL_SECONDS, EQUAL_SHARE = 0.5, 0.005
# If the audio does not contradict it, they may differ by this much: some exports end with the last
# note of each stem.
NEAR_SECONDS, NEAR_SHARE = 5.0, 0.1
# dB relative to the total power. A bass has less than this above 5 kHz; a voice, or keys, have less
# than this below 100 Hz.
MAX_HIGH_OF_BASS, MAX_LOW_OF_VOICE, MAX_LOW_OF_KEYS = -28.0, -15.0, -8.0
ODD_SHARE = 3  # they are songs if at least one in this many holds more than its name says
MIN_SONG_SECONDS = 10.0  # anything shorter is a loop or a sample
_LOSSLESS = (".wav", ".flac", ".aif", ".aiff", ".w64", ".rf64", ".caf")
FIRST_STEMS = ("drums", "bass", "vocals", "other")
VOICES = ("lead_vocals", "backing_vocals")  # sorted in the place of the vocals
STEMS, TRACKS, SEVERAL = "stems", "tracks", "several"


@dataclass(frozen=True)
class StemFile:
    """One stem: its name within the track, and its path."""

    name: str
    path: Path


@dataclass(frozen=True)
class LeftOut:
    """A file in a folder of stems that is not played with them, and the reason.

    lost: the file is a stem, but can't be read. track: the file is a track of its own.
    """

    path: Path
    reason: str
    lost: bool = False
    track: bool = False


@dataclass(frozen=True)
class Verdict:
    """Classification of a folder.

    kind: `STEMS` of one track, `TRACKS` of their own, or the stems of `SEVERAL` tracks. reason: a
    clause. heard: the verdict is final, as comparing the audio would not change it. not_stems: the
    files can't be played as stems, even on request.
    """

    kind: str
    reason: str
    stems: tuple[StemFile, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    is_final: bool = False
    not_stems: bool = False

    @property
    def stem_paths(self) -> list[Path]:
        """The stem files of several tracks, for a `SEVERAL` verdict."""
        return [stem.path for stem in self.stems]


@dataclass
class _Case:
    """The files of one folder, with what is known of them so far."""

    files: Sequence[Path]
    parts: dict[Path, StemName]
    lost: Sequence[LeftOut] = ()
    sounds: dict[Path, SampledFile] = field(default_factory=dict)
    audio_compared: bool = False
    left_out: list[LeftOut] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Path]:
        """Return the files of these kinds; all stems if no kind is given."""
        dropped = {one.path for one in self.left_out}
        return [
            file for file in self.files
            if file not in dropped
            and (self.parts[file].kind in kinds if kinds else self.parts[file].stem)
        ]  # fmt: skip

    def drop(self, file: Path, reason: str, track: bool = False) -> None:
        """Leave a file out of the stems. track: it is a track of its own."""
        self.left_out.append(LeftOut(file, reason, track=track))

    def reclassify(self, files: Sequence[Path], kind: str, name: str = "") -> None:
        """Assign files a kind other than the one that their names indicate."""
        for file in files:
            part = self.parts[file]
            self.parts[file] = StemName(kind, name or part.name, part.song)


def classify_by_names(files: Sequence[Path], lost: Sequence[LeftOut] = ()) -> Verdict:
    """Classify a folder's audio files by their names alone. lost: files that can't be read."""
    case = _case(files, lost)
    return _judge_by_names(case) or _stems_verdict(case, "named as stems")


def classify_by_audio(
    files: Sequence[Path], lost: Sequence[LeftOut], access: FileAccess
) -> Verdict:
    """Classify a folder's audio files by their names and, if those leave it open, their audio.

    lost: files that can't be read.
    """
    case = _case(files, lost)
    case.audio_compared = True
    found = _judge_by_names(case)
    named = found is None
    if (
        len(files) < 2
        or len(files) > MAX_COMPARED
        or (found and (found.not_stems or found.is_final))
    ):
        return found or _stems_verdict(case, "named as stems")
    case.sounds = measure_lengths(files, access)
    if not named and not _equally_long(list(case.sounds.values())):
        assert found is not None
        return _judge_unequal_lengths(case, found)
    read_windows(case.sounds, access)
    if not named:
        assert found is not None
        return _judge_unnamed(case, found)
    return _judge_named(case)


def unpacked(files: Sequence[Path]) -> Verdict:
    """Return the verdict on a folder into which the stems of one stem file were unpacked."""
    stems = _ordered(_case(files, ()), files)
    return Verdict(STEMS, "unpacked from a stem file", stems, is_final=True)


def _case(files: Sequence[Path], lost: Sequence[LeftOut]) -> _Case:
    everything = [*files, *(one.path for one in lost)]
    parts = read_names([plain_stem(file.name) for file in everything])
    return _Case(files, dict(zip(everything, parts, strict=True)), lost)


def _judge_by_names(case: _Case) -> Verdict | None:
    """Return a verdict that needs no audio; None if the files are named as stems of one track."""
    for file in case.of(CLICK):
        if len(case.files) > 1:
            case.drop(file, "it is a metronome, by its name")
    voices, releases, others = case.of(A_CAPPELLA), case.of(RELEASE), case.of("", MIX)
    if voices and not (case.of() or releases or others):
        case.reclassify(voices, "vocals", "vocals")  # with an instrumental, they make two stems
    elif case.of():
        case.reclassify(voices, "vocals")
    if releases and len(case.of()) >= 2:
        case.reclassify(releases, MIX)
    versions = case.of(RELEASE, A_CAPPELLA)
    unreadable = [one.path for one in case.lost if _is_stem(case.parts[one.path])]
    if versions or (case.of(REST) and not (case.of() or unreadable) and len(case.files) > 1):
        shown = _listed(versions or case.of(REST))
        reason = f"versions of a release are tracks of their own ({shown})"
        return Verdict(TRACKS, reason, is_final=True, not_stems=len(case.files) > 1)
    songs = _songs(case)
    if len(songs) > 1:
        files = tuple(StemFile(case.parts[one].name, one) for song in songs for one in song)
        return Verdict(
            SEVERAL, f"{len(files)} files in it are stems of several tracks", files,
            is_final=True, not_stems=True,
        )  # fmt: skip
    named = len(case.of()) + len(case.of(REST)) + len(unreadable)
    if named >= 2 and case.files and len(case.of("")) <= max(MAX_UNNAMED, 2 * named):
        return None
    count = len(case.files)
    reason = "one file" if count == 1 else f"{count} files, and they are not named as stems"
    return Verdict(TRACKS, reason, _ordered(case, case.files), is_final=count < 2)


def _is_stem(part: StemName) -> bool:
    return part.stem or part.kind == REST


def _songs(case: _Case) -> list[list[Path]]:
    # The files of each song, if several songs have at least two stems and share a stem name.
    songs: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in (*case.of(), *case.of(REST)):
        songs[case.parts[file].song].append(file)
    found = [files for files in songs.values() if len(files) > 1]
    names = Counter(name for files in found for name in {case.parts[one].name for one in files})
    return found if any(count > 1 for count in names.values()) else []


def _judge_unequal_lengths(case: _Case, found: Verdict) -> Verdict:
    lengths = [sound.seconds for sound in case.sounds.values()]
    if len(lengths) < 2:
        return Verdict(TRACKS, found.reason, found.stems, is_final=True)
    short, long = min(lengths), max(lengths)
    reason = f"{found.reason}, and they last from {short:.1f} to {long:.1f} s"
    not_stems = long - short > max(NEAR_SECONDS, NEAR_SHARE * long)
    return Verdict(TRACKS, reason, found.stems, is_final=True, not_stems=not_stems)


def _judge_unnamed(case: _Case, found: Verdict) -> Verdict:
    # Equally long files of any name are stems if one of them is the sum of the others.
    for file, sound in sorted(case.sounds.items(), key=lambda one: -power(one[1])):
        others = [one for path, one in case.sounds.items() if path != file]
        made = explain_as_sum(sound, others)
        if made.share >= MASTERED_SHARE and len(made.addends) >= max(2, len(others) // 2):
            case.drop(file, _sum_reason(case, file, made.addends))
            case.reclassify([one for one in case.of("") if one != file], "other")
            return _stems_verdict(case, f"{file.name} is the sum of the others")
    return Verdict(TRACKS, found.reason, found.stems, is_final=True)


def _judge_named(case: _Case) -> Verdict:
    _drop_sums(case)
    _drop_contained(case)
    _drop_copies(case)
    summed = any("the sum of" in one.reason for one in case.left_out)
    stems = [case.sounds[one] for one in (*case.of(), *case.of(REST)) if one in case.sounds]
    if len(stems) < 2:
        return _stems_verdict(case, "named as stems")
    lengths = [sound.seconds for sound in stems]
    short, long = min(lengths), max(lengths)
    tested = [fault for sound in stems if (fault := _contradiction(case, sound)) is not None]
    faults = [fault for fault in tested if fault]
    equal = _equally_long(stems)
    near = long - short <= max(NEAR_SECONDS, NEAR_SHARE * long)
    # A single odd stem does not make an album: a 'Bass' may be played on a piano.
    songs = bool(faults) and ODD_SHARE * len(faults) >= len(stems)
    songs = songs and (len(faults) == len(tested) or not equal) and long >= MIN_SONG_SECONDS
    if not summed and (songs or not (equal or (near and tested))):
        reason = "; ".join(faults) if songs else (
            f"they last from {short:.1f} to {long:.1f} s, and none is the sum of the others"
        )
        return Verdict(
            TRACKS, f"they are named as stems, but {reason}",
            _ordered(case, case.files), is_final=True, not_stems=songs or not near,
        )  # fmt: skip
    for file in case.of(""):
        sound = case.sounds.get(file)
        if sound is not None and not _equally_long([sound], long):
            case.drop(
                file, f"it lasts {sound.seconds:.1f} s and the stems {long:.1f} s", track=True
            )
    span = f"all {long:.1f} s long" if equal else f"{short:.1f} to {long:.1f} s long"
    return _stems_verdict(case, f"named as stems, {span}")


def _drop_sums(case: _Case) -> None:
    # Begin with the most likely mix: a file that has been dropped is not considered again.
    def order(files: list[Path]) -> list[Path]:
        return sorted((one for one in files if one in case.sounds),
                      key=lambda one: -power(case.sounds[one]))  # fmt: skip

    whole = [*order(case.of(MIX)), *order(case.of(""))]
    for file in (*whole, *order(case.of(REST)), *order(case.of())):
        dropped = {one.path for one in case.left_out}
        others = [
            case.sounds[one] for one in case.files
            if one in case.sounds and one != file and one not in dropped
        ]  # fmt: skip
        made = explain_as_sum(case.sounds[file], others)
        thresholds = {REST: 0.9, MIX: MASTERED_SHARE, "": MASTERED_SHARE}
        threshold = thresholds.get(case.parts[file].kind, EXACT_SHARE)
        partly = file in whole and made.share >= PARTIAL_SHARE and made.even
        if len(made.addends) >= 2 and (made.share >= threshold or partly):
            case.drop(file, _sum_reason(case, file, made.addends))
    for file in case.of(MIX):
        case.drop(file, "it is the whole mix, by its name")


def _drop_contained(case: _Case) -> None:
    # 'no_vocals' beside 'drums' contains the drums, which would sound twice. If there are several
    # such files, one is kept, together with the stem that it lacks.
    def lacked_stems(file: Path) -> list[Path]:
        lacked = case.parts[file].name.removeprefix("no_")
        lacked = "vocals" if lacked == case.parts[file].name else lacked
        return [one for one in case.of()
                if lacked in (case.parts[one].name, case.parts[one].kind)]  # fmt: skip

    def rank(file: Path) -> tuple[bool, bool, str]:
        lacked = lacked_stems(file)
        return not lacked, not any(case.parts[one].kind == "vocals" for one in lacked), file.name

    rests = [one for one in case.of(REST) if one in case.sounds]
    if not rests:
        return
    file, *more = sorted(rests, key=rank)
    for other in more:
        case.drop(other, f"{file.name} is played instead")
    others = [case.sounds[one] for one in case.of()
              if one in case.sounds and one not in lacked_stems(file)]  # fmt: skip
    own = power(case.sounds[file])
    for path, gain in explain_as_sum(case.sounds[file], others).gains.items():
        if gain >= CONTAINED_GAIN and power(case.sounds[path]) * gain**2 >= 0.02 * own:
            case.drop(path, f"it is already in {file.name}")


def _drop_copies(case: _Case) -> None:
    # The same stem may be present twice, as WAV and as MP3.
    def rank(file: Path) -> tuple[bool, str]:
        return file.suffix.lower() not in _LOSSLESS, file.name

    by_name = defaultdict(list)
    for file in (*case.of(), *case.of(REST)):
        if file in case.sounds:
            by_name[case.parts[file].name].append(file)
    for files in by_name.values():
        first, *more = sorted(files, key=rank)
        for file in more:
            if is_copy(case.sounds[file], case.sounds[first]):
                case.drop(file, f"it is a copy of {first.name}")


def _contradiction(case: _Case, sound: SampledFile) -> str | None:
    """Return how a file's audio contradicts its name; "" if it does not, None if unknown."""
    part = case.parts[sound.path]
    low, high = band_powers(sound)
    if part.kind == "bass":
        wrong = high > MAX_HIGH_OF_BASS
    elif part.kind == "vocals":
        wrong = low > MAX_LOW_OF_VOICE
    elif part.kind in ("keys", "guitar", "strings", "winds"):
        wrong = low > MAX_LOW_OF_KEYS and high > MAX_HIGH_OF_BASS
    else:
        return None
    return f"{sound.path.name} holds more than {part.name}" if wrong else ""


def _equally_long(sounds: Sequence[SampledFile], length: float | None = None) -> bool:
    lengths = [sound.seconds for sound in sounds] + ([length] if length is not None else [])
    if not lengths:
        return False
    return max(lengths) - min(lengths) <= max(EQUAL_SECONDS, EQUAL_SHARE * max(lengths))


def _stems_verdict(case: _Case, reason: str) -> Verdict:
    if not case.audio_compared and len(case.of()) >= 2:
        for file in case.of(MIX):
            case.drop(file, "it is the whole mix, by its name")
    dropped = {one.path for one in case.left_out}
    stems = _ordered(case, [file for file in case.files if file not in dropped])
    lost = (
        replace(one, lost=_is_stem(case.parts[one.path]))
        for one in case.lost if case.parts[one.path].kind != MIX
    )  # fmt: skip
    return Verdict(
        STEMS, reason, stems, (*lost, *case.left_out), case.audio_compared or len(case.files) < 2
    )


def _ordered(case: _Case, files: Sequence[Path]) -> tuple[StemFile, ...]:
    # If two files have the same stem name, both stems are called by their full file names.
    names = Counter(case.parts[file].name for file in files)
    own = Counter(plain_stem(file.name) for file in files)
    stems = []
    for file in files:
        name, stem = case.parts[file].name, plain_stem(file.name)
        if names[name] > 1:
            name = stem if own[stem] == 1 else file.name
        stems.append(StemFile(name, file))
    return tuple(sorted(stems, key=place_of))


def place_of(stem: StemFile) -> tuple[float, str, str]:
    """Return the sort key of a stem: drums, bass, vocals, other, then the rest by name."""
    place: float = len(FIRST_STEMS)
    if stem.name in FIRST_STEMS:
        place = FIRST_STEMS.index(stem.name)
    elif stem.name in VOICES:
        place = FIRST_STEMS.index("vocals") + (1 + VOICES.index(stem.name)) / 10
    return place, stem.name.lower(), stem.path.name


def _sum_reason(case: _Case, file: Path, addends: Sequence[Path]) -> str:
    # If a separator stopped early, only its mix holds the end of the track.
    more = case.sounds[file].seconds - max(case.sounds[one].seconds for one in addends)
    rest = f", and {more:.1f} s longer than they are" if more > MAX_TAIL_SECONDS else ""
    return f"it is the sum of {_listed(addends)}{rest}"


def _listed(files: Sequence[Path]) -> str:
    names = ", ".join(file.name for file in files)
    return names if len(names) <= MAX_LISTED else f"{len(files)} others"
