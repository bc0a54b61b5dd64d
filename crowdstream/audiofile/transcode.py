"""Files of formats that can't be played from any place to the frame, transcoded to FLAC, once.

AAC, WMA or Monkey's Audio can't be entered exactly, and libsndfile knows none of them. PyAV (the
optional extra `stems`) does, in a process of its own (`transcoder.py`): files come from anywhere,
and what a decoder dies of must not end the loader. What it makes is a folder in the cache for each
version of a file (its path, size and time of change), with a FLAC file of each stream and a note on
what is odd; from there it is read like any other file, under the name of its source.
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
from crowdstream.system.child_environment import child_environment
from crowdstream.system.text import cut, install_command, printable

# Sound that no deck can load as it is, and that PyAV has decoders for.
TRANSCODED_EXTENSIONS = frozenset(
    {
        ".m4a", ".m4b", ".mp4", ".aac", ".alac", ".wma", ".ape", ".wv", ".mpc", ".tta", ".mka",
        ".mkv", ".webm", ".ac3", ".dts", ".ra", ".rm", ".amr", ".dsf", ".dff", ".spx", ".mp2",
        ".mp1", ".mpa", ".shn", ".tak", ".3gp",
    }
)  # fmt: skip
UNPACKED = ".unpacked"  # in each folder: JSON of what is odd; what lies in it is whole
INSTALL = install_command("av>=15.1")
REMEDY = f"needs PyAV: {INSTALL}"
HEAD_BYTES = 64  # that tell formats apart
MAX_NAME_BYTES = 120  # of what is taken from a title: digests and an ending have to fit, too
MAX_LINE_BYTES = 1 << 16  # of what a transcoder says
MAX_AT_ONCE = 2  # files that a loader has transcoded
POLL_SECONDS = 0.2  # between two calls of `progress`

Progress = Callable[[], None]
FlacOf = Callable[["Source", Progress], Path]
"""Finds the FLAC file of a file. Raises `AudioFileError`."""


@dataclass(frozen=True)
class Source:
    """A file that is open: its path for errors, its descriptor, size in bytes, and change in ns."""

    path: Path
    fd: int
    size: int
    mtime_ns: int

    @property
    def place(self) -> str:
        """What all versions of the file have in their folders' names."""
        return hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:12]

    def folder(self, cache: Path, title: str) -> Path:
        """Where this version of the file belongs in `cache`."""
        state = hashlib.sha256(b"%d %d" % (self.size, self.mtime_ns)).hexdigest()[:12]
        return cache / f"{file_name(title)}-{self.place}-{state}"


