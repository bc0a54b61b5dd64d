"""What a folder of audio files is: the stems of one track, or several tracks, and why.

Names come first (`stem_names.py`). Where they leave it open, the files are listened to
(`stem_sound.py`): stems of one track are equally long, a mixdown is the sum of the others, and a
song that is called 'Bass' holds more than a bass. What was found is kept in the user's cache until
a file of the folder changes. Listening takes some 5 ms for each WAV or FLAC file, 50 ms for each
MP3: it is for loaders, analyses and threads, never for a loop that others wait for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from crowdstream.audiofile.stems.names import (
    A_CAPPELLA,
    CLICK,
    MIX,
    RELEASE,
    REST,
    Part,
    plain_stem,
    read_names,
)
from crowdstream.audiofile.stems.sums import (
    ALIKE,
    HELD,
    PARTLY,
    SAME,
    Access,
    Sound,
    explain,
    is_copy,
    listen,
    measure,
    power,
    shares,
)

MAX_STEMS = 8
MAX_HEARD = 40  # files of a folder that are listened to; each takes 2 MB meanwhile
MANY_OTHERS = 6  # files without a stem's name that may lie beside the stems, however few those are
MAX_LISTED = 200  # names in a message
MAX_TAIL_SECONDS = 1.0  # of a mix behind its stems; encoders and reverbs leave less
# Stems of one track are equally long, but for a tail that was cut or an encoder's padding.
SAME_SECONDS, SAME_SHARE = 0.5, 0.005
# Where the sound says nothing against it, they may differ so far: exports end with their last note.
NEAR_SECONDS, NEAR_SHARE = 5.0, 0.1
# dB of all power: what no bass has above 5 kHz, and no voice or piano below 100 Hz.
MAX_HIGH_OF_BASS, MAX_LOW_OF_VOICE, MAX_LOW_OF_KEYS = -28.0, -15.0, -8.0
ODD_SHARE = 3  # from one file in so many on that hold more than they are called, they are songs
MIN_SONG_SECONDS = 10.0  # what is shorter is a loop or a sample
_LOSSLESS = (".wav", ".flac", ".aif", ".aiff", ".w64", ".rf64", ".caf")
FIRST_STEMS = ("drums", "bass", "vocals", "other")
VOICES = ("lead_vocals", "backing_vocals")  # in the place of the vocals
STEMS, TRACKS, SEVERAL = "stems", "tracks", "several"


@dataclass(frozen=True)
class StemFile:
    """One stem: its name within the track, and its file."""

    name: str
    path: Path


@dataclass(frozen=True)
class LeftOut:
    """A file of a folder of stems that is not played with them, and why.

    `lost`: it should have been, and can't be read. `track`: it is a track of its own.
    """

    path: Path
    reason: str
    lost: bool = False
    track: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a folder is.

    `kind`: `STEMS` of one track, `TRACKS` of their own, or the stems of `SEVERAL` tracks.
    `reason`: a clause. `known`: its files are called as stems are. `heard`: it will not change by
    listening. `firm`: the files are no stems even if somebody wants to play them as such.
    """

    kind: str
    reason: str
    stems: tuple[StemFile, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    heard: bool = False
    firm: bool = False

    @property
    def scattered(self) -> list[Path]:
        """Of `SEVERAL`: the files that are stems."""
        return [stem.path for stem in self.stems]


@dataclass
class _Case:
    """The files of one folder with what is known of them, by what their names call them."""

    files: Sequence[Path]
    parts: dict[Path, Part]
    lost: Sequence[LeftOut] = ()
    sounds: dict[Path, Sound] = field(default_factory=dict)
    heard: bool = False
    left_out: list[LeftOut] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Path]:
        """Files of these kinds; all stems where none is given."""
        gone = {one.path for one in self.left_out}
        return [
            file for file in self.files
            if file not in gone
            and (self.parts[file].kind in kinds if kinds else self.parts[file].stem)
        ]  # fmt: skip

    def drop(self, file: Path, reason: str, track: bool = False) -> None:
        """Leave a file out."""
        self.left_out.append(LeftOut(file, reason, track=track))

    def call(self, files: Sequence[Path], kind: str, name: str = "") -> None:
        """Take files for something else than their names say."""
        for file in files:
            part = self.parts[file]
            self.parts[file] = Part(kind, name or part.name, part.song)


