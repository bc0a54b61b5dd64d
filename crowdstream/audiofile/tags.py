"""Read the tags of an audio file: tempo, title, artist, key, and genres and other labels.

The tags read are ID3v2 before any audio and in a chunk of WAV and AIFF files, Vorbis comments in
FLAC and Ogg files, iTunes tags in MP4 files, APEv2 and ID3v1 at a file's end, and, in WAV files,
the `acid` chunk of loops and the INFO list. Tags are untrusted and optional: anything
unintelligible is treated as absent.

Only the values sought are read, so a cover picture of any size may precede them. The number of
reads and bytes per file is limited, whatever the sizes in the file.

Sources: id3.org "ID3 tag version 2.3.0" and "2.4.0", xiph.org "FLAC format" and "Vorbis comment
field and header specification", RFC 3533 (Ogg), RFC 7845 (Opus), Hydrogenaudio "APEv2
specification", Microsoft "Multimedia Programming Interface and Data Specifications 1.0" (INFO). The
acid chunk is undocumented; its number of beats is the integer at byte 12 and its tempo the float at
byte 20, on which all its readers agree.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from crowdstream.audiofile.containers.file_range import ByteRange
from crowdstream.audiofile.containers.headers import HeaderCheck, check_header, chunks
from crowdstream.audiofile.containers.mp3 import after_tags
from crowdstream.audiofile.containers.mp4 import tag_values
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.system.safe_open import open_to_read
from crowdstream.system.text import folded, printable

MAX_READS = 4000  # per file: a tag of a few hundred frames takes two for each frame
MAX_BYTES = 32 << 20  # per file; Ogg files and unsynchronised tags are read including their covers
MAX_ITEMS = 1000  # frames, comments or chunks in one tag
MAX_ARTISTS = 8
MAX_LABELS = 24
MAX_LABEL = 60  # characters
MAX_TEXT = 200  # characters of a title or artist, which are only displayed
_MAX_READ = 4 * MAX_TEXT + 4  # bytes read from one text
_NUMBER = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]{1,2})?)")
_LIKELY_BPM = 40.0, 400.0
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
# A loop lasts as long as its beats, apart from a tail or a rounded tempo.
_ACID_TOLERANCE = 0.02
_ONE_SHOT = 1  # flag of an acid chunk: the sample has no tempo

# Field names in each kind of tag.
_FRAMES = {
    b"TBPM": "bpm", b"TIT2": "title", b"TPE1": "artist", b"TKEY": "key",
    b"TBP": "bpm", b"TT2": "title", b"TP1": "artist", b"TKE": "key",
    b"TCON": "genre", b"TIT1": "grouping", b"GRP1": "grouping", b"COMM": "comment",
    b"TCO": "genre", b"TT1": "grouping", b"COM": "comment",
}  # fmt: skip
_COMMENTS = {
    "BPM": "bpm", "TEMPO": "bpm", "TBPM": "bpm", "TITLE": "title", "ARTIST": "artist",
    "INITIALKEY": "key", "INITIAL_KEY": "key", "INITIAL KEY": "key", "KEY": "key",
    "GENRE": "genre", "GROUPING": "grouping", "COMMENT": "comment", "DESCRIPTION": "comment",
}  # fmt: skip
_INFO = {b"INAM": "title", b"IART": "artist", b"IGNR": "genre", b"ICMT": "comment"}
_AIFF_TEXTS = {b"NAME": "title", b"AUTH": "artist", b"ANNO": "comment"}
_LABELS = ("genre", "grouping", "comment")  # which hold several values
_SEPARATORS = re.compile(r"[\0;,/|]")
_HASHTAG = re.compile(r"#([^\s#;,/|]+)")
_GENRE_NUMBER = re.compile(r"\((\d{1,3})\)|^(\d{1,3})$")
# The genres of ID3v1 by number, which ID3v2 also uses as "(17)".
_GENRES = (
    "Blues", "Classic Rock", "Country", "Dance", "Disco", "Funk", "Grunge", "Hip-Hop", "Jazz",
    "Metal", "New Age", "Oldies", "Other", "Pop", "R&B", "Rap", "Reggae", "Rock", "Techno",
    "Industrial", "Alternative", "Ska", "Death Metal", "Pranks", "Soundtrack", "Euro-Techno",
    "Ambient", "Trip-Hop", "Vocal", "Jazz+Funk", "Fusion", "Trance", "Classical", "Instrumental",
    "Acid", "House", "Game", "Sound Clip", "Gospel", "Noise", "Alternative Rock", "Bass", "Soul",
    "Punk", "Space", "Meditative", "Instrumental Pop", "Instrumental Rock", "Ethnic", "Gothic",
    "Darkwave", "Techno-Industrial", "Electronic", "Pop-Folk", "Eurodance", "Dream",
    "Southern Rock", "Comedy", "Cult", "Gangsta", "Top 40", "Christian Rap", "Pop/Funk", "Jungle",
    "Native US", "Cabaret", "New Wave", "Psychedelic", "Rave", "Showtunes", "Trailer", "Lo-Fi",
    "Tribal", "Acid Punk", "Acid Jazz", "Polka", "Retro", "Musical", "Rock & Roll", "Hard Rock",
)  # fmt: skip


@dataclass
class Tags:
    """The tags of one file.

    bpm: tempo in beats per minute, None if no tag states it. title, artist, key: one line each, ""
    if absent. labels: the genres, the groupings, and the words after a "#" in comments.
    """

    bpm: float | None = None
    title: str = ""
    artist: str = ""
    key: str = ""
    labels: tuple[str, ...] = ()

    def set_default(self, name: str, text: str) -> None:
        """Set a field from the text of a tag, unless the text is empty or the field is already set.

        A text may hold several values, separated by zero bytes: all artists are joined, and for
        other fields the first value is used. Labels are collected from all tags.
        """
        if name in _LABELS:
            self._add_labels(name, text)
        elif name == "bpm":
            self.bpm = self.bpm or _tempo(text)
        elif not getattr(self, name):
            values = [value for part in text.split("\0") if (value := part.strip())]
            if name == "artist":
                values = [", ".join(dict.fromkeys(values[:MAX_ARTISTS]))]
            words = values[0] if values else ""
            setattr(self, name, printable(words[:MAX_TEXT])[:MAX_TEXT])

    def _add_labels(self, name: str, text: str) -> None:
        known = {folded(one) for one in self.labels}
        for one in labels_in(name, text):
            label = printable(one.strip())[:MAX_LABEL]
            if label and folded(label) not in known and len(self.labels) < MAX_LABELS:
                known.add(folded(label))
                self.labels += (label,)

    def values(self) -> dict[str, Any]:
        """Return all values for the library, as JSON values by name."""
        tempo = {"bpm": self.bpm} if self.bpm else {}
        return {**self.texts(), **tempo, "labels": list(self.labels)}

    def texts(self) -> dict[str, str]:
        """Return the text fields that are not empty, by name."""
        found = {"title": self.title, "artist": self.artist, "key": self.key}
        return {name: text for name, text in found.items() if text}


def labels_in(name: str, text: str) -> Iterator[str]:
    """Yield the labels in the text of a genre, a grouping or a comment."""
    if name == "comment":
        yield from _HASHTAG.findall(text)
        return
    for part in _SEPARATORS.split(text):
        if name != "genre":
            yield part
            continue
        for found in _GENRE_NUMBER.finditer(part.strip()):
            number = int(found[1] or found[2])
            if number < len(_GENRES):
                yield _GENRES[number]
        yield _GENRE_NUMBER.sub("", part.strip())


class _Bytes(Protocol):
    """Bytes with random access."""

    @property
    def size(self) -> int: ...

    def pread(self, count: int, at: int) -> bytes: ...


class _Source(ByteRange):
    """The bytes of a file with a limit on reads and bytes, beyond which reads return nothing."""

    def __init__(self, fd: int, start: int, end: int, left: list[int] | None = None) -> None:
        super().__init__(fd, start, end)
        self._left = [MAX_READS, MAX_BYTES] if left is None else left

    def pread(self, count: int, at: int) -> bytes:
        """See `Window`."""
        self._left[0] -= 1
        self._left[1] -= count
        return super().pread(count, at) if min(self._left) >= 0 else b""

    def part(self, start: int, end: int) -> _Source:
        """See `Window`; reads from the part count towards the same limit."""
        end = min(self.start + end, self.end)
        return _Source(self.fd, self.start + start, end, self._left)


@dataclass(frozen=True)
class _Slice:
    """A byte range of another object."""

    whole: _Bytes
    at: int
    size: int

    def pread(self, count: int, at: int) -> bytes:
        """See `Window`."""
        count = min(count, self.size - at)
        return self.whole.pread(count, self.at + at) if count > 0 else b""


@dataclass(frozen=True)
class _InMemory:
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def pread(self, count: int, at: int) -> bytes:
        """See `Window`."""
        return self.data[at : at + count]


def read_tags(path: Path, roots: Sequence[Path] = ()) -> Tags:
    """Return the tags of a file.

    roots: the file must lie inside one of these folders, if there are any. The tags are empty if
    the file has none or can't be read.
    """
    tags = Tags()
    try:
        with open_to_read(path, roots) as file:
            fd = file.fileno()
            _read_all(_Source(fd, 0, os.fstat(fd).st_size), path, tags)
    except OSError:
        pass
    return tags


def _read_all(file: _Source, path: Path, tags: Tags) -> None:
    start = after_tags(file)
    head = file.pread(12, start)
    sound = _Slice(file, start, file.size - start)
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        _from_wave(file.part(start, file.size), path, tags)
    elif head[:4] == b"FORM":
        _from_aiff(file.part(start, file.size), path, tags)
    # A format's native tags take precedence over a tag that was put before the file.
    elif head[:4] == b"fLaC":
        _from_flac(sound, tags)
    elif head[:4] == b"OggS":
        _from_ogg(sound, tags)
    elif head[4:8] == b"ftyp":
        for name, value in tag_values(sound.pread, sound.size):
            tags.set_default(name, value)
    at = 0
    while at < max(1, start) and (size := _from_id3(_Slice(file, at, file.size - at), tags)):
        at += size
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"FORM", b"OggS", b"RIFX"):
        return
    end = file.size
    last = file.pread(128, end - 128)
    if last[:3] == b"TAG":
        end -= 128
    _from_ape(file, end, tags)
    if last[:3] == b"TAG":
        tags.set_default("title", last[3:33].partition(b"\0")[0].decode("latin-1"))
        tags.set_default("artist", last[33:63].partition(b"\0")[0].decode("latin-1"))
        tags.set_default("comment", last[97:127].partition(b"\0")[0].decode("latin-1"))
        if last[127]:  # 0 would be Blues, but it also means that nobody has set it
            tags.set_default("genre", str(last[127]))


def _tempo(text: str) -> float | None:
    """Parse beats per minute; accept writers that count in tenths, hundredths or thousandths."""
    found = _NUMBER.match(text)
    if found is None:
        return None
    value = float(found[1].replace(",", ".")[:20])
    if not math.isfinite(value) or value <= 0:
        return None
    low, high = _LIKELY_BPM
    if value > high:
        for parts in (100, 10, 1000):
            if low <= value / parts <= high:
                return value / parts
    return value


def _from_wave(file: ByteRange, path: Path, tags: Tags) -> None:
    order = ">" if file.pread(4, 0) == b"RIFX" else "<"
    try:
        checked = check_header(file, path)
    except AudioFileError:
        checked = HeaderCheck()
    acid = b""
    for name, body in _all_chunks(file, order, b"data", checked):
        if name in (b"id3 ", b"ID3 "):
            _from_id3(body, tags)
        elif name == b"LIST" and body.pread(4, 0) == b"INFO":
            _from_info(_Slice(body, 4, body.size - 4), order, tags)
        elif name == b"acid":
            acid = acid or body.pread(24, 0)
    if len(acid) == 24 and checked.size and len(checked.form) >= 16:
        _from_acid(acid, order, checked, tags)


def _from_acid(acid: bytes, order: str, checked: HeaderCheck, tags: Tags) -> None:
    # Programs write the chunk into any file, with the tempo of the song that they had open. It
    # counts only if the file is as long as its number of beats.
    flags, beats, tempo = struct.unpack_from(order + "I8xI4xf", acid)
    a_second = struct.unpack_from(order + "I", checked.form, 8)[0]
    if flags & _ONE_SHOT or not beats or not a_second or not 0 < tempo < math.inf:
        return
    wanted, seconds = beats * 60.0 / tempo, checked.size / a_second
    if abs(seconds - wanted) <= _ACID_TOLERANCE * wanted:
        tags.set_default("bpm", f"{tempo:f}")


def _from_aiff(file: ByteRange, path: Path, tags: Tags) -> None:
    try:
        checked = check_header(file, path)
    except AudioFileError:
        checked = HeaderCheck()
    texts: list[tuple[str, str]] = []
    for name, body in _all_chunks(file, ">", b"SSND", checked):
        if name in (b"id3 ", b"ID3 "):
            _from_id3(body, tags)
        elif name in _AIFF_TEXTS:
            texts.append((_AIFF_TEXTS[name], _decoded(body.pread(_MAX_READ, 0))))
    for kind, text in texts:
        tags.set_default(kind, text)


def _all_chunks(
    file: ByteRange, order: str, sound: bytes, checked: HeaderCheck
) -> Iterator[tuple[bytes, _Slice]]:
    """Yield names and bodies of the chunks before and after the audio chunk."""
    after_audio = checked.at + checked.size + (checked.size & 1) if checked.size else 0
    for start in (12, after_audio):
        if not start:
            continue
        wanted = sound if start == 12 else None
        for count, chunk in enumerate(chunks(file, order, wanted, start)):
            if count >= MAX_ITEMS:
                return
            if chunk.tag != sound:
                yield chunk.tag, _Slice(file, chunk.at, min(chunk.size, file.size - chunk.at))


def _from_info(body: _Bytes, order: str, tags: Tags) -> None:
    # Chunks within a chunk. Their text encoding is not declared.
    at = 0
    for _ in range(MAX_ITEMS):
        head = body.pread(8, at)
        if len(head) < 8:
            return
        size = int(struct.unpack(order + "I", head[4:])[0])
        name = _INFO.get(head[:4])
        if name:
            tags.set_default(name, _decoded(body.pread(min(size, _MAX_READ), at + 8)))
        at += 8 + size + (size & 1)


def _decoded(data: bytes) -> str:
    data = data.partition(b"\0")[0]
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _from_id3(file: _Bytes, tags: Tags) -> int:
    """Read an ID3v2 tag and return its length in bytes, including the zeros after it.

    0 if there is no tag.
    """
    head = file.pread(10, 0)
    if len(head) < 10 or head[:3] != b"ID3" or head[3] not in (2, 3, 4):
        return 0
    version, flags, size = head[3], head[5], _synchsafe(head[6:10])
    body: _Bytes = _Slice(file, 10, min(size, file.size - 10))
    if flags & 0x80 and version < 4:
        held = body.pread(min(size, MAX_BYTES), 0)
        plain = _InMemory(held.replace(b"\xff\x00", b"\xff"))
        # Some writers set the flag and change nothing; others count a frame's bytes after the
        # change. The chain of frames shows which was done.
        if _chained(plain, version, flags) >= _chained(_InMemory(held), version, flags):
            body = plain
    at = _first_frame(body, version, flags)
    _from_frames(body, at, version, tags)
    taken = 10 + size + (10 if flags & 0x10 else 0)
    padding = file.pread(1024, taken)
    return taken + len(padding) - len(padding.lstrip(b"\0"))


def _first_frame(body: _Bytes, version: int, flags: int) -> int:
    if not flags & 0x40 or version == 2:
        return 0
    first = body.pread(4, 0)
    return _synchsafe(first) if version == 4 else 4 + int.from_bytes(first, "big")


def _chained(body: _Bytes, version: int, flags: int) -> int:
    """Return the number of consecutive frames in a tag of version 2.2 or 2.3."""
    head_bytes, letters = (6, 3) if version == 2 else (10, 4)
    at = _first_frame(body, version, flags)
    for count in range(MAX_ITEMS):
        if not _ends_a_frame(body, at, letters) or not any(head := body.pread(head_bytes, at)):
            return count
        at += head_bytes + int.from_bytes(head[letters : 2 * letters], "big")
    return MAX_ITEMS


def _from_frames(body: _Bytes, at: int, version: int, tags: Tags) -> None:
    head_bytes, letters = (6, 3) if version == 2 else (10, 4)
    for _ in range(MAX_ITEMS):
        head = body.pread(head_bytes, at)
        if len(head) < head_bytes or not head[0]:
            return
        if version == 2:
            size = int.from_bytes(head[3:6], "big")
        elif version == 3:
            size = int.from_bytes(head[4:8], "big")
        else:
            size = _size_of_frame(body, at, head[4:8])
        name = _FRAMES.get(head[:letters].rstrip(b"\0"))  # 2.2's names also occur in tags of 2.3
        if name and size:
            text = body.pread(min(size, _MAX_READ), at + head_bytes)
            text = _frame_contents(text, version, head[9] if version > 2 else 0)
            if text:
                tags.set_default(name, _comment(text) if name == "comment" else _text(text))
        at += head_bytes + size


def _frame_contents(data: bytes, version: int, flags: int) -> bytes:
    """Return a frame's contents after the fields that its flags announce; b"" if encrypted."""
    if version == 4:
        grouped, deflated, encrypted, length = (flags & bit for bit in (0x40, 8, 4, 1))
    else:
        grouped, encrypted, deflated = (flags & bit for bit in (0x20, 0x40, 0x80))
        length = deflated
    if encrypted:
        return b""
    # Version 2.3 puts the length before the group, 2.4 after it; both are skipped.
    data = data[(1 if grouped else 0) + (4 if length else 0) :]
    if version == 4 and flags & 2:
        data = data.replace(b"\xff\x00", b"\xff")
    if deflated:
        try:
            data = zlib.decompressobj().decompress(data, _MAX_READ)
        except zlib.error:
            return b""
    return data


