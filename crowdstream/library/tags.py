"""The tempo in the tags of an audio file.

Read are: ID3v2 (`TBPM`) at the head of MP3 files and in a chunk of WAV and AIFF files, Vorbis
comments (`BPM`) in FLAC and Ogg files, and the `acid` chunk of WAV loops. Tags are a courtesy of
whoever made the file: what can't be made out counts as not there.

Sources: id3.org "ID3 tag version 2.3.0" and "2.4.0", xiph.org "FLAC format" and "Vorbis comment
field and header specification", RFC 3533 (Ogg), RFC 7845 (Opus). The acid chunk is
undocumented; its tempo is the float at byte 20, as every reader of it agrees.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from crowdstream.inside import open_to_read

MOST_BYTES = 1 << 20  # of one block of tags: a picture may be in it
MOST_CHUNKS = 1000
_NUMBER = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?)")
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}


def read_bpm(path: Path, roots: Sequence[Path] = ()) -> float | None:
    """Beats a minute by the file's tags; None where they do not say, or the file can't be read."""
    try:
        with open_to_read(path, roots) as file:
            head = file.read(MOST_BYTES)
            if head[:4] in (b"RIFF", b"RF64", b"FORM"):
                return _from_chunks(file, head[8:12] in (b"AIFF", b"AIFC"))
    except OSError:
        return None
    if head[:3] == b"ID3":
        return _from_id3(head)
    if head[:4] == b"fLaC":
        return _from_flac(head)
    if head[:4] == b"OggS":
        return _from_ogg(head)
    return None


def _tempo(text: str) -> float | None:
    found = _NUMBER.match(text)
    if found is None:
        return None
    value = float(found[1].replace(",", ".")[:20])
    return value if math.isfinite(value) and value > 0 else None


def _from_chunks(file: BinaryIO, big: bool) -> float | None:
    order = ">" if big else "<"
    at = 12
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, size = head[:4], struct.unpack(order + "I", head[4:])[0]
        tempo = None
        if name in (b"id3 ", b"ID3 "):
            tempo = _from_id3(file.read(min(size, MOST_BYTES)))
        elif name == b"acid" and size >= 24 and not big:
            body = file.read(24)
            tempo = struct.unpack("<f", body[20:24])[0] if len(body) == 24 else None
            tempo = tempo if tempo and math.isfinite(tempo) and tempo > 0 else None
        if tempo is not None:
            return tempo
        at += 8 + size + (size & 1)
    return None


def _from_id3(tag: bytes) -> float | None:
    if len(tag) < 10 or tag[:3] != b"ID3" or tag[3] not in (2, 3, 4):
        return None
    version, flags = tag[3], tag[5]
    body = tag[10 : 10 + _synchsafe(tag[6:10])]
    if flags & 0x80 and version < 4:
        body = body.replace(b"\xff\x00", b"\xff")
    at = 0
    if flags & 0x40 and version > 2 and len(body) >= 4:
        at = _synchsafe(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big")
    head, name = (6, b"TBP") if version == 2 else (10, b"TBPM")
    while at + head <= len(body) and body[at]:
        size = int.from_bytes(body[at + 3 : at + 6], "big")
        if version == 3:
            size = int.from_bytes(body[at + 4 : at + 8], "big")
        elif version == 4:
            size = _synchsafe(body[at + 4 : at + 8])
        text = body[at + head : at + head + size]
        if body[at : at + len(name)] == name and text:
            words = text[1:].decode(_ENCODINGS.get(text[0], "latin-1"), "replace")
            return _tempo(words)
        at += head + size
    return None


def _synchsafe(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def _from_flac(head: bytes) -> float | None:
    at = 4
    while at + 4 <= len(head):
        kind, size = head[at], int.from_bytes(head[at + 1 : at + 4], "big")
        if kind & 0x7F == 4:
            return _from_comments(head[at + 4 : at + 4 + size])
        if kind & 0x80:
            return None
        at += 4 + size
    return None


def _from_ogg(head: bytes) -> float | None:
    # The comments are the second packet of the first stream; packets are cut into segments of
    # up to 255 bytes, and a shorter one ends the packet.
    packets: list[bytes] = []
    packet, at = b"", 0
    while at + 27 <= len(head) and head[at : at + 4] == b"OggS" and len(packets) < 2:
        count = head[at + 26]
        sizes = head[at + 27 : at + 27 + count]
        at += 27 + count
        for size in sizes:
            packet += head[at : at + size]
            at += size
            if size < 255:
                packets.append(packet)
                packet = b""
    if len(packets) < 2:
        return None
    for mark in (b"\x03vorbis", b"OpusTags"):
        if packets[1].startswith(mark):
            return _from_comments(packets[1][len(mark) :])
    # FLAC in Ogg: a block header of four bytes comes before the comments.
    return _from_comments(packets[1][4:]) if packets[0][:5] == b"\x7fFLAC" else None


def _from_comments(data: bytes) -> float | None:
    def number(at: int) -> int:
        return int.from_bytes(data[at : at + 4], "little")

    at = 4 + number(0)
    count = number(at)
    at += 4
    for _ in range(min(count, MOST_CHUNKS)):
        if at + 4 > len(data):
            return None
        size = number(at)
        key, _, value = data[at + 4 : at + 4 + size].decode("utf-8", "replace").partition("=")
        if key.upper() in ("BPM", "TEMPO", "TBPM"):
            return _tempo(value)
        at += 4 + size
    return None
