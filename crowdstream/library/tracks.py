"""Which files make up a track, and which folders files may come from."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crowdstream.inside import real_path, root_of
from crowdstream.library.errors import (
    EmptyAudio,
    FileMissing,
    FileUnreadable,
    OutsideMediaRoot,
    PermissionRefused,
    TooManyStems,
)

MAX_STEMS = 8
MOST_ENTRIES = 1000  # of a folder: control looks into it itself, and 100 000 would take it a second
AUDIO_EXTENSIONS = frozenset(
    {".wav", ".aif", ".aiff", ".aifc", ".flac", ".ogg", ".oga", ".mp3", ".rf64", ".w64"}
)
FIRST_STEMS = ("drums", "bass", "vocals", "other")
# What Demucs, Spleeter, Open-Unmix, UVR and the mastering desks of stem sellers call their files.
STEM_NAMES = frozenset(FIRST_STEMS) | {
    "accompaniment",
    "fx",
    "guitar",
    "instrumental",
    "keys",
    "melody",
    "no_vocals",
    "percussion",
    "piano",
    "strings",
    "synth",
}
_SAME_STEM = {
    "drum": "drums",
    "vocal": "vocals",
    "voice": "vocals",
    "vox": "vocals",
    "others": "other",
    "no vocals": "no_vocals",
    "guitars": "guitar",
}
MIX_NAMES = frozenset({"mix", "master", "mixture", "original"})


@dataclass(frozen=True)
class StemFile:
    """One stem: its name within the track, and its file."""

    name: str
    path: Path


@dataclass(frozen=True)
class TrackFiles:
    """A track: its name, and its one to eight stems in the order of the deck's channels."""

    name: str
    stems: tuple[StemFile, ...]


def find_stems(path: Path) -> TrackFiles:
    """The stems of the track at `path`: a file is one stem, a folder's audio files are several.

    The stem of a single file has the file's name without its extension. In a folder, a stem is
    named by a known stem name at the end of the file's name ('song_vocals.wav', 'song-(Drums)
    .wav'), or else by the whole name. The order is drums, bass, vocals, other, then the rest by
    name. Hidden files and files that are no audio by their extension are passed over, and so is
    a full mix that lies beside known stems. Files are not opened here.

    Raises FileMissing, PermissionRefused, FileUnreadable, EmptyAudio (no audio file in the
    folder), TooManyStems.
    """
    try:
        is_folder = path.is_dir()
        if not is_folder and not path.exists():
            raise FileMissing(path, "there is no such file or folder")
        if not is_folder:
            return TrackFiles(path.stem, (StemFile(path.stem, path),))
        files = _audio_files(path)
    except ValueError:
        raise FileMissing(path, "no file can have such a name") from None
    except PermissionError:
        raise PermissionRefused(path, "this user may not open it; change its permissions") from None
    except OSError as error:
        raise FileUnreadable(path, f"it can't be read ({os.strerror(error.errno or 0)})") from None
    stems = [StemFile(stem_name(file), file) for file in files]
    if any(stem.name in STEM_NAMES for stem in stems):
        stems = [stem for stem in stems if stem.name not in MIX_NAMES]
    if not stems:
        raise EmptyAudio(path, "the folder holds no audio file")
    if len(stems) > MAX_STEMS:
        raise TooManyStems(
            path,
            f"the folder holds {len(stems)} audio files and a deck has {MAX_STEMS} stems; "
            "name one file, or leave only the stems of one track in it",
        )
    # os.path.abspath gives '.' and 'x/..' a name, too.
    name = path.name or Path(os.path.abspath(path)).name or str(path)
    return TrackFiles(name, tuple(sorted(_with_own_names(stems), key=_place)))


def stem_name(file: Path) -> str:
    """The name of a stem by its file: a known stem name where there is one, else the file's stem.

    'Drums.wav' -> 'drums', 'my song - Bass.flac' -> 'bass', 'song_(Vocals).wav' -> 'vocals',
    'song_mix.wav' -> 'mix', 'Loop 3.wav' -> 'Loop 3'.
    """
    for part in (file.stem, *_endings(file.stem)):
        plain = part.strip(" ()[]").lower()
        plain = _SAME_STEM.get(plain, plain)
        if plain in STEM_NAMES or plain in MIX_NAMES:
            return plain
    return file.stem


def check_media_root(path: Path, roots: Sequence[Path]) -> Path:
    """The real path of `path`: absolute, without '~', '..' and symbolic links.

    Raises OutsideMediaRoot when there are `roots` and the real path is inside none of them (nor
    is one of them), FileMissing for a path that cannot exist or whose links run in a circle.
    """
    try:
        real = real_path(path)
        inside = not roots or root_of(real, roots) is not None
    except OSError:
        raise FileMissing(path, "there is no such file") from None
    if not inside:
        allowed = ", ".join(str(root) for root in roots)
        raise OutsideMediaRoot(path, f"it lies outside the media folders ({allowed})")
    return real


def _audio_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= MOST_ENTRIES:
                raise TooManyStems(
                    folder,
                    f"the folder holds more than {MOST_ENTRIES} files and a deck has {MAX_STEMS} "
                    "stems; name one file, or a folder with the stems of one track",
                )
            if _is_audio_file(entry):
                files.append(folder / entry.name)
    return sorted(files)


def _is_audio_file(entry: os.DirEntry[str]) -> bool:
    return (
        not entry.name.startswith(".")
        and os.path.splitext(entry.name)[1].lower() in AUDIO_EXTENSIONS
        and entry.is_file()
    )


def _endings(stem: str) -> list[str]:
    """What follows the last ' - ', '_', '-' or opening bracket, longest first."""
    endings = [stem[match.end() :] for match in re.finditer(r" - |_|-|(?=[(\[])", stem)]
    return endings[-2:]  # two: 'no_vocals' has a separator of its own


def _with_own_names(stems: list[StemFile]) -> list[StemFile]:
    """Where two files have the same stem name, both are called by their files' whole names."""
    names = [stem.name for stem in stems]
    return [
        stem if names.count(stem.name) == 1 else StemFile(stem.path.stem, stem.path)
        for stem in stems
    ]


def _place(stem: StemFile) -> tuple[int, str, str]:
    first = FIRST_STEMS.index(stem.name) if stem.name in FIRST_STEMS else len(FIRST_STEMS)
    return first, stem.name.lower(), stem.path.name
