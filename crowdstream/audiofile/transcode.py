"""Transcode files to FLAC, once, if their formats don't allow access exact to the frame.

AAC, WMA and Monkey's Audio streams can't be entered exactly, and libsndfile supports none of them.
PyAV (the optional extra `stems`) does, in a separate process (`transcoder.py`): files come from
untrusted sources, and a decoder crash must not end the loader. The output is one folder in the
cache for each version of a file (its path, size and modification time), with a FLAC file for each
stream and a note of irregularities. The FLAC file is then read like any other file, under the name
of its source.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdstream.audiofile import errors
from crowdstream.audiofile.containers.unplayable_formats import foreign_sound
from crowdstream.audiofile.errors import AudioFileError, DecoderMissing, FileUnreadable, NotAudio
from crowdstream.system.process import child_environment
from crowdstream.system.text import install_command, printable, truncate_bytes

# Extensions of audio that no deck can load directly, but that PyAV can decode.
TRANSCODED_EXTENSIONS = frozenset(
    {
        ".m4a", ".m4b", ".mp4", ".aac", ".alac", ".wma", ".ape", ".wv", ".mpc", ".tta", ".mka",
        ".mkv", ".webm", ".ac3", ".dts", ".ra", ".rm", ".amr", ".dsf", ".dff", ".spx", ".mp2",
        ".mp1", ".mpa", ".shn", ".tak", ".3gp",
    }
)  # fmt: skip
UNPACKED = ".unpacked"  # marks a complete folder; see `marker`
INSTALL = install_command("av>=15.1")
REMEDY = f"needs PyAV: {INSTALL}"
HEAD_BYTES = 64  # enough to identify a format
MAX_NAME_BYTES = 120  # of the part taken from a title: digests and an extension have to fit, too
MAX_LINE_BYTES = 1 << 16  # of a transcoder's output
MAX_AT_ONCE = 2  # files that a loader transcodes at a time
POLL_SECONDS = 0.2  # between calls of `progress`

Progress = Callable[[], None]
FlacOf = Callable[["Source", Progress], Path]
"""Finds the FLAC file of a source. Raises `AudioFileError`."""


@dataclass(frozen=True)
class Source:
    """An open file: path for error messages, descriptor, size in bytes, modification time in ns."""

    path: Path
    fd: int
    size: int
    mtime_ns: int

    @property
    def place(self) -> str:
        """Digest of the path, which the folder names of all versions of the file share."""
        return hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:12]

    def folder(self, cache: Path, title: str) -> Path:
        """Return the folder in `cache` for this version of the file."""
        state = hashlib.sha256(b"%d %d" % (self.size, self.mtime_ns)).hexdigest()[:12]
        return cache / f"{file_name(title)}-{self.place}-{state}"


def default_cache() -> Path:
    """Return `$XDG_CACHE_HOME/crowdstream/transcoded`; XDG_CACHE_HOME defaults to `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "crowdstream" / "transcoded"


@functools.cache
def can_transcode() -> bool:
    """Return whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def is_transcoded(name: str) -> bool:
    """Return whether a deck plays files with this name by transcoding them to FLAC."""
    return os.path.splitext(name)[1].lower() in TRANSCODED_EXTENSIONS


def missing_reason(name: str, kind: str = "") -> str:
    """Return the reason why a file can't be played without PyAV, with the command to install it.

    kind: name of the file's format, if known.
    """
    extension = os.path.splitext(name)[1].lower()
    return f"it is {kind}, which {REMEDY}" if kind else f"playing {extension} files {REMEDY}"


def needs_transcoding(path: Path, fd: int) -> bool:
    """Return whether the open file can't be played as it is, by its name or its first bytes.

    Raises DecoderMissing if the file can't be played at all because PyAV is not installed.
    """
    kind = foreign_sound(os.pread(fd, HEAD_BYTES, 0))
    if not kind and not is_transcoded(path.name):
        return False
    if not can_transcode():
        raise DecoderMissing(path, missing_reason(path.name, kind))
    return True


def cached_flac(source: Source) -> Path | None:
    """Return the FLAC file of a source that has been transcoded; None if it has not."""
    folder = source.folder(default_cache(), source.path.stem)
    return next(iter(flac_files(folder)), None) if is_complete(folder) else None


def transcode(source: Source, progress: Progress) -> Path:
    """Return the FLAC file of a source; transcode it first if necessary, and wait for that.

    progress: called every `POLL_SECONDS` while waiting. Raises `AudioFileError`.
    """
    found = cached_flac(source)
    if found is None:
        folder = start_transcription(source).wait(progress)
        found = next(iter(flac_files(folder)), None)
    if found is None:
        raise FileUnreadable(source.path, "its FLAC file is missing from the cache; load it again")
    return found


class NotTranscoded(Exception):
    """A file has to be transcoded before it can be opened, which takes seconds.

    transcription: the transcoding that has begun; None if others have to end first.
    """

    def __init__(self, transcription: Transcription | None) -> None:
        super().__init__("it has to be transcoded first")
        self.transcription = transcription


class BackgroundTranscoder:
    """A non-blocking `transcode`: start transcoding and raise `NotTranscoded`.

    At most `MAX_AT_ONCE` files are transcoded at a time.
    """

    def __init__(self) -> None:
        self._running: list[Transcription] = []

    def is_free(self) -> bool:
        """Return whether another file may be transcoded now."""
        self._running = [one for one in self._running if not one.done()]
        return len(self._running) < MAX_AT_ONCE

    def __call__(self, source: Source, _progress: Progress) -> Path:
        """Return the FLAC file of a transcoded source; raise NotTranscoded if there is none."""
        found = cached_flac(source)
        if found is not None:
            return found
        if not self.is_free():
            raise NotTranscoded(None)
        self._running.append(start_transcription(source))
        raise NotTranscoded(self._running[-1])


def start_transcription(source: Source) -> Transcription:
    """Start to transcode a file in a separate process. Raises `AudioFileError`."""
    cache = default_cache()
    return Transcription(source, source.folder(cache, source.path.stem), None)


def is_complete(folder: Path) -> bool:
    """Return whether a folder in the cache is complete, and mark it as used now.

    After a power failure, a FLAC file may be empty although its folder is marked as complete.
    """
    try:
        if _read_marker(folder).get("sizes") != _sizes(folder):
            return False
    except OSError:
        return False
    with contextlib.suppress(OSError):  # the cache may be read-only
        os.utime(folder / UNPACKED)
    return True


def flac_files(folder: Path) -> list[Path]:
    """Return the FLAC files of a source's streams, in their order."""
    return sorted(folder.glob("*.flac"))


def marker(folder: Path, warnings: Sequence[str]) -> str:
    """Return the contents of `UNPACKED` for the FLAC files in `folder`, as JSON.

    warnings: irregularities of the file that was transcoded.
    """
    return json.dumps({"warnings": list(warnings), "sizes": _sizes(folder)})


def warnings_of(folder: Path) -> tuple[str, ...]:
    """Return the irregularities of the file that was transcoded into `folder`."""
    try:
        return tuple(str(one) for one in _read_marker(folder).get("warnings", ()))
    except (OSError, TypeError):
        return ()


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in flac_files(folder)}


def _read_marker(folder: Path) -> dict[str, Any]:
    # Empty if it is damaged. Raises `OSError`.
    with (folder / UNPACKED).open("rb") as file:
        data = file.read(MAX_LINE_BYTES)
    try:
        about = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def file_name(text: str) -> str:
    """Return a file name made from arbitrary text."""
    plain = "".join(c if c.isalnum() or c in " ()_.+&'" else "_" for c in text)
    return truncate_bytes(plain.strip(" .")[:60], MAX_NAME_BYTES)


class Transcription:
    """A file that a separate process is transcoding into `folder`. For one thread at a time.

    stems: for a stem file, the names of its streams from the second one on; None to transcode only
    the file's best audio stream. The source's descriptor may be closed once this object exists.
    """

    def __init__(self, source: Source, folder: Path, stems: Sequence[str] | None) -> None:
        self._path = source.path
        self._folder = folder
        self._last_message: dict[str, Any] = {}
        self._partial_line = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._status = 0
        if not can_transcode():
            raise DecoderMissing(source.path, missing_reason(source.path.name))
        request = {
            "fd": source.fd, "name": os.fsdecode(source.path.name), "folder": str(folder),
            "place": source.place, "stems": stems if stems is None else list(stems),
        }  # fmt: skip
        try:
            self._process = launch(json.dumps(request), source.fd)
        except OSError as error:
            reason = f"it can't be transcoded ({os.strerror(error.errno or 0)})"
            raise FileUnreadable(source.path, reason) from None

    def done(self) -> bool:
        """Return whether the process has ended. Does not block."""
        process = self._process
        if process is None:
            return True
        assert process.stdout is not None
        while select.select([process.stdout], [], [], 0)[0]:
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                self._end()
                return True
            *lines, rest = (self._partial_line + data).split(b"\n")
            self._partial_line = rest[-MAX_LINE_BYTES:]
            for line in lines:
                with contextlib.suppress(ValueError):
                    self._last_message = json.loads(line)
        return False

    def wait(self, progress: Progress) -> Path:
        """Wait for the folder and return it. Raises the errors of `result`.

        progress: called every `POLL_SECONDS`.
        """
        try:
            while not self.done():
                assert self._process is not None and self._process.stdout is not None
                select.select([self._process.stdout], [], [], POLL_SECONDS)
                progress()
        finally:
            self.cancel()
        return self.result()

    def result(self) -> Path:
        """Return the folder once `done` has returned True. Raises `AudioFileError`."""
        if "error" in self._last_message:
            kind = getattr(errors, str(self._last_message["error"]), NotAudio)
            if not (isinstance(kind, type) and issubclass(kind, AudioFileError)):
                kind = NotAudio
            raise kind(self._path, printable(str(self._last_message.get("reason", ""))))
        if not self._last_message.get("done"):
            raise self._exit_error()
        return self._folder

    def cancel(self) -> None:
        """Kill the process if it is still running."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._status = process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _exit_error(self) -> AudioFileError:
        if self._status == -signal.SIGXCPU:
            reason = "its decoder hung; convert it to WAV or FLAC"
            return NotAudio(self._path, reason)
        if self._status in (-signal.SIGKILL, -signal.SIGTERM):
            return FileUnreadable(self._path, "its transcoding process was killed; load it again")
        reason = "its decoder crashed: the file is damaged; convert it to WAV or FLAC"
        return NotAudio(self._path, reason)


def launch(request: str, fd: int) -> subprocess.Popen[bytes]:
    """Start the process that performs a request; it ends when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "crowdstream.audiofile.transcoder", request],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(fd,),
        env=child_environment(),
        start_new_session=True,  # see `lower_priority`
    )  # fmt: skip