def by_names(files: Sequence[Path], lost: Sequence[LeftOut] = ()) -> Verdict:
    """What a folder's audio files are as far as their names say. `lost`: can't be read."""
    case = _case(files, lost)
    return _plain(case) or _stems(case, "named as stems")


def by_sound(files: Sequence[Path], lost: Sequence[LeftOut], access: Access) -> Verdict:
    """What a folder's audio files are by their names and their sound."""
    case = _case(files, lost)
    case.heard = True
    found = _plain(case)
    named = found is None
    if len(files) < 2 or len(files) > MAX_HEARD or (found and (found.firm or found.heard)):
        return found or _stems(case, "named as stems")
    case.sounds = measure(files, access)
    if not named and not _equal(list(case.sounds.values())):
        assert found is not None
        return _different(case, found)
    listen(case.sounds, access)
    if not named:
        assert found is not None
        return _unnamed(case, found)
    return _named(case)


def unpacked(files: Sequence[Path]) -> Verdict:
    """What the files of a folder are that the stems of one stem file were unpacked into."""
    stems = _ordered(_case(files, ()), files)
    return Verdict(STEMS, "unpacked from a stem file", stems, heard=True)


def _case(files: Sequence[Path], lost: Sequence[LeftOut]) -> _Case:
    everything = [*files, *(one.path for one in lost)]
    parts = read_names([plain_stem(file.name) for file in everything])
    return _Case(files, dict(zip(everything, parts, strict=True)), lost)


def _plain(case: _Case) -> Verdict | None:
    """What can be told without listening; None for what is named as the stems of one track."""
    for file in case.of(CLICK):
        if len(case.files) > 1:
            case.drop(file, "it is a metronome, by its name")
    voices, releases, others = case.of(A_CAPPELLA), case.of(RELEASE), case.of("", MIX)
    if voices and not (case.of() or releases or others):
        case.call(voices, "vocals", "vocals")  # with an instrumental: two stems
    elif case.of():
        case.call(voices, "vocals")
    if releases and len(case.of()) >= 2:
        case.call(releases, MIX)
    versions = case.of(RELEASE, A_CAPPELLA)
    gone = [one.path for one in case.lost if _is_stem(case.parts[one.path])]
    if versions or (case.of(REST) and not (case.of() or gone) and len(case.files) > 1):
        shown = _listed(versions or case.of(REST))
        reason = f"versions of a release are tracks of their own ({shown})"
        return Verdict(TRACKS, reason, heard=True, firm=len(case.files) > 1)
    songs = _songs(case)
    if len(songs) > 1:
        files = tuple(StemFile(case.parts[one].name, one) for song in songs for one in song)
        return Verdict(
            SEVERAL, f"{len(files)} files in it are stems of several tracks", files,
            heard=True, firm=True,
        )  # fmt: skip
    named = len(case.of()) + len(case.of(REST)) + len(gone)
    if named >= 2 and case.files and len(case.of("")) <= max(MANY_OTHERS, 2 * named):
        return None
    count = len(case.files)
    reason = "one file" if count == 1 else f"{count} files, and their names are not those of stems"
    return Verdict(TRACKS, reason, _ordered(case, case.files), heard=count < 2)


def _is_stem(part: Part) -> bool:
    return part.stem or part.kind == REST


def _songs(case: _Case) -> list[list[Path]]:
    # The files of each song, where several songs have at least two stems, one of them alike.
    songs: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in (*case.of(), *case.of(REST)):
        songs[case.parts[file].song].append(file)
    found = [files for files in songs.values() if len(files) > 1]
    names = Counter(name for files in found for name in {case.parts[one].name for one in files})
    return found if any(count > 1 for count in names.values()) else []


