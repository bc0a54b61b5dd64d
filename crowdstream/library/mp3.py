"""The length of MP3 files that do not carry it.

Without the Xing/Info tag that most encoders write, mpg123 (which libsndfile decodes MP3 with)
guesses the length from the first frame and the file's size: a little too long for constant-rate
files, and far off for variable-rate ones. Counting the frame headers gives the true number.
libsndfile never reads past its guess; where that is too short, a tag made here and put before
the first frame tells the decoder better.

Sources: ISO/IEC 11172-3 and 13818-3 (frame header); "Xing/Info tag" as written by LAME.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from crowdstream.library.splice import SplicedFile

_BIT_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s
_BIT_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_CHUNK = 1 << 20  # bytes read at a time while counting
# Places where a frame could begin and none does, over the whole file. Pictures between joined
# tracks have some thousand; a file made of nothing else would hold the loader up for hours.
_MOST_TRIES = 200_000


@dataclass(frozen=True)
class FrameHeader:
    """What a layer III frame's four header bytes say: its length in bytes, and its kind."""

    length: int
    mpeg1: bool
    mono: bool


def parse_header(head: bytes) -> FrameHeader | None:
    """The layer III frame header in the first four bytes of `head`, or None."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate, frequency = (head[1] >> 3) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or rate in (0, 15) or frequency == 3:
        return None
    mpeg1 = version == 3
    bits = (_BIT_RATES_1 if mpeg1 else _BIT_RATES_2)[rate] * 1000
    padding = (head[2] >> 1) & 1
    length = (144 if mpeg1 else 72) * bits // _SAMPLE_RATES[version][frequency] + padding
    return FrameHeader(length, mpeg1, head[3] >> 6 == 3)


@dataclass(frozen=True)
class Mp3Layout:
    """What a walk over the frame headers found.

    start, end: bytes of the first frame and after the last one. frames: sample frames that the
    audio decodes to, before any trimming. tagged: the file carries its own length.
    """

    start: int
    end: int
    frames: int
    tagged: bool


def survey(fd: int, size: int) -> Mp3Layout | None:
    """Walk over an MP3 file's frame headers; None when it does not start with layer III frames.

    fd: open descriptor, read with `pread` only. size: bytes. Takes one pass over the file,
    about 40 ms for an hour of music.
    """
    start = _after_id3(fd)
    head = os.pread(fd, 256, start)
    first = parse_header(head)
    if first is None:
        return None
    count, end = _count_frames(fd, start, size)
    tagged = any(tag in head for tag in (b"Xing", b"Info"))
    per_frame = 1152 if first.mpeg1 else 576
    return Mp3Layout(start, end, (count - tagged) * per_frame, tagged)


def with_length_tag(fd: int, layout: Mp3Layout) -> SplicedFile:
    """The MP3 file with a length tag in front of its first frame.

    mpg123 trims its own delay (529 frames) from the start of files that have such a tag.
    """
    head = os.pread(fd, 4, layout.start)
    first = parse_header(head)
    if first is None:
        raise ValueError("the file no longer starts with the frame that was found there")
    count = layout.frames // (1152 if first.mpeg1 else 576)
    tag = _length_tag(head, first, count, layout.end - layout.start)
    return SplicedFile(tag, fd, layout.start, layout.end)


def _after_id3(fd: int) -> int:
    head = os.pread(fd, 10, 0)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _count_frames(fd: int, start: int, size: int) -> tuple[int, int]:
    """Number of whole frames from byte `start` on, and where the last one ends.

    What is no frame (tags between tracks that were joined, damage) is stepped over; where there
    is too much of it, what follows does not count.
    """
    frames, at, end = 0, start, start
    tries = 0
    base, data = start, b""
    while at + 4 <= size:
        if at + 4 > base + len(data):
            base, data = at, os.pread(fd, _CHUNK, at)
            if len(data) < 4:
                break
        frame = parse_header(data[at - base : at - base + 4])
        if frame is None:
            found = data.find(b"\xff", at - base + 1)
            at = base + (found if found >= 0 else len(data))
            # A lone 0xFF is no frame: ask for a second header where the first one would end.
            ahead = parse_header(os.pread(fd, 4, at))
            while ahead is not None and parse_header(os.pread(fd, 4, at + ahead.length)) is None:
                at += 1
                tries += 1
                ahead = parse_header(os.pread(fd, 4, at))
            tries += 1
            if tries > _MOST_TRIES:
                break
            continue
        if at + frame.length > size:
            break
        frames += 1
        at += frame.length
        end = at
    return frames, end


def _length_tag(head: bytes, first: FrameHeader, frames: int, audio_bytes: int) -> bytes:
    """A silent frame of the same kind as the first, holding an "Info" tag.

    The tag starts after the side information: 32 bytes (17 in mono) in MPEG-1, 17 (9) in MPEG-2.
    The bit rate is the lowest one whose frame has room for it.
    """
    side = (17 if first.mono else 32) if first.mpeg1 else (9 if first.mono else 17)
    tag = b"Info" + struct.pack(">III", 3, frames, audio_bytes)
    for rate in range(1, 15):
        # No checksum (bit 0 of byte 1), no padding.
        own = bytes([0xFF, head[1] | 1, rate << 4 | head[2] & 0x0C, head[3]])
        frame = parse_header(own)
        if frame is not None and frame.length >= 4 + side + len(tag):
            return (own + bytes(side) + tag).ljust(frame.length, b"\0")
    raise AssertionError("the highest bit rate always has room")
