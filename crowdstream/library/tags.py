"""What the tags of an audio file say: tempo, title, artist, key.

Read are: ID3v2 at the head of MP3 files and in a chunk of WAV and AIFF files, Vorbis comments in
FLAC and Ogg files, and of WAV files the `acid` chunk of loops and the INFO list. Tags are a
courtesy of whoever made the file: what can't be made out counts as not there.

Sources: id3.org "ID3 tag version 2.3.0" and "2.4.0", xiph.org "FLAC format" and "Vorbis comment
field and header specification", RFC 3533 (Ogg), RFC 7845 (Opus), Microsoft "Multimedia Programming
Interface and Data Specifications 1.0" (INFO). The acid chunk is undocumented; its tempo is the
float at byte 20, as every reader of it agrees.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from crowdstream.inside import open_to_read
from crowdstream.library.errors import printable

MOST_BYTES = 1 << 20  # of one block of tags: a picture may be in it
MOST_CHUNKS = 1000
LONGEST_TEXT = 200  # characters of a title: it is for people
_LONGEST_READ = 4 * LONGEST_TEXT + 4  # bytes of a text that are looked at
_NUMBER = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?)")
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}

# What each kind of tag calls them.
_FRAMES = {
    b"TBPM": "bpm", b"TIT2": "title", b"TPE1": "artist", b"TKEY": "key",
    b"TBP": "bpm", b"TT2": "title", b"TP1": "artist", b"TKE": "key",
}  # fmt: skip
_COMMENTS = {
    "BPM": "bpm", "TEMPO": "bpm", "TBPM": "bpm", "TITLE": "title", "ARTIST": "artist",
    "INITIALKEY": "key", "INITIAL_KEY": "key", "KEY": "key",
}  # fmt: skip
_INFO = {b"INAM": "title", b"IART": "artist"}


@dataclass
class Tags:
    """Tempo in beats a minute, None where nothing says it; texts are one line, "" likewise."""

    bpm: float | None = None
    title: str = ""
    artist: str = ""
    key: str = ""

    def take(self, name: str, text: str) -> None:
        """Take in what a tag says, if it says anything and nothing did so before."""
        if name == "bpm":
            self.bpm = self.bpm or _tempo(text)
        elif not getattr(self, name):
            words = text.partition("\0")[0].strip()
            setattr(self, name, printable(words[:LONGEST_TEXT])[:LONGEST_TEXT])

    def texts(self) -> dict[str, str]:
        """Those texts that are there."""
        found = {"title": self.title, "artist": self.artist, "key": self.key}
        return {name: text for name, text in found.items() if text}


def read_tags(path: Path, roots: Sequence[Path] = ()) -> Tags:
    """The tags of a file, which has to lie in `roots` if there are any.

    Empty where there are none, or the file can't be read.
    """
    tags = Tags()
    try:
        with open_to_read(path, roots) as file:
            head = file.read(12)
            if head[:4] in (b"RIFF", b"RF64", b"FORM"):
                _from_chunks(file, head[8:] in (b"AIFF", b"AIFC"), tags)
                return tags
            if head[:4] in (b"fLaC", b"OggS") or head[:3] == b"ID3":
                head += file.read(MOST_BYTES - len(head))
    except OSError:
        return tags
    if head[:3] == b"ID3":
        _from_id3(head, tags)
    elif head[:4] == b"fLaC":
        _from_flac(head, tags)
    elif head[:4] == b"OggS":
        _from_ogg(head, tags)
    return tags


def _tempo(text: str) -> float | None:
    found = _NUMBER.match(text)
    if found is None:
        return None
    value = float(found[1].replace(",", ".")[:20])
    return value if math.isfinite(value) and value > 0 else None


def _from_chunks(file: BinaryIO, big: bool, tags: Tags) -> None:
    order = ">" if big else "<"
    at = 12
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        name, size = head[:4], struct.unpack(order + "I", head[4:])[0]
        if name in (b"id3 ", b"ID3 "):
            _from_id3(file.read(min(size, MOST_BYTES)), tags)
        elif name == b"LIST" and not big:
            _from_info(file.read(min(size, MOST_BYTES)), tags)
        elif name == b"acid" and size >= 24 and not big:
            body = file.read(24)
            tempo = struct.unpack("<f", body[20:24])[0] if len(body) == 24 else 0.0
            if math.isfinite(tempo):
                tags.take("bpm", f"{tempo:f}")
        at += 8 + size + (size & 1)


def _from_info(data: bytes, tags: Tags) -> None:
    # Chunks within a chunk; what they are encoded in nobody says.
    if data[:4] != b"INFO":
        return
    at = 4
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        name = _INFO.get(data[at : at + 4])
        if name:
            text = data[at + 8 : at + 8 + min(size, _LONGEST_READ)].partition(b"\0")[0]
            try:
                tags.take(name, text.decode("utf-8"))
            except UnicodeDecodeError:
                tags.take(name, text.decode("latin-1"))
        at += 8 + size + (size & 1)


def _from_id3(tag: bytes, tags: Tags) -> None:
    if len(tag) < 10 or tag[:3] != b"ID3" or tag[3] not in (2, 3, 4):
        return
    version, flags = tag[3], tag[5]
    body = tag[10 : 10 + _synchsafe(tag[6:10])]
    if flags & 0x80 and version < 4:
        body = body.replace(b"\xff\x00", b"\xff")
    at = 0
    if flags & 0x40 and version > 2 and len(body) >= 4:
        at = _synchsafe(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big")
    head, letters = (6, 3) if version == 2 else (10, 4)
    while at + head <= len(body) and body[at]:
        size = int.from_bytes(body[at + 3 : at + 6], "big")
        if version == 3:
            size = int.from_bytes(body[at + 4 : at + 8], "big")
        elif version == 4:
            size = _synchsafe(body[at + 4 : at + 8])
        text = body[at + head : at + head + min(size, _LONGEST_READ)]
        name = _FRAMES.get(body[at : at + letters])
        if name and text:
            tags.take(name, text[1:].decode(_ENCODINGS.get(text[0], "latin-1"), "replace"))
        at += head + size


def _synchsafe(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def _from_flac(head: bytes, tags: Tags) -> None:
    at = 4
    while at + 4 <= len(head):
        kind, size = head[at], int.from_bytes(head[at + 1 : at + 4], "big")
        if kind & 0x7F == 4:
            return _from_comments(head[at + 4 : at + 4 + size], tags)
        if kind & 0x80:
            return
        at += 4 + size


def _from_ogg(head: bytes, tags: Tags) -> None:
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
        return
    for mark in (b"\x03vorbis", b"OpusTags"):
        if packets[1].startswith(mark):
            return _from_comments(packets[1][len(mark) :], tags)
    if packets[0][:5] == b"\x7fFLAC":
        # A block header of four bytes comes before the comments.
        _from_comments(packets[1][4:], tags)


def _from_comments(data: bytes, tags: Tags) -> None:
    def number(at: int) -> int:
        return int.from_bytes(data[at : at + 4], "little")

    at = 4 + number(0)
    count = number(at)
    at += 4
    for _ in range(min(count, MOST_CHUNKS)):
        if at + 4 > len(data):
            return
        size = number(at)
        text = data[at + 4 : at + 4 + min(size, _LONGEST_READ)].decode("utf-8", "replace")
        key, _, value = text.partition("=")
        name = _COMMENTS.get(key.upper())
        if name:
            tags.take(name, value)
        at += 4 + size