def _comment(data: bytes) -> str:
    # A language of three letters and a description precede the text of a comment.
    return _text(data[:1] + data[4:]).partition("\0")[2]


def _text(data: bytes) -> str:
    encoding = _ENCODINGS.get(data[0], "latin-1")
    text = data[1:]
    if encoding == "utf-16" and text[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        # No byte order mark: in most scripts, the high bytes are zero, or resemble each other.
        encoding = "utf-16-be" if text[::2].count(0) > text[1::2].count(0) else "utf-16-le"
    return text.decode(encoding, "replace")


def _size_of_frame(body: _Bytes, at: int, packed: bytes) -> int:
    """Return the size of a frame of version 2.4, which has seven bits per byte.

    iTunes has written eight bits per byte; the position of the next frame shows which one was used.
    """
    right, plain = _synchsafe(packed), int.from_bytes(packed, "big")
    if right == plain or (max(packed) < 0x80 and _ends_a_frame(body, at + 10 + right)):
        return right
    return plain if _ends_a_frame(body, at + 10 + plain) else right


def _ends_a_frame(body: _Bytes, at: int, letters: int = 4) -> bool:
    head = body.pread(letters, at)
    if at > body.size:
        return False
    return not any(head) or (
        len(head) == letters and all(0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A for byte in head)
    )


def _synchsafe(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def _from_ape(file: _Bytes, end: int, tags: Tags) -> None:
    foot = file.pread(32, end - 32) if end >= 32 else b""
    if foot[:8] != b"APETAGEX":
        return
    size, count = struct.unpack_from("<II", foot, 12)
    at = end - size
    for _ in range(min(count, MAX_ITEMS)):
        head = file.pread(8 + 64, at) if 0 <= at < end - 32 else b""
        if len(head) < 8:
            return
        length, flags = struct.unpack_from("<II", head)
        key, zero, _rest = head[8:].partition(b"\0")
        if not zero:
            return  # no key that is sought is this long
        at += 8 + len(key) + 1
        name = _COMMENTS.get(key.decode("latin-1").upper())
        if name and not flags & 6:
            value = file.pread(min(length, _MAX_READ), at)
            tags.set_default(name, value.decode("utf-8", "replace"))
        at += length


def _from_flac(file: _Bytes, tags: Tags) -> None:
    at = 4
    for _ in range(MAX_ITEMS):
        head = file.pread(4, at)
        if len(head) < 4:
            return
        kind, size = head[0], int.from_bytes(head[1:], "big")
        if kind & 0x7F == 4:
            return _from_comments(_Slice(file, at + 4, size), tags)
        if kind & 0x80:
            return
        at += 4 + size


def _from_ogg(file: _Bytes, tags: Tags) -> None:
    # The comments are the second packet of the first stream. Packets are divided into segments of
    # up to 255 bytes, and a shorter segment ends the packet.
    first: bytes | None = None
    parts: list[bytes] = []
    held = at = 0
    serial = b""
    while held <= MAX_BYTES:
        head = file.pread(27 + 255, at)
        if len(head) < 27 or head[:4] != b"OggS":
            return
        sizes = head[27 : 27 + head[26]]
        data = file.pread(sum(sizes), at + 27 + head[26])
        at += 27 + head[26] + sum(sizes)
        serial = serial or head[14:18]
        if head[14:18] != serial:
            continue
        begin = end = 0
        for size in sizes:
            end += size
            if size == 255:
                continue
            parts.append(data[begin:end])
            begin = end
            if first is not None:
                return _from_packet(first, b"".join(parts), tags)
            first = b"".join(parts)
            parts = []
        parts.append(data[begin:end])
        held += len(head) + end - begin


def _from_packet(first: bytes, packet: bytes, tags: Tags) -> None:
    for mark in (b"\x03vorbis", b"OpusTags"):
        if packet.startswith(mark):
            return _from_comments(_InMemory(packet[len(mark) :]), tags)
    if first[:5] == b"\x7fFLAC":
        # A four-byte block header precedes the comments.
        _from_comments(_InMemory(packet[4:]), tags)


def _from_comments(data: _Bytes, tags: Tags) -> None:
    def number(at: int) -> int:
        return int.from_bytes(data.pread(4, at), "little")

    at = 4 + number(0)
    count = number(at)
    at += 4
    values: dict[str, list[str]] = defaultdict(list)
    for _ in range(min(count, MAX_ITEMS)):
        head = data.pread(4 + _MAX_READ, at)
        if len(head) < 4:
            break
        size = int.from_bytes(head[:4], "little")
        key, _, value = head[4 : 4 + size].decode("utf-8", "replace").partition("=")
        name = _COMMENTS.get(key.upper())
        if name:
            values[name].append(value)
        at += 4 + size
    for name, texts in values.items():
        for text in ["\0".join(texts)] if name == "artist" else texts:
            tags.set_default(name, text)
