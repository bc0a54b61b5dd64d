"""Errors of audio files: one exception type per fault, each with a one-line message.

Every error carries `path` and `reason`. The reason is a short clause that names the fault and,
where there is one, the remedy. The exceptions can be pickled and so passed between processes.
"""

from __future__ import annotations

import os
from pathlib import Path

from crowdstream.system.text import printable


class AudioFileError(Exception):
    """An audio file, or a folder of audio files, that cannot be used.

    path: the path that the caller passed. reason: a clause without a full stop that reads well
    after the path.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{printable(self.path)}: {printable(self.reason)}"


class FileMissing(AudioFileError):
    """No file or folder exists at the path."""


class IsDirectory(AudioFileError):
    """The caller requested a single file, but the path is a folder."""


class PermissionRefused(AudioFileError):
    """The user that runs this process has no permission to read the file."""


class FileUnreadable(AudioFileError):
    """The operating system failed to open or read the file (a disk error, too many open files)."""


class NotAudio(AudioFileError):
    """The contents are not audio in a known format, whatever the file's extension."""


class UnsupportedAudio(AudioFileError):
    """The file is audio, but its codec, channel count or sample rate is not supported."""


class DecoderMissing(UnsupportedAudio):
    """Decoding the file requires an optional extra that is not installed."""


class EmptyAudio(AudioFileError):
    """The file has no bytes, or a header and no frames; or the folder holds no audio file."""


class TruncatedAudio(AudioFileError):
    """The file holds less audio than its header claims, or decoding stops part-way."""


class TooManyStems(AudioFileError):
    """The folder holds more audio files than a deck has stems."""


class NotOneTrack(AudioFileError):
    """The caller requested a folder as one track, but it holds several tracks or their stems."""


class FileChanged(AudioFileError):
    """The file was overwritten, truncated or extended while it was open."""


class OutsideMediaRoot(AudioFileError):
    """The real path lies outside every folder from which files may be played."""
