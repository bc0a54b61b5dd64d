"""Ogg pages: build and split them (RFC 3533), and FLAC in Ogg (xiph.org/flac/ogg_mapping.html)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

BEGIN, END = 2, 4  # flags of the first and the last page of a logical stream
CONTINUED = 1
_PAGE = struct.Struct("<4sBBqIIIB")
_CHECKSUM_AT = 22
MAX_SEGMENTS = 255

# Ogg's checksum has zlib's polynomial, but takes the bits of each byte in the other order, and
# begins and ends without inversion. Reversed bytes through zlib are a hundred times as fast as a
# loop in Python.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(data: bytes) -> int:
    """Ogg's CRC-32 of a page whose checksum field is zero."""
    crc = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def pages(
    packet: bytes, granule: int, serial: int, number: int, flags: int = 0
) -> Iterator[bytes]:
    """Build the pages of one packet, numbered from `number`. `granule`: its end, in frames."""
    sizes = [255] * (len(packet) // 255) + [len(packet) % 255]
    begin = 0
    while sizes:
        here, sizes = sizes[:MAX_SEGMENTS], sizes[MAX_SEGMENTS:]
        body = packet[begin : begin + sum(here)]
        # A page in which no packet ends has no position. The stream ends on its last page only.
        head = _PAGE.pack(
            b"OggS", 0,
            (flags & ~END if sizes else flags) & (~BEGIN if begin else ~0)
            | (CONTINUED if begin else 0),
            -1 if sizes else granule, serial, number, 0, len(here),
        ) + bytes(here)  # fmt: skip
        crc = checksum(head + body)
        yield head[:_CHECKSUM_AT] + struct.pack("<I", crc) + head[_CHECKSUM_AT + 4 :] + body
        begin += len(body)
        number += 1


class PageSplitter:
    """Splits a stream of bytes into pages."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes) -> list[tuple[bytes, int]]:
        """Add data; return the pages that are complete, each with its granule position."""
        self._rest += data
        found = []
        while len(self._rest) >= _PAGE.size:
            magic, _version, _flags, granule, _serial, _number, _crc, segments = (
                _PAGE.unpack_from(self._rest)
            )
            if magic != b"OggS":
                raise ValueError("not an Ogg page")
            begin = _PAGE.size + segments
            end = begin + sum(self._rest[_PAGE.size : begin])
            if len(self._rest) < max(begin, end):
                break
            found.append((self._rest[:end], granule))
            self._rest = self._rest[end:]
        return found


def vorbis_comment(comments: Sequence[tuple[str, str]], vendor: str = "CrowdStream") -> bytes:
    """Build a Vorbis comment: names with texts."""
    texts = [f"{name}={text}".encode() for name, text in comments]
    parts = [vendor.encode(), *texts]
    sized = [struct.pack("<I", len(part)) + part for part in parts]
    return sized[0] + struct.pack("<I", len(texts)) + b"".join(sized[1:])


class FlacPages:
    """Puts the blocks and frames of a FLAC file into Ogg pages, one packet each.

    `streaminfo`: the block without its header, 34 bytes. The header packets are `headers`.
    """

    def __init__(self, streaminfo: bytes, comments: Sequence[tuple[str, str]], serial: int) -> None:
        self._serial = serial
        self._number = 0
        self._granule = 0
        comment = vorbis_comment(comments)
        first = (
            b"\x7fFLAC\x01\x00" + struct.pack(">H", 1) + b"fLaC"
            + struct.pack(">I", len(streaminfo)) + streaminfo
        )  # type 0, and more blocks follow
        last = struct.pack(">I", 0x84 << 24 | len(comment)) + comment  # type 4, the last block
        self.headers = self._page(first, BEGIN) + self._page(last)

    def frame(self, data: bytes, frames: int, last: bool = False) -> bytes:
        """Return the pages of one FLAC frame that is `frames` long."""
        self._granule += frames
        return self._page(data, END if last else 0)

    def _page(self, packet: bytes, flags: int = 0) -> bytes:
        made = list(pages(packet, self._granule, self._serial, self._number, flags))
        self._number += len(made)
        return b"".join(made)


def flac_frame_length(header: bytes) -> int:
    """Return the number of frames in a FLAC frame (RFC 9639, section 9.1.1).

    Raises `ValueError` if the bytes are none.
    """
    if len(header) < 8 or header[0] != 0xFF or header[1] & 0xFE != 0xF8:
        raise ValueError("not a FLAC frame")
    code = header[2] >> 4
    if code == 1:
        return 192
    if 2 <= code <= 5:
        return 576 << (code - 2)
    if code >= 8:
        return 256 << (code - 8)
    # The frame's number comes first, coded as in UTF-8: leading ones count its bytes.
    ones = 8 - (~header[4] & 0xFF).bit_length()
    at = 4 + max(1, ones)
    if code == 6:
        return header[at] + 1
    if code == 7:
        return int.from_bytes(header[at : at + 2], "big") + 1
    raise ValueError("not a FLAC frame")
