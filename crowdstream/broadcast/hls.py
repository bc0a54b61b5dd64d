"""HTTP Live Streaming (RFC 8216): fragmented MP4 segments and a playlist in a folder.

Any web server or CDN can distribute the folder. FFmpeg's muxer, through PyAV, writes each file
under a temporary name first, so a client never reads half a playlist. Its playlist is published
with the titles of the tracks as date ranges.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
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
MUXED_PLAYLIST = ".muxed.m3u8"  # FFmpeg's, without the titles
TITLE_CLASS = "crowdstream.title"
SEGMENT_SECONDS, SEGMENTS = 4, 6  # defaults: length of a segment, and segments in the playlist
KEPT_SEGMENTS = 3  # that have left the playlist: clients may still be reading them
CHECK_SECONDS = 1.0  # between two looks at the space on the disk
MIN_FREE = 1 << 20  # bytes that stay free on the disk, and those of two more segments
AAC_RATES = (44100, 48000)
MAX_FLAC_RATE = 96000
_DATE = "#EXT-X-PROGRAM-DATE-TIME:"
_OWN_FILES = ("segment-*.m4s*", "init-*.mp4*", PLAYLIST + ".tmp", MUXED_PLAYLIST + ".tmp")


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
        titles = Titles(begin)
        try:
            container = self._open(folder, begin)
            try:
                stream = container.add_stream(self.target.format, rate=self.encoded_rate)
                stream.layout = "stereo"
                if self.target.bitrate:
                    stream.bit_rate = 1000 * self.target.bitrate
                container.start_encoding()  # which is when the playlist's dates begin
                titles.begin = time.time()
                self.take_frames()
                self._write(folder, container, stream, resampler, earlier, titles)
            finally:
                container.close()  # writes the last segment and ends the playlist
                publish(folder, titles)
        except self._av.FFmpegError as error:
            raise OutputError(f"{self.target.path}: {error.strerror}") from None

    def _open(self, folder: Path, begin: int) -> Any:
        target = self.target
        return self._av.open(
            str(folder / MUXED_PLAYLIST), "w", format="hls",
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
        self,
        folder: Path,
        container: Any,
        stream: Any,
        resampler: Any,
        earlier: list[Path],
        titles: Titles,
    ) -> None:
        position = 0
        begun = False
        playlist = folder / MUXED_PLAYLIST
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
            titles.set(*self.title, position / self.encoded_rate)
            position += len(samples)
            for packet in stream.encode(frame):
                self.sent += packet.size
                container.mux(packet)
            if (written := _stamp(playlist)) != stamp:
                stamp = written
                publish(folder, titles)
                if not begun:
                    # The playlist names no file of an earlier run any more.
                    begun = True
                    remove(earlier)
                    self.begin_sending()
            if time.monotonic() >= check_at:
                check_at = time.monotonic() + CHECK_SECONDS
                check_space(folder)
        for packet in stream.encode(None):
            container.mux(packet)


class Titles:
    """The titles of a playlist as date ranges (RFC 8216, section 4.3.2.7), for one thread.

    `begin`: Unix time of the first frame, as in the playlist's dates.
    """

    def __init__(self, number: int) -> None:
        """`number`: makes the identifiers differ from those of earlier runs."""
        self.begin = 0.0
        self._number = number
        self._count = 0
        self._shown: list[tuple[float, str]] = []
        self._latest = ("", "")

    def set(self, artist: str, title: str, seconds: float) -> None:
        """Receive the present title; if it is another one, it begins `seconds` after `begin`."""
        if (artist, title) == self._latest:
            return
        self._latest = (artist, title)
        self._count += 1
        at = datetime.fromtimestamp(self.begin + seconds, UTC)
        values = {
            "ID": f"title-{self._number}-{self._count}", "CLASS": TITLE_CLASS,
            "START-DATE": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "X-ARTIST": artist, "X-TITLE": title,
        }  # fmt: skip
        shown = ",".join(f'{name}="{_quoted(value)}"' for name, value in values.items() if value)
        self._shown.append((at.timestamp(), f"#EXT-X-DATERANGE:{shown},END-ON-NEXT=YES"))

    def lines(self, first: float) -> list[str]:
        """Return the tags for a playlist whose first segment begins at `first` (Unix time)."""
        while len(self._shown) > 1 and self._shown[1][0] <= first:
            del self._shown[0]
        return [line for _at, line in self._shown]


def _quoted(text: str) -> str:
    # A quoted string has neither double quotes nor line breaks.
    return "".join(one if one.isprintable() else " " for one in text.replace('"', "'"))


def publish(folder: Path, titles: Titles) -> None:
    """Write the playlist with its titles, atomically. Without one of the muxer, do nothing."""
    try:
        lines = (folder / MUXED_PLAYLIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    dates = [line for line in lines if line.startswith(_DATE)]
    first = datetime.fromisoformat(dates[0].removeprefix(_DATE)).timestamp() if dates else 0.0
    place = next((at for at, line in enumerate(lines) if line.startswith("#EXT-X-MAP")), len(lines))
    lines[place:place] = titles.lines(first)
    part = folder / f"{PLAYLIST}.tmp"
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(part, folder / PLAYLIST)


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
