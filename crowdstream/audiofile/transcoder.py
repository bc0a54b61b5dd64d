"""The process that transcodes one file with PyAV; see `transcode.py`.

Its only argument is the request; it inherits the open file. It replies in JSON lines on standard
output, exits when standard input closes, and runs at idle processor and disk priority. It is killed
if its decoder makes no progress for `MAX_STALL_SECONDS` of processor time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from crowdstream.audiofile.codec_messages import mute_c_libraries
from crowdstream.audiofile.containers.mp4 import Timing, read_timing
from crowdstream.audiofile.errors import (
    AudioFileError,
    EmptyAudio,
    FileUnreadable,
    NotAudio,
    TruncatedAudio,
    UnsupportedAudio,
)
from crowdstream.audiofile.stems.folder import MAX_STEMS
from crowdstream.audiofile.transcode import (
    UNPACKED,
    default_cache,
    file_name,
    is_complete,
    marker,
)
from crowdstream.system.private_dirs import create_private_folder
from crowdstream.system.process import lower_priority

# Demuxers that read one file and open no other: playlists and the like could name any file.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "aac", "asf", "asf_o", "ape", "wv", "mpc", "mpc8",
    "tta",
    "matroska", "webm", "ac3", "eac3", "dts", "dtshd", "rm", "amr", "dsf", "iff", "ogg", "mp3",
    "shn", "tak", "loas",
)  # fmt: skip
# Formats that declare their length.
_TIMED = frozenset({"matroska", "webm", "asf", "ape", "wv", "tta", "tak"})
LOSSLESS = frozenset(
    {"alac", "flac", "ape", "wavpack", "tta", "tak", "shorten", "wmalossless", "truehd", "mlp"}
)
MAX_STALL_SECONDS = 60  # of processor time without a decoded frame
MAX_SECONDS = 24 * 3600.0  # of audio: anything longer is not a track
MAX_CHANNELS = 8  # FLAC's maximum
MAX_LEAD_SECONDS = 600  # of silence that an edit list may insert before the audio
MAX_WARNINGS = 8
MIN_HOLE_SECONDS = 0.001
MAX_SHORTFALL_SECONDS = 0.1  # that may be missing at the end without a warning
PROGRESS_SECONDS = 0.5  # between progress messages
# Limit on FLAC files in the cache, about 300 tracks; the least recently used ones are deleted.
MAX_CACHE_BYTES = 10_000_000_000
MAX_CACHE_SHARE = 4  # or a quarter of the disk space available to the cache
MIN_AGE_SECONDS = 3600.0  # anything used more recently is kept, whatever its size
ABANDONED_SECONDS = 3600.0  # after which an unfinished folder is deleted

Send = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Request:
    """A file to be transcoded; see `transcode.Transcription`."""

    fd: int
    name: str
    folder: Path
    place: str
    stems: Sequence[str] | None

    @classmethod
    def of(cls, text: str) -> Request:
        """Parse a request from JSON."""
        made = json.loads(text)
        return cls(made["fd"], made["name"], Path(made["folder"]), made["place"], made["stems"])


def serve(text: str, send: Send) -> None:
    """Perform a request and send its result."""
    request = Request.of(text)
    try:
        perform(request, send)
    except AudioFileError as error:
        send({"error": type(error).__name__, "reason": error.reason})
    except (OSError, soundfile.LibsndfileError) as error:
        message = error.strerror if isinstance(error, OSError) else error.error_string
        reason = f"its FLAC file can't be written to the cache ({message}): is the disk full?"
        send({"error": FileUnreadable.__name__, "reason": reason})
    except MemoryError:
        reason = "there is not enough memory to decode it"
        send({"error": FileUnreadable.__name__, "reason": reason})
    else:
        send({"done": True})


def perform(request: Request, send: Send) -> None:
    """Transcode a file into its folder and clean up the cache.

    Raises `AudioFileError` and `OSError`.
    """
    cache = request.folder.parent
    if cache == default_cache():
        base = cache.parent
        create_private_folder(base.parent, base.name, cache.name)
    else:
        cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache, request.place):
        if is_complete(request.folder):
            return  # another process has transcoded it
        temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=cache))
        try:
            warnings = _decode(request, temporary, send)
            text = marker(temporary, warnings[:MAX_WARNINGS])
            (temporary / UNPACKED).write_text(text, encoding="ascii")
            if request.folder.is_dir() and not request.folder.is_symlink():
                # The folder's contents were partly deleted, or lost in a power failure.
                shutil.rmtree(request.folder, ignore_errors=True)
            os.rename(temporary, request.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    clean_up(request, limited=cache == default_cache())


def clean_up(request: Request, limited: bool) -> None:
    """Delete older versions of the file and abandoned folders from the cache.

    limited: also delete the least recently used files above the size limit.
    """
    cache, now = request.folder.parent, time.time()
    entries: list[tuple[float, int, Path]] = []
    for entry in list(cache.iterdir()):
        with contextlib.suppress(OSError):
            if entry.is_symlink() or not entry.is_dir():
                continue
            if entry.name.startswith(".unpacking-"):
                if now - _latest(entry) > ABANDONED_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)
            elif f"-{request.place}-" in entry.name and entry != request.folder:
                shutil.rmtree(entry, ignore_errors=True)
            elif (entry / UNPACKED).exists():
                size = sum(file.stat().st_size for file in entry.iterdir())
                entries.append(((entry / UNPACKED).stat().st_mtime, size, entry))
    if not limited:
        return
    used = sum(size for _, size, _ in entries)
    limit = min(MAX_CACHE_BYTES, (shutil.disk_usage(cache).free + used) // MAX_CACHE_SHARE)
    for at, size, entry in sorted(entries):
        if used <= limit or now - at < MIN_AGE_SECONDS:
            break
        shutil.rmtree(entry, ignore_errors=True)
        used -= size


def _latest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))


@contextlib.contextmanager
def _lock(cache: Path, place: str) -> Iterator[None]:
    # The page, a deck and the analysis may open a track at the same time: one transcodes it.
    lock = cache / f".{place}.lock"
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # without file locks, the work is done twice
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(fd)


def _decode(request: Request, folder: Path, send: Send) -> list[str]:
    """Write a FLAC file for each requested stream; return the warnings."""
    import av

    path = Path(request.name)
    if not os.fstat(request.fd).st_size:
        raise EmptyAudio(path, "the file is empty (0 bytes); copy or export it again")
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    streams: dict[int, _Stream] = {}
    try:
        with os.fdopen(os.dup(request.fd), "rb") as file:
            file.seek(0)
            with av.open(file, container_options=options) as container:
                streams = _select_streams(av, container, request, folder)
                _decode_all(av, container, streams, send)
        for one in streams.values():
            one.finish()
    except av.error.InvalidDataError:
        reason = "it is damaged, or was cut off; copy or export it again"
        raise TruncatedAudio(path, reason) from None
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise NotAudio(path, f"it can't be decoded ({error})") from None
    finally:
        for one in streams.values():
            one.close()
    silent = [one for one in streams.values() if not one.frames]
    if any(one.damaged for one in silent):
        raise TruncatedAudio(path, "nothing in it can be decoded; copy or export it again")
    if silent:
        fault = "it holds no audio" if request.stems is None else "one of its stems has no audio"
        raise EmptyAudio(path, f"{fault}; export it again")
    several = len(streams) > 1
    return [
        f"stem {number}: {warning}" if several else warning
        for number, one in enumerate(streams.values(), 1) for warning in one.warnings
    ]  # fmt: skip


def _select_streams(av: Any, container: Any, request: Request, folder: Path) -> dict[int, _Stream]:
    """Return the streams to be written, by their index in the container."""
    path = Path(request.name)
    found = list(container.streams.audio)
    if not found:
        raise NotAudio(path, "it holds no audio in a known format")
    if request.stems is None:
        best = container.streams.best("audio") or found[0]
        wanted = [(found.index(best), "sound")]
    else:
        # Stream 0 is the mix.
        numbers = range(1, min(len(found), 1 + MAX_STEMS))
        names = [*request.stems, *[""] * MAX_STEMS]
        wanted = [(number, names[number - 1]) for number in numbers]
        if not wanted:
            raise NotAudio(path, "it holds no stems, only a single audio stream")
    timings = _timings(container, request.fd, len(found))
    streams = {}
    for place, (number, name) in enumerate(wanted, 1):
        file = folder / f"{place} - {file_name(name) or 'stem'}.flac"
        stream = found[number]
        if stream.codec_context is None:
            raise UnsupportedAudio(path, "its codec is not known; convert it to WAV or FLAC")
        streams[stream.index] = _Stream(av, stream, path, file, timings[number])
    return streams


def _timings(container: Any, fd: int, count: int) -> list[Timing]:
    names = container.format.name.split(",")
    if "mp4" in names:
        found = read_timing(lambda size, at: os.pread(fd, size, at), os.fstat(fd).st_size)
        return found if len(found) == count else [Timing()] * count
    if container.duration and not container.streams.video and _TIMED.intersection(names):
        return [Timing(claimed=Fraction(container.duration, 1_000_000))] * count
    return [Timing()] * count


def _decode_all(av: Any, container: Any, streams: dict[int, _Stream], send: Send) -> None:
    """Decode up to the end or the first damage. Raises av.FFmpegError if nothing can be decoded."""
    sent_at = time.monotonic()
    packets = container.demux(*(one.stream for one in streams.values()))
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            if not any(one.frames for one in streams.values()):
                raise
            return  # the file is truncated
        if packet is None:
            return
        one = streams[packet.stream.index]
        try:
            frames = packet.decode()
        except av.FFmpegError:
            one.damaged = True
            continue
        for frame in frames:
            one.write(frame)
        if frames and time.monotonic() >= sent_at + PROGRESS_SECONDS:
            sent_at = time.monotonic()
            send({"seconds": round(one.frames / one.rate, 1)})


class _Stream:
    """Writer of one stream to one FLAC file: 24 bits if a lossless stream has them, otherwise 16.

    AAC decodes to floats whose accuracy does not exceed 16 bits.
    """

    def __init__(self, av: Any, stream: Any, path: Path, file: Path, timing: Timing) -> None:
        self.stream = stream
        self.frames = 0
        self.rate = 1
        self.warnings: list[str] = []
        self.damaged = False  # something before the next frame could not be decoded
        self._av = av
        self._path = path
        self._file = file
        self._timing = timing
        self._sound: soundfile.SoundFile | None = None
        self._channels = 0
        self._end = 0
        self._first_pts: Any = None
        self._convert: Any = None
        self._taken: tuple[str, str, int] | None = None
        self._layout, self._format = "", "s16"

    def write(self, frame: Any) -> None:
        """Write a decoded frame. Raises `AudioFileError`."""
        if self._sound is None:
            self._begin(frame)
        if self.damaged:
            self._fill_hole(frame)
        format_ = frame.format.name, frame.layout.name, frame.sample_rate
        if format_ != self._taken:
            self._flush()
            self._taken = format_
            self._convert = self._av.AudioResampler(
                format=self._format, layout=self._layout, rate=self.rate
            )
        for one in self._convert.resample(frame):
            self._write_samples(one.to_ndarray().reshape(-1, self._channels))

    def finish(self) -> None:
        """Write the resampler's remainder, and record a warning if audio is missing at the end."""
        self._flush()
        claimed = self._end
        if not claimed and self._timing.claimed:
            claimed = round(self._timing.claimed * self.rate)
        near = 0.0 if self.damaged else MAX_SHORTFALL_SECONDS * self.rate
        if self.frames and claimed - self.frames > near:
            held, whole = self.frames / self.rate, claimed / self.rate
            self.warnings.append(
                f"its header claims {whole:.1f} s of audio and the file holds {held:.1f} s: "
                f"{held:.1f} s to {whole:.1f} s are missing; copy or export it again"
            )

    def close(self) -> None:
        """Close the FLAC file."""
        if self._sound is not None:
            self._sound.close()

    def _begin(self, frame: Any) -> None:
        self.rate, self._channels = int(frame.sample_rate), int(frame.layout.nb_channels)
        self._layout, self._first_pts = frame.layout.name, frame.pts
        if not 1 <= self._channels <= MAX_CHANNELS:
            raise UnsupportedAudio(
                self._path, f"it has {self._channels} channels, and at most {MAX_CHANNELS} can be "
                "mixed down; export it in stereo"
            )  # fmt: skip
        codec = self.stream.codec_context.name
        lossless = codec in LOSSLESS or codec.startswith(("pcm_", "dsd_"))
        deep = lossless and frame.format.bits > 16
        self._format = "s32" if deep else "s16"  # 24-bit samples are in the upper bits of 32
        subtype = "PCM_24" if deep else "PCM_16"
        self._sound = soundfile.SoundFile(
            self._file, "w", self.rate, self._channels, subtype, format="FLAC"
        )
        lead = self._lead()
        if self._timing.length:
            self._end = round((lead + self._timing.length) * self.rate)
        self._write_silence(round(lead * self.rate))

    def _fill_hole(self, frame: Any) -> None:
        # Replace the undecodable part by silence, up to the next frame's time stamp.
        self.damaged = False
        here, there = self.frames, self.frames
        if frame.pts is not None and self._first_pts is not None and frame.time_base:
            seconds = self._lead() + (frame.pts - self._first_pts) * frame.time_base
            there = round(seconds * self.rate)
        if there - here < MIN_HOLE_SECONDS * self.rate:
            there = here
        self._write_silence(min(there - here, MAX_LEAD_SECONDS * self.rate))
        begin, end = here / self.rate, self.frames / self.rate
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(
                f"{begin:.1f} s to {end:.1f} s of it are damaged and play as silence; "
                "copy or export it again"
            )

    def _lead(self) -> Fraction:
        return min(Fraction(MAX_LEAD_SECONDS), self._timing.lead)

    def _write_silence(self, frames: int) -> None:
        while frames > 0:
            count = min(frames, 1 << 16)
            self._write_samples(np.zeros((count, self._channels), np.int16))
            frames -= count

    def _flush(self) -> None:
        if self._convert is not None:
            for one in self._convert.resample(None):
                self._write_samples(one.to_ndarray().reshape(-1, self._channels))
            self._convert = None

    def _write_samples(self, samples: np.ndarray) -> None:
        assert self._sound is not None
        if self._end:
            samples = samples[: max(0, self._end - self.frames)]
        if self.frames > MAX_SECONDS * self.rate:
            raise UnsupportedAudio(self._path, "it is longer than a day; split it")
        self.frames += len(samples)
        self._sound.write(samples)


def _exit_with_parent() -> None:
    # Runs in a separate thread, so that the parent's exit is noticed in the middle of a file.
    while os.read(0, 1 << 10):
        pass
    os._exit(0)


def main(arguments: list[str]) -> int:
    """Run the process. arguments: one request, as JSON."""
    lower_priority()
    mute_c_libraries()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # Anything that libraries print must not get between the replies: redirect it to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(line: dict[str, Any]) -> None:
        _extend_cpu_limit()
        out.write(json.dumps(line) + "\n")
        out.flush()

    _extend_cpu_limit()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(arguments[0], send)
    return 0


def _extend_cpu_limit() -> None:
    # Limit the processor time from now on; when it is used up, the kernel ends this process
    # (SIGXCPU).
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + MAX_STALL_SECONDS
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