def default_cache() -> Path:
    """`~/.cache/crowdstream/transcoded`, or where XDG_CACHE_HOME says."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "crowdstream" / "transcoded"


@functools.cache
def can_transcode() -> bool:
    """Whether PyAV is there."""
    return importlib.util.find_spec("av") is not None


def is_transcoded(name: str) -> bool:
    """Whether a deck plays files of such a name by way of FLAC."""
    return os.path.splitext(name)[1].lower() in TRANSCODED_EXTENSIONS


def missing_reason(name: str, kind: str = "") -> str:
    """What a file of such a name needs where PyAV is not there. `kind`: what it is, if known."""
    extension = os.path.splitext(name)[1].lower()
    return f"it is {kind}, which {REMEDY}" if kind else f"playing {extension} files {REMEDY}"


def has_to_be_transcoded(path: Path, fd: int) -> bool:
    """Whether the open file can't be played as it is, by its name or its first bytes.

    Raises DecoderMissing where it can't be played at all, as PyAV is missing.
    """
    kind = foreign_sound(os.pread(fd, HEAD_BYTES, 0))
    if not kind and not is_transcoded(path.name):
        return False
    if not can_transcode():
        raise DecoderMissing(path, missing_reason(path.name, kind))
    return True


def find(source: Source) -> Path | None:
    """The FLAC file that a file has become; None where it has not, yet."""
    folder = source.folder(default_cache(), source.path.stem)
    return next(iter(flac_files(folder)), None) if is_whole(folder) else None


def transcode(source: Source, progress: Progress) -> Path:
    """The FLAC file that a file becomes; waits for it, with `progress` called now and then.

    Raises `AudioFileError`.
    """
    found = find(source)
    if found is None:
        folder = start(source).wait(progress)
        found = next(iter(flac_files(folder)), None)
    if found is None:
        raise FileUnreadable(source.path, "its FLAC file in the cache is gone; load it again")
    return found


class NotTranscoded(Exception):
    """A file has to be transcoded before it can be opened, which takes seconds.

    `transcription`: has begun; None where others have to end first.
    """

    def __init__(self, transcription: Transcription | None) -> None:
        super().__init__("it has to be transcoded first")
        self.transcription = transcription


class Starter:
    """As `transcode`, for a caller that must not wait: it begins, and raises `NotTranscoded`."""

    def __init__(self) -> None:
        self._running: list[Transcription] = []

    def is_free(self) -> bool:
        """Whether another file can be transcoded beside those that are."""
        self._running = [one for one in self._running if not one.done()]
        return len(self._running) < MAX_AT_ONCE

    def __call__(self, source: Source, _progress: Progress) -> Path:
        """The FLAC file that a file has become."""
        found = find(source)
        if found is not None:
            return found
        if not self.is_free():
            raise NotTranscoded(None)
        self._running.append(start(source))
        raise NotTranscoded(self._running[-1])


def start(source: Source) -> Transcription:
    """Begin to transcode a file."""
    cache = default_cache()
    return Transcription(source, source.folder(cache, source.path.stem), None)


def is_whole(folder: Path) -> bool:
    """Whether a folder in the cache is there; notes that it is used."""
    try:
        os.utime(folder / UNPACKED)
    except OSError:
        # It may be a cache that can only be read.
        return (folder / UNPACKED).exists()
    return True


def flac_files(folder: Path) -> list[Path]:
    """The streams of a file, in their order."""
    return sorted(folder.glob("*.flac"))


def warnings_of(folder: Path) -> tuple[str, ...]:
    """What is odd about the file that was transcoded into `folder`."""
    try:
        with (folder / UNPACKED).open("rb") as file:
            about = json.loads(file.read(MAX_LINE_BYTES) or b"{}")
        return tuple(str(one) for one in about.get("warnings", ()))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return ()


def file_name(text: str) -> str:
    """A name for a file, from a text that may hold anything."""
    plain = "".join(c if c.isalnum() or c in " ()_.+&'" else "_" for c in text)
    return cut(plain.strip(" .")[:60], MAX_NAME_BYTES)


class Transcription:
    """A file that is being transcoded into `folder`. Not for use from several threads.

    `stems`: names of its streams from the second on, for a stem file; else None, and its one stream
    of sound is taken. What it is given must stay open only while it is made.
    """

    def __init__(self, source: Source, folder: Path, stems: Sequence[str] | None) -> None:
        self._path = source.path
        self._folder = folder
        self._said: dict[str, Any] = {}
        self._rest = b""
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
        """Whether it has come to an end; does not wait."""
        process = self._process
        if process is None:
            return True
        assert process.stdout is not None
        while select.select([process.stdout], [], [], 0)[0]:
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                self._end()
                return True
            *lines, rest = (self._rest + data).split(b"\n")
            self._rest = rest[-MAX_LINE_BYTES:]
            for line in lines:
                with contextlib.suppress(ValueError):
                    self._said = json.loads(line)
        return False

    def wait(self, progress: Progress) -> Path:
        """The folder, when it is there. Raises as `result` does."""
        try:
            while not self.done():
                assert self._process is not None and self._process.stdout is not None
                select.select([self._process.stdout], [], [], POLL_SECONDS)
                progress()
        finally:
            self.cancel()
        return self.result()

    def result(self) -> Path:
        """The folder, after it is `done`. Raises `AudioFileError`."""
        if "error" in self._said:
            kind = getattr(errors, str(self._said["error"]), NotAudio)
            if not (isinstance(kind, type) and issubclass(kind, AudioFileError)):
                kind = NotAudio
            raise kind(self._path, printable(str(self._said.get("reason", ""))))
        if not self._said.get("done"):
            raise self._death()
        return self._folder

    def cancel(self) -> None:
        """End it, if it has not ended."""
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

    def _death(self) -> AudioFileError:
        if self._status == -signal.SIGXCPU:
            reason = "its decoder came to no end; convert it to WAV or FLAC"
            return NotAudio(self._path, reason)
        if self._status in (-signal.SIGKILL, -signal.SIGTERM):
            return FileUnreadable(self._path, "its transcoding was ended; load it again")
        return NotAudio(self._path, "its decoder has crashed: it is damaged; convert it to WAV")


def launch(request: str, fd: int) -> subprocess.Popen[bytes]:
    """The process that does a request. It ends when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "crowdstream.audiofile.transcoder", request],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(fd,),
        env=child_environment(),
        start_new_session=True,  # see `give_way`
    )  # fmt: skip
