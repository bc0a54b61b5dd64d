"""The files that make up a track, and the folders from which files may be played."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdstream.audiofile.errors import (
    EmptyAudio,
    FileMissing,
    FileUnreadable,
    NotOneTrack,
    OutsideMediaRoot,
    PermissionRefused,
    TooManyStems,
)
from crowdstream.audiofile.stems.folder import (
    FIRST_STEMS,
    MAX_COMPARED,
    MAX_STEMS,
    STEMS,
    FileAccess,
    LeftOut,
    StemFile,
    Verdict,
    classify_by_audio,
    classify_by_names,
    unpacked,
)
from crowdstream.audiofile.stems.folder_cache import marks_of, recall, remember
from crowdstream.audiofile.stems.names import kind_of, plain_stem, read_name
from crowdstream.audiofile.transcode import (
    TRANSCODED_EXTENSIONS,
    UNPACKED,
    can_transcode,
    is_transcoded,
    missing_reason,
)
from crowdstream.system.safe_open import nearest_spelling, real_path, root_of

__all__ = [
    "AUDIO_EXTENSIONS",
    "FIRST_STEMS",
    "FOREIGN_EXTENSIONS",
    "MAX_ENTRIES",
    "MAX_STEMS",
    "UNPACKED",
    "LeftOut",
    "StemFile",
    "TrackFiles",
    "audio_extensions",
    "check_media_root",
    "find_stems",
    "find_stems_by_audio",
    "folder_verdict",
    "is_audio",
    "is_foreign",
    "is_stem_file",
    "kind_of",
    "left_out_values",
    "stem_name",
    "track_of",
]  # fmt: skip

# Of a folder: the control process lists it itself, and 100 000 entries would take it a second.
MAX_ENTRIES = 1000
# Everything that a deck can load directly. libsndfile's other formats (SDS, XI, ...) hold no music.
AUDIO_EXTENSIONS = frozenset(
    {
        ".wav", ".wave", ".bwf", ".bw64", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".caf", ".au",
        ".snd", ".voc", ".flac", ".ogg", ".oga", ".opus", ".mp3",
    }
)
STEM_FILE_ENDINGS = (".stem.mp4", ".stem.m4a")
# Audio that no deck can load. A stem with such an extension is reported, not ignored; so are files
# that would be transcoded, if PyAV is not installed.
FOREIGN_EXTENSIONS = frozenset({".ofr", ".mogg", ".rx2", ".rex"})


@dataclass(frozen=True)
class TrackFiles:
    """A track: its name, and its one to eight stems in the order of the deck's channels.

    left_out: files in its folder that are not played with it. heard: the audio of its files has
    been compared, now or earlier, if that was needed. Otherwise a mixdown may be among the stems,
    and there may be more than eight.
    """

    name: str
    stems: tuple[StemFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    is_final: bool = True


def find_stems(path: Path) -> TrackFiles:
    """Return the stems of the track at `path`: one for a file, several for a folder.

    No file is opened: if the names leave something open and no cached verdict exists, it stays open
    (see `TrackFiles.heard`). The stem of a single file is called by the file's name without its
    extension. In a folder, the order is drums, bass, vocals, other, then the rest by name. Hidden
    files and files without an audio extension are ignored.

    Raises FileMissing, PermissionRefused, FileUnreadable, EmptyAudio (no audio file in the folder),
    NotOneTrack, TooManyStems.
    """
    return _find(path, None)


def find_stems_by_audio(path: Path, access: FileAccess | None = None) -> TrackFiles:
    """Like `find_stems`, but compare the audio of a folder's files if that is needed.

    Takes about 5 ms for each WAV or FLAC file and 50 ms for each MP3, once per folder.
    """
    return _find(path, access or FileAccess())


def folder_verdict(folder: Path, access: FileAccess | None = None) -> Verdict | None:
    """Classify the audio files in a folder; None if there are none, or too many to be stems.

    access: how to open the files; if None, their audio is not compared. Raises OSError.
    """
    files, foreign = _audio_files(folder)
    if not files or len(files) + len(foreign) > MAX_ENTRIES:
        return None
    return _verdict(folder, files, foreign, access)


def _find(path: Path, access: FileAccess | None) -> TrackFiles:
    try:
        path = nearest_spelling(path)
        is_folder = path.is_dir()
        if not is_folder and not path.exists():
            raise FileMissing(path, "there is no such file or folder")
        if not is_folder:
            return TrackFiles(path.stem, (StemFile(path.stem, path),))
        files, foreign = _audio_files(path)
    except ValueError:
        raise FileMissing(path, "no file can have such a name") from None
    except PermissionError:
        raise PermissionRefused(path, "this user may not open it; change its permissions") from None
    except OSError as error:
        raise FileUnreadable(path, f"it can't be read ({os.strerror(error.errno or 0)})") from None
    if not files:
        raise EmptyAudio(path, _no_audio_reason(foreign))
    # os.path.abspath also resolves '.' and 'x/..' to a name.
    name = path.name or Path(os.path.abspath(path)).name or str(path)
    return track_of(path, name, _verdict(path, files, foreign, access))


def track_of(path: Path, name: str, verdict: Verdict) -> TrackFiles:
    """Return the track that a folder holds. Raises NotOneTrack and TooManyStems."""
    if verdict.not_stems:
        raise NotOneTrack(
            path, f"it does not hold the stems of one track: {verdict.reason}; load a single file"
        )
    stems, count = verdict.stems, len(verdict.stems)
    settled = verdict.is_final or verdict.kind != STEMS
    if count > (MAX_STEMS if settled else MAX_COMPARED):
        contents, remedy = "stems", "mix some of them together"
        if verdict.kind != STEMS:
            contents = "audio files"
            remedy = "load a single file, or leave only the stems of one track in it"
        raise TooManyStems(
            path, f"the folder holds {count} {contents} and a deck has {MAX_STEMS} stems; {remedy}"
        )
    return TrackFiles(name, stems, verdict.left_out, verdict.is_final)


def left_out_values(left_out: Sequence[LeftOut]) -> list[list[Any]]:
    """Return the files left out as values for JSON: file name, reason, whether the stem is lost."""
    return [[one.path.name, one.reason, one.lost] for one in left_out]


def stem_name(file: Path) -> str:
    """Return a stem's name by its file: a known stem name, or else the file name.

    'Drums.wav' -> 'drums', 'my song - Bass.flac' -> 'bass', 'song_(Vocals).wav' -> 'vocals',
    'song_mix.wav' -> 'mix', 'Loop 3.wav' -> 'Loop 3'.
    """
    return read_name(plain_stem(file.name)).name


def check_media_root(path: Path, roots: Sequence[Path]) -> Path:
    """Return the real path of `path`: absolute, without '~', '..' and symbolic links.

    Raises OutsideMediaRoot if there are `roots` and the real path is neither inside one of them nor
    one of them, and FileMissing for a path that can't exist or whose links are circular.
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


