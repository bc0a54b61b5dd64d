"""Checks the size fields of WAV and AIFF headers against the file that carries them.

libsndfile plays whatever is left of a file that was cut short and does not say so, and it
takes the zero that a streaming encoder leaves in its header as "no audio". Both are decided
here, before libsndfile sees the file.

Sources: Microsoft/IBM "Multimedia Programming Interface and Data Specifications 1.0" (RIFF),
EBU Tech 3306 (RF64), Sony "Wave64 file format" and Apple "AIFF-C, draft 8/26/91".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crowdstream.library.errors import EmptyAudio, TruncatedAudio

# What encoders that write into a pipe leave where the length goes, because they can't go back:
# ffmpeg all ones or zero, sox 0x7FFFF000, arecord the two values around 2 GiB.
UNKNOWN_LENGTHS = frozenset({0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000})
_W64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_MOST = 0xFFFFFFFF
_MAX_CHUNKS = 10_000  # a real file has a dozen; stops a walk through crafted zero-length chunks


@dataclass(frozen=True)
class Chunk:
    """One chunk of an IFF-like file; `at` and `size` are those of its body, in bytes."""

    tag: bytes
    at: int
    size: int


@dataclass(frozen=True)
class Head:
    """What to read in place of a file's bytes up to `end`, where its audio starts."""

    data: bytes
    end: int


def mended_header(fd: int, file_size: int, path: Path) -> Head | None:
    """What to put in place of the file's first bytes, or None where they are right as is.

    A replacement is made for files whose header says "length unknown" in a way that libsndfile
    reads as "empty", and for WAV files that have outgrown their header's 32 bits.

    Raises TruncatedAudio when the header claims more audio than there is, EmptyAudio when a
    WAV or AIFF file ends before its first frame.
    """
    start = os.pread(fd, 16, 0)
    if start[:4] in (b"RIFF", b"RF64", b"BW64") and start[8:12] == b"WAVE":
        return _mend_wave(fd, file_size, path)
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return _mend_aiff(fd, file_size, path)
    if start[:4] == b"riff" and start[4:16] == bytes.fromhex("2e91cf11a5d628db04c10000"):
        for chunk in _w64_chunks(fd, file_size):
            if chunk.tag == b"data":
                _refuse_short(path, chunk, file_size)
    return None


def _mend_wave(fd: int, file_size: int, path: Path) -> Head | None:
    big_size = None
    for chunk in _chunks(fd, file_size, "<"):
        if chunk.tag == b"ds64":
            big_size = int.from_bytes(os.pread(fd, 16, chunk.at)[8:], "little")
        if chunk.tag != b"data":
            continue
        riff_size = struct.unpack("<I", os.pread(fd, 4, 4))[0]
        if chunk.size == 0xFFFFFFFF and big_size not in (None, 0, 0xFFFFFFFFFFFFFFFF):
            _refuse_short(path, Chunk(b"data", chunk.at, big_size), file_size)
            return None
        rest = file_size - chunk.at
        if rest > _MOST and (chunk.size in UNKNOWN_LENGTHS or _wrapped(chunk.size, rest)):
            return _rf64(fd, chunk, rest, file_size)
        if chunk.size not in UNKNOWN_LENGTHS:
            _refuse_short(path, chunk, file_size)
            return None
        # An honest empty file counts the zero-length chunk, and what follows it, in its total.
        counts_what_follows = riff_size not in UNKNOWN_LENGTHS and riff_size + 8 > chunk.at
        if file_size <= chunk.at or (chunk.size == 0 and counts_what_follows):
            raise EmptyAudio(path, "it has a WAV header and no audio; export it again")
        if chunk.size >= rest:
            return None  # libsndfile takes "too much" as "to the end of the file"
        head = bytearray(os.pread(fd, chunk.at, 0))
        head[4:8] = struct.pack("<I", min(file_size - 8, _MOST))
        head[chunk.at - 4 : chunk.at] = struct.pack("<I", rest)
        return Head(bytes(head), chunk.at)
    raise TruncatedAudio(path, "its WAV header ends before any audio; copy or export it again")


def _mend_aiff(fd: int, file_size: int, path: Path) -> Head | None:
    comm: Chunk | None = None
    for chunk in _chunks(fd, file_size, ">"):
        if chunk.tag == b"COMM":
            comm = chunk
        if chunk.tag != b"SSND":
            continue
        if chunk.size not in UNKNOWN_LENGTHS:
            _refuse_short(path, chunk, file_size)
            return None
        if file_size <= chunk.at + 8:
            raise EmptyAudio(path, "it has an AIFF header and no audio; export it again")
        if comm is None:
            return None
        fields = os.pread(fd, 8, comm.at)
        if len(fields) < 8:
            return None
        channels, _, bits = struct.unpack(">hIh", fields)
        frame_bytes = channels * ((bits + 7) // 8)
        if frame_bytes <= 0:
            return None
        size = min((file_size - chunk.at), 0xFFFFFFFF)
        head = bytearray(os.pread(fd, chunk.at, 0))
        head[4:8] = struct.pack(">I", min(file_size - 8, 0xFFFFFFFF))
        head[comm.at + 2 : comm.at + 6] = struct.pack(">I", (size - 8) // frame_bytes)
        head[chunk.at - 4 : chunk.at] = struct.pack(">I", size)
        return Head(bytes(head), chunk.at)
    raise TruncatedAudio(path, "its AIFF header ends before any audio; copy or export it again")


def _wrapped(size: int, rest: int) -> bool:
    # Counted modulo 2**32, by a writer that took no notice; but for the padding.
    return rest - size >= 1 << 32 and (rest - size) % (1 << 32) <= 1


def _rf64(fd: int, data: Chunk, rest: int, file_size: int) -> Head:
    # The same header with 64-bit sizes, in a `ds64` chunk of 28 bytes (EBU Tech 3306).
    old = os.pread(fd, data.at, 0)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, file_size + 36 - 8, rest, 0, 0)
    unknown = b"\xff" * 4
    head = b"RF64" + unknown + b"WAVE" + sizes + old[12:-4] + unknown
    return Head(head, data.at)


def _refuse_short(path: Path, chunk: Chunk, file_size: int) -> None:
    held = max(0, file_size - chunk.at)
    if chunk.size > held:
        raise TruncatedAudio(
            path,
            f"its header claims {chunk.size} bytes of audio and the file holds {held}; "
            "copy or export it again",
        )


def _chunks(fd: int, file_size: int, order: str) -> Iterator[Chunk]:
    """Chunks of a RIFF ("<") or IFF (">") file, in order; bodies are padded to even lengths."""
    at = 12
    for _ in range(_MAX_CHUNKS):
        if at + 8 > file_size:
            return
        head = os.pread(fd, 8, at)
        if len(head) < 8:  # cut since its size was asked
            return
        size = struct.unpack(order + "I", head[4:])[0]
        yield Chunk(head[:4], at + 8, size)
        at += 8 + size + (size & 1)


def _w64_chunks(fd: int, file_size: int) -> Iterator[Chunk]:
    """Chunks of a Wave64 file: 16-byte names, sizes that include the 24 bytes before the body."""
    at = 40
    for _ in range(_MAX_CHUNKS):
        if at + 24 > file_size:
            return
        head = os.pread(fd, 24, at)
        size = int.from_bytes(head[16:24], "little")
        if size < 24 or head[4:16] != _W64_GUID_TAIL:
            return
        yield Chunk(head[:4], at + 24, size - 24)
        at += (size + 7) & ~7
