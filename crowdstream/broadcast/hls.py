"""HTTP Live Streaming (RFC 8216): fragmented MP4 segments and a playlist in a folder.

Any web server or CDN can distribute the folder. FFmpeg's muxer, through PyAV, writes each file
under a temporary name first, so a client never reads half a playlist.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from crowdstream.broadcast.outputs import Output, OutputError
from crowdstream.broadcast.target import Target
from crowdstream.system.safe_open import open_inside
from crowdstream.system.text import install_command

PLAYLIST = "live.m3u8"
SEGMENT_SECONDS, SEGMENTS = 4, 6  # defaults: length of a segment, and segments in the playlist
KEPT_SEGMENTS = 3  # that have left the playlist: clients may still be reading them
CHECK_SECONDS = 1.0  # between two looks at the space on the disk
MIN_FREE = 1 << 20  # bytes that stay free on the disk, and those of two more segments
AAC_RATES = (44100, 48000)
MAX_FLAC_RATE = 96000
_OWN_FILES = ("segment-*.m4s*", "init-*.mp4*", PLAYLIST + ".tmp")


class HlsOutput(Output):
    """Writes one folder."""

    def __init__(
        self,
        number: int,
        target: Target,
        rate: float,
        report: Callable[[dict[str, Any]], None],
        roots: Sequence[Path] = (),
    ) -> None:
        """Raises `ImportError` if PyAV is not installed. The folder must lie inside `roots`."""
        super().__init__(number, target, rate, report)
        self._roots = roots
        try:
            import av
        except ImportError:
            command = install_command("av>=15.1")
            raise ImportError(f"HLS needs PyAV: install it with {command}") from None
        self._av = av
        rates = range(8000, MAX_FLAC_RATE + 1) if target.format == "flac" else AAC_RATES
        self.encoded_rate = int(rate) if int(rate) == rate and int(rate) in rates else 48000

    def session(self) -> None:
        """Write segments until the output is stopped, or the disk refuses them."""
        try:
            fd = open_folder(Path(self.target.path), self._roots)
        except OSError as error:
            raise OutputError(f"{self.target.path}: {error.strerror}") from None
        try:
            # The folder that was checked, even if its name is replaced by a link meanwhile.
            self._write_folder(Path(f"/proc/self/fd/{fd}"))
        finally:
            os.close(fd)

    def _write_folder(self, folder: Path) -> None:
        check_space(folder)
        earlier = own_files(folder)
        resampler = None
        if self.encoded_rate != self.rate:
            resampler = soxr.ResampleStream(self.rate, self.encoded_rate, 2, dtype="float32")
        begin = max(int(time.time()), 1 + max(map(_number, earlier), default=0))
        try:
            container = self._open(folder, begin)
            try:
                stream = container.add_stream(self.target.format, rate=self.encoded_rate)
                stream.layout = "stereo"
                if self.target.bitrate:
                    stream.bit_rate = 1000 * self.target.bitrate
                self.take_frames()
                self._write(folder, container, stream, resampler, earlier)
            finally:
                container.close()  # writes the last segment and ends the playlist
        except self._av.FFmpegError as error:
            raise OutputError(f"{self.target.path}: {error.strerror}") from None

    def _open(self, folder: Path, begin: int) -> Any:
        target = self.target
        return self._av.open(
            str(folder / PLAYLIST), "w", format="hls",
            options={
                "hls_segment_type": "fmp4",
                "hls_time": str(target.number("segment", SEGMENT_SECONDS)),
                "hls_list_size": str(target.number("segments", SEGMENTS)),
                "hls_delete_threshold": str(KEPT_SEGMENTS),
                "hls_flags": "delete_segments+temp_file+program_date_time+independent_segments",
                # Media sequence numbers never repeat, even after a restart.
                "start_number": str(begin),
                "hls_segment_filename": str(folder / f"segment-{begin}-%d.m4s"),
                "hls_fmp4_init_filename": f"init-{begin}.mp4",
            },
        )  # fmt: skip

    def _write(
        self, folder: Path, container: Any, stream: Any, resampler: Any, earlier: list[Path]
    ) -> None:
        position = 0
        begun = False
        playlist = folder / PLAYLIST
        stamp = _stamp(playlist)
        check_at = 0.0
        while not self.stopped:
            block = self.take()
            if block is None:
                continue
            samples = resampler.resample_chunk(block) if resampler else block
            if not len(samples):
                continue
            frame = self._av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts = self.encoded_rate, position
            frame.time_base = Fraction(1, self.encoded_rate)
            position += len(samples)
            for packet in stream.encode(frame):
                self.sent += packet.size
                container.mux(packet)
            if not begun and _stamp(playlist) != stamp:
                # The playlist names no file of an earlier run any more.
                begun = True
                remove(earlier)
                self.begin_sending()
            if time.monotonic() >= check_at:
                check_at = time.monotonic() + CHECK_SECONDS
                check_space(folder)
        for packet in stream.encode(None):
            container.mux(packet)


def open_folder(path: Path, roots: Sequence[Path]) -> int:
    """Open a folder inside `roots` and return its descriptor; make it if it is missing.

    Raises `OSError`, also if part of the path has become a link meanwhile.
    """
    try:
        return open_inside(path, roots, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        parent = open_inside(path.parent, roots, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.mkdir(path.name, dir_fd=parent)
        finally:
            os.close(parent)
    return open_inside(path, roots, os.O_RDONLY | os.O_DIRECTORY)


def check_space(folder: Path) -> None:
    """Raise `OutputError` if the disk is almost full.

    FFmpeg's muxer reports no error when a disk is full: it would leave an empty playlist.
    """
    sizes = [0]
    for path in folder.glob("segment-*.m4s"):
        with contextlib.suppress(OSError):  # the muxer has just removed it
            sizes.append(path.stat().st_size)
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < max(MIN_FREE, 2 * max(sizes)):
        raise OutputError("the disk is almost full")


def own_files(folder: Path) -> list[Path]:
    """The segments in a folder, with their beginnings and temporary files."""
    return [path for pattern in _OWN_FILES for path in folder.glob(pattern)]


def _number(path: Path) -> int:
    # The media sequence number of a segment; of its beginning, that of the first segment.
    return sum(map(int, re.findall(r"\d{1,18}", path.stem)))


def remove(files: list[Path]) -> None:
    """Remove files; those that can't be removed stay."""
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns
