"""How long an audio file is, by its header alone: for lists of files, where decoding is too slow.

No decoder looks at the file, so none can be led astray by a crafted one. What is not known is
None; a damaged header may say too much, and the loader finds that out.

Sources: as in `headers`, `mp3` and `tags`; xiph.org "FLAC format" (STREAMINFO) and "Vorbis I
specification" 4.2.2; RFC 7845 (Opus: 48 kHz); gabriel-bouvigne's "MP3 Info Tag" (Xing, Info).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from crowdstream.inside import open_to_read
from crowdstream.library.mp3 import parse_header

MOST_CHUNKS = 200
TAIL = 1 << 16  # bytes at the end of an Ogg file, in which its last page begins
SCAN = 1 << 12  # bytes after the tags of an MP3 file, in which its first frame begins
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_OPUS_RATE = 48000


def length_of(path: Path, roots: Sequence[Path] = ()) -> float | None:
    """Seconds that the file lasts, None where its header does not say. Never raises `OSError`."""
    try:
        with open_to_read(path, roots) as file:
            fd = file.fileno()
            seconds = _length(fd, os.fstat(fd).st_size)
    except (OSError, ArithmeticError, ValueError, struct.error):
        return None
    return seconds if seconds is not None and 0 < seconds < 1e7 else None


def _length(fd: int, size: int) -> float | None:
    head = os.pread(fd, 64, 0)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _of_wave(fd, size)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _of_aiff(fd)
    if head[:4] == b"riff":
        return _of_wave64(fd, size)
    if head[:4] == b"fLaC":
        return _of_flac(head)
    if head[:4] == b"OggS":
        return _of_ogg(fd, size)
    return _of_mp3(fd, size, head)


def _of_wave(fd: int, size: int) -> float | None:
    at, per_second, big = 12, 0, 0
    for _ in range(MOST_CHUNKS):
        head = os.pread(fd, 8, at)
        if len(head) < 8:
            break
        name, length = head[:4], int.from_bytes(head[4:], "little")
        if name == b"ds64":
            big = int.from_bytes(os.pread(fd, 8, at + 16), "little")
        elif name == b"fmt ":
            per_second = int.from_bytes(os.pread(fd, 4, at + 16), "little")
        elif name == b"data":
            if length == 0xFFFFFFFF and big:
                length = big
            return min(length or size, size - at - 8) / per_second
        at += 8 + length + (length & 1)
    return None


def _of_wave64(fd: int, size: int) -> float | None:
    at, per_second = 40, 0
    for _ in range(MOST_CHUNKS):
        head = os.pread(fd, 24, at)
        length = int.from_bytes(head[16:24], "little")
        if len(head) < 24 or length < 24:
            break
        if head[:4] == b"fmt ":
            per_second = int.from_bytes(os.pread(fd, 4, at + 32), "little")
        elif head[:4] == b"data":
            return min(length - 24, size - at - 24) / per_second
        at += (length + 7) & ~7
    return None


def _of_aiff(fd: int) -> float | None:
    at = 12
    for _ in range(MOST_CHUNKS):
        head = os.pread(fd, 8, at)
        if len(head) < 8:
            break
        length = int.from_bytes(head[4:], "big")
        if head[:4] == b"COMM":
            _channels, frames, _bits, power, mantissa = struct.unpack(
                ">hIhHQ", os.pread(fd, 18, at + 8)
            )
            # The rate is an 80-bit float: 63 bits of fraction, exponent biased by 16383.
            return float(frames / (mantissa * 2.0 ** ((power & 0x7FFF) - 16383 - 63)))
        at += 8 + length + (length & 1)
    return None


def _of_flac(head: bytes) -> float | None:
    packed = int.from_bytes(head[18:26], "big")  # rate 20 bits, 3, 5, samples 36 bits
    samples, rate = packed & ((1 << 36) - 1), packed >> 44
    return samples / rate if samples else None


def _of_ogg(fd: int, size: int) -> float | None:
    first = os.pread(fd, 128, 0)
    start = first.find(b"\x01vorbis")
    if start >= 0:
        rate = int.from_bytes(first[start + 12 : start + 16], "little")
    elif b"OpusHead" in first:
        rate = _OPUS_RATE
    else:
        return None
    tail = os.pread(fd, TAIL, max(0, size - TAIL))
    last = tail.rfind(b"OggS")
    granule = int.from_bytes(tail[last + 6 : last + 14], "little", signed=True)
    return granule / rate if last >= 0 and granule > 0 else None


def _of_mp3(fd: int, size: int, head: bytes) -> float | None:
    start = 0
    if head[:3] == b"ID3":
        for byte in head[6:10]:
            start = start << 7 | byte & 0x7F
        start += 10 + (10 if head[5] & 0x10 else 0)
    data = os.pread(fd, SCAN, start)
    for at in range(max(0, len(data) - 4)):
        frame = parse_header(data[at : at + 4]) if data[at] == 0xFF else None
        if frame is None:
            continue
        rate = _MP3_RATES[(data[at + 1] >> 3) & 3][(data[at + 2] >> 2) & 3]
        seconds = (1152 if frame.mpeg1 else 576) / rate
        for name in (b"Xing", b"Info"):
            tag = data.find(name, at, at + 64)
            if tag >= 0 and data[tag + 7] & 1:
                return int.from_bytes(data[tag + 8 : tag + 12], "big") * seconds
        frames = (size - start - at) / frame.length
        return frames * seconds if frames >= 1 else None
    return None
