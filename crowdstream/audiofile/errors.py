"""What can be wrong with an audio file: one type per case, each a single readable line.

All of them carry `path` and `reason`; the reason is a short clause that says what to do where
there is something to do. They can be pickled, so that one process can hand them to another.
"""

from __future__ import annotations

import os
from pathlib import Path

from crowdstream.system.text import printable


class AudioFileError(Exception):
    """An audio file, or a folder of them, that cannot be used.

    path: what was asked for. reason: a clause without a full stop, fit to follow the path.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{printable(self.path)}: {printable(self.reason)}"


class FileMissing(AudioFileError):
    """There is no file or folder at that path."""


class IsDirectory(AudioFileError):
    """A single file was asked for and the path is a folder."""


class PermissionRefused(AudioFileError):
    """The operating system does not let this user read the file."""


class FileUnreadable(AudioFileError):
    """The operating system failed to open or read the file (a disk error, too many open files)."""


class NotAudio(AudioFileError):
    """The contents are not audio of a known format, whatever the name says."""


class UnsupportedAudio(AudioFileError):
    """It is audio, but of a kind that is not played (codec, channels, sample rate)."""


class DecoderMissing(UnsupportedAudio):
    """It is audio that an optional extra can decode, and the extra is not installed."""


class EmptyAudio(AudioFileError):
    """The file has no bytes, or a header and not one frame; or the folder has no audio file."""


class TruncatedAudio(AudioFileError):
    """The file holds less audio than its header claims, or it stops decoding part-way."""


class TooManyStems(AudioFileError):
    """A folder holds more audio files than one deck has stems."""


class NotOneTrack(AudioFileError):
    """A folder holds several tracks, or the stems of several, and was asked for as one."""


class FileChanged(AudioFileError):
    """The file was rewritten, cut or extended while it was open."""


class OutsideMediaRoot(AudioFileError):
    """The real path is in none of the folders that files may be played from."""