def _different(case: _Case, found: Verdict) -> Verdict:
    lengths = [sound.seconds for sound in case.sounds.values()]
    if len(lengths) < 2:
        return Verdict(TRACKS, found.reason, found.stems, heard=True)
    short, long = min(lengths), max(lengths)
    reason = f"{found.reason}, and they last from {short:.1f} to {long:.1f} s"
    firm = long - short > max(NEAR_SECONDS, NEAR_SHARE * long)
    return Verdict(TRACKS, reason, found.stems, heard=True, firm=firm)


def _unnamed(case: _Case, found: Verdict) -> Verdict:
    # Equally long files of any name are stems if one of them is the sum of the others.
    for file, sound in sorted(case.sounds.items(), key=lambda one: -power(one[1])):
        others = [one for path, one in case.sounds.items() if path != file]
        made = explain(sound, others)
        if made.share >= ALIKE and len(made.addends) >= max(2, len(others) // 2):
            case.drop(file, _sum_of(case, file, made.addends))
            case.call([one for one in case.of("") if one != file], "other")
            return _stems(case, f"{file.name} is the sum of the others")
    return Verdict(TRACKS, found.reason, found.stems, heard=True)


def _named(case: _Case) -> Verdict:
    _drop_sums(case)
    _drop_held(case)
    _drop_copies(case)
    summed = any("the sum of" in one.reason for one in case.left_out)
    stems = [case.sounds[one] for one in (*case.of(), *case.of(REST)) if one in case.sounds]
    if len(stems) < 2:
        return _stems(case, "named as stems")
    lengths = [sound.seconds for sound in stems]
    short, long = min(lengths), max(lengths)
    tested = [fault for sound in stems if (fault := _fault(case, sound)) is not None]
    faults = [fault for fault in tested if fault]
    equal = _equal(stems)
    near = long - short <= max(NEAR_SECONDS, NEAR_SHARE * long)
    # One odd stem makes no album: a 'Bass' may be played on a piano.
    songs = bool(faults) and ODD_SHARE * len(faults) >= len(stems)
    songs = songs and (len(faults) == len(tested) or not equal) and long >= MIN_SONG_SECONDS
    if not summed and (songs or not (equal or (near and tested))):
        reason = "; ".join(faults) if songs else (
            f"they last from {short:.1f} to {long:.1f} s, and none is the sum of the others"
        )
        return Verdict(
            TRACKS, f"they are called as stems are, but {reason}",
            _ordered(case, case.files), heard=True, firm=songs or not near,
        )  # fmt: skip
    for file in case.of(""):
        sound = case.sounds.get(file)
        if sound is not None and not _equal([sound], long):
            case.drop(
                file, f"it lasts {sound.seconds:.1f} s and the stems {long:.1f} s", track=True
            )
    told = f"all {long:.1f} s long" if equal else f"{short:.1f} to {long:.1f} s long"
    return _stems(case, f"named as stems, {told}")


def _drop_sums(case: _Case) -> None:
    # First what is most likely a mix: what is dropped is not looked at again.
    def order(files: list[Path]) -> list[Path]:
        return sorted((one for one in files if one in case.sounds),
                      key=lambda one: -power(case.sounds[one]))  # fmt: skip

    whole = [*order(case.of(MIX)), *order(case.of(""))]
    for file in (*whole, *order(case.of(REST)), *order(case.of())):
        gone = {one.path for one in case.left_out}
        others = [
            case.sounds[one] for one in case.files
            if one in case.sounds and one != file and one not in gone
        ]  # fmt: skip
        made = explain(case.sounds[file], others)
        least = {REST: 0.9, MIX: ALIKE, "": ALIKE}.get(case.parts[file].kind, SAME)
        partly = file in whole and made.share >= PARTLY and made.even
        if len(made.addends) >= 2 and (made.share >= least or partly):
            case.drop(file, _sum_of(case, file, made.addends))
    for file in case.of(MIX):
        case.drop(file, "it is the whole mix, by its name")


def _drop_held(case: _Case) -> None:
    # 'no_vocals' beside 'drums' only: the drums are in it, and would sound twice. Of several such
    # files one is kept, with the stem that it lacks.
    def lacking(file: Path) -> list[Path]:
        lacked = case.parts[file].name.removeprefix("no_")
        lacked = "vocals" if lacked == case.parts[file].name else lacked
        return [one for one in case.of()
                if lacked in (case.parts[one].name, case.parts[one].kind)]  # fmt: skip

    def rank(file: Path) -> tuple[bool, bool, str]:
        lacked = lacking(file)
        return not lacked, not any(case.parts[one].kind == "vocals" for one in lacked), file.name

    rests = [one for one in case.of(REST) if one in case.sounds]
    if not rests:
        return
    file, *more = sorted(rests, key=rank)
    for other in more:
        case.drop(other, f"{file.name} is played instead")
    others = [case.sounds[one] for one in case.of()
              if one in case.sounds and one not in lacking(file)]  # fmt: skip
    own = power(case.sounds[file])
    for path, gain in explain(case.sounds[file], others).gains.items():
        if gain >= HELD and power(case.sounds[path]) * gain**2 >= 0.02 * own:
            case.drop(path, f"it is in {file.name} already")


def _drop_copies(case: _Case) -> None:
    # The same stem twice, as WAV and as MP3.
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


def _fault(case: _Case, sound: Sound) -> str | None:
    """What a file's sound says against its name: a clause, or ""; None where it can't be told."""
    part = case.parts[sound.path]
    low, high = shares(sound)
    if part.kind == "bass":
        wrong = high > MAX_HIGH_OF_BASS
    elif part.kind == "vocals":
        wrong = low > MAX_LOW_OF_VOICE
    elif part.kind in ("keys", "guitar", "strings", "winds"):
        wrong = low > MAX_LOW_OF_KEYS and high > MAX_HIGH_OF_BASS
    else:
        return None
    return f"{sound.path.name} holds more than {part.name}" if wrong else ""


def _equal(sounds: Sequence[Sound], length: float | None = None) -> bool:
    lengths = [sound.seconds for sound in sounds] + ([length] if length is not None else [])
    if not lengths:
        return False
    return max(lengths) - min(lengths) <= max(SAME_SECONDS, SAME_SHARE * max(lengths))


def _stems(case: _Case, reason: str) -> Verdict:
    if not case.heard and len(case.of()) >= 2:
        for file in case.of(MIX):
            case.drop(file, "it is the whole mix, by its name")
    gone = {one.path for one in case.left_out}
    stems = _ordered(case, [file for file in case.files if file not in gone])
    lost = (
        replace(one, lost=_is_stem(case.parts[one.path]))
        for one in case.lost if case.parts[one.path].kind != MIX
    )  # fmt: skip
    return Verdict(STEMS, reason, stems, (*lost, *case.left_out), case.heard or len(case.files) < 2)


def _ordered(case: _Case, files: Sequence[Path]) -> tuple[StemFile, ...]:
    # Where two files have the same stem's name, both are called by their files' whole names.
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
    """What stems are sorted by: drums, bass, vocals, other, then the rest by name."""
    place: float = len(FIRST_STEMS)
    if stem.name in FIRST_STEMS:
        place = FIRST_STEMS.index(stem.name)
    elif stem.name in VOICES:
        place = FIRST_STEMS.index("vocals") + (1 + VOICES.index(stem.name)) / 10
    return place, stem.name.lower(), stem.path.name


def _sum_of(case: _Case, file: Path, addends: Sequence[Path]) -> str:
    # A separator that stopped early has left the end of the track to its mix alone.
    more = case.sounds[file].seconds - max(case.sounds[one].seconds for one in addends)
    rest = f", and goes on for {more:.1f} s behind them" if more > MAX_TAIL_SECONDS else ""
    return f"it is the sum of {_listed(addends)}{rest}"


def _listed(files: Sequence[Path]) -> str:
    names = ", ".join(file.name for file in files)
    return names if len(names) <= MAX_LISTED else f"{len(files)} others"