def is_audio(name: str) -> bool:
    """Return whether a deck can load a file with this name; False for stem files.

    Stem files have to be unpacked first.
    """
    if os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS:
        return True
    return can_transcode() and is_transcoded(name) and not is_stem_file(name)


def is_foreign(name: str) -> bool:
    """Return whether a file with this name holds audio that no deck can load.

    False for stem files, which are unpacked.
    """
    if is_stem_file(name):
        return False
    known = os.path.splitext(name)[1].lower() in FOREIGN_EXTENSIONS
    return known or (is_transcoded(name) and not can_transcode())


def is_stem_file(name: str) -> bool:
    """Return whether a file with this name holds several stems."""
    return name.lower().endswith(STEM_FILE_ENDINGS)


def audio_extensions() -> list[str]:
    """Return the extensions of all files that a deck can load on this machine."""
    return sorted(AUDIO_EXTENSIONS | (TRANSCODED_EXTENSIONS if can_transcode() else frozenset()))


def foreign_reason(name: str) -> str:
    """Return why a file in a foreign format can't be played."""
    kind = os.path.splitext(name)[1].lower()
    if is_transcoded(name):
        return missing_reason(name)
    return f"{kind} files can't be played; convert it to WAV or FLAC"


def _no_audio_reason(foreign: Sequence[Path]) -> str:
    if not foreign:
        return "the folder holds no audio file"
    names = ", ".join(file.name for file in foreign[:MAX_STEMS])
    more = f" and {len(foreign) - MAX_STEMS} more" if len(foreign) > MAX_STEMS else ""
    remedy = "convert them to WAV or FLAC"
    if any(is_transcoded(file.name) for file in foreign):
        remedy = missing_reason(next(file.name for file in foreign if is_transcoded(file.name)))
    return f"the folder holds no audio file that can be played, only {names}{more}: {remedy}"


def _verdict(
    folder: Path, files: Sequence[Path], foreign: Sequence[Path], access: FileAccess | None
) -> Verdict:
    lost = tuple(LeftOut(file, foreign_reason(file.name), lost=True) for file in foreign)
    found = classify_by_names(files, lost)
    if (folder / UNPACKED).exists():
        return unpacked(files)
    if found.is_final:
        return found
    known = recall(folder, files, foreign)
    if known is None and access is not None:
        marks = marks_of(files, foreign)
        known = classify_by_audio(files, lost, access)
        remember(folder, marks, known)
    return known or found


def _audio_files(folder: Path) -> tuple[list[Path], list[Path]]:
    # Loadable files, and audio files that can't be loaded.
    files: list[Path] = []
    foreign: list[Path] = []
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= MAX_ENTRIES:
                raise TooManyStems(
                    folder,
                    f"the folder holds more than {MAX_ENTRIES} files and a deck has {MAX_STEMS} "
                    "stems; load a single file, or a folder with the stems of one track",
                )
            if entry.name.startswith("."):
                continue
            if is_audio(entry.name) and entry.is_file():
                files.append(folder / entry.name)
            elif is_foreign(entry.name) and entry.is_file():
                foreign.append(folder / entry.name)
    return sorted(files), sorted(foreign)
