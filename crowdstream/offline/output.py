"""The output sound file, which appears complete under its name or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile

from crowdstream.system.text import printable, truncate_bytes

FORMATS = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
CONTAINERS = {".wav": "RF64", ".flac": "FLAC"}
# A libsndfile command without a name in soundfile: a file below 4 GB becomes a plain WAV.
_RF64_AUTO_DOWNGRADE = 0x1210
_PROBE = bytes(1 << 16)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class OutputError(RuntimeError):
    """The file can't be written; the message gives the file, the reason and the remedy."""


def open_output(fd: int, sample_rate: int, channels: int, container: str, format: str) -> Any:
    """Return a `SoundFile` that writes to `fd` and closes it. `format` is a key of `FORMATS`."""
    file = soundfile.SoundFile(fd, "w", sample_rate, channels, FORMATS[format], format=container)
    if container == "RF64":
        soundfile._snd.sf_command(file._file, _RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
    return file


class Output:
    """Writes a temporary file, which `finish` renames to `path`; without it, nothing remains.

    The format is WAV (RF64 above 4 GB) or FLAC, depending on the extension. Raises `OutputError`.
    """

    def __init__(self, path: Path, sample_rate: int, format: str, channels: int = 2) -> None:
        self.path = path
        container = CONTAINERS.get(path.suffix.lower())
        if container is None:
            raise self._refusal("its name must end in .wav or .flac")
        if container == "FLAC" and format == "float":
            raise self._refusal("FLAC does not support floats; use .wav, or --format 24")
        # A device or pipe must not be replaced.
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(path.stat().st_mode):
                raise self._refusal("it exists and is not a regular file; choose another name")
        self._part = path.with_name(f".{truncate_bytes(path.name, 200)}.{os.getpid()}.part")
        _remove_stale_parts(self._part)
        try:
            self._fd = os.open(self._part, _FLAGS, 0o666)
        except OSError as error:
            raise self._refusal(f"{error.strerror}; choose another folder") from None
        try:
            self._file = open_output(os.dup(self._fd), sample_rate, channels, container, format)
        except soundfile.LibsndfileError as error:
            reason = self._reason(error)
            self._remove()
            raise self._refusal(reason) from None

    def write(self, samples: np.ndarray) -> None:
        """Write float32 samples of shape `(frames, channels)`."""
        try:
            self._file.write(samples)
        except (AssertionError, soundfile.LibsndfileError) as error:  # a partial write
            raise self._refusal(self._reason(error)) from None

    def finish(self) -> None:
        """Complete the file and rename it to `path`."""
        try:
            self._file.close()
            os.replace(self._part, self.path)
        except soundfile.LibsndfileError as error:
            raise self._refusal(self._reason(error)) from None
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from None

    def _reason(self, error: Exception) -> str:
        # libsndfile does not report the reason; the system reports it for another small write.
        try:
            os.lseek(self._fd, 0, os.SEEK_END)
            os.write(self._fd, _PROBE)
        except OSError as refused:
            return f"{refused.strerror}; free some space, or choose another folder"
        return str(error) or "the system wrote only part of it"

    def _refusal(self, reason: str) -> OutputError:
        return OutputError(f"{printable(self.path)} can't be written: {reason}")

    def _remove(self) -> None:
        os.close(self._fd)
        with contextlib.suppress(OSError):
            os.unlink(self._part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(soundfile.LibsndfileError):
            self._file.close()
        self._remove()


def _remove_stale_parts(part: Path) -> None:
    # Temporary files of killed renders to the same file.
    beginning = part.name.rpartition(f".{os.getpid()}.")[0]
    with contextlib.suppress(OSError):
        for other in part.parent.glob(f"{glob.escape(beginning)}.*.part"):
            number = other.name[len(beginning) + 1 : -len(".part")]
            if number.isdecimal() and not _runs(int(number)):
                other.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
