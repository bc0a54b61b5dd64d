"""Metadata of MP4 files: the stem names of `.stem.mp4` files, tags, and timing.

Boxes follow ISO/IEC 14496-12. Stem names are JSON in the box `moov/udta/stem`, in Native
Instruments' format; tags are in `moov/udta/meta/ilst`, as iTunes writes them. AAC encoders put some
silence before and after the audio. The part to be played is given by the edit list (`elst`), or by
iTunes' tag `iTunSMPB` (delay, padding and length in frames, hexadecimal).
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from crowdstream.system.safe_open import open_to_read
from crowdstream.system.text import printable

# Per file, at all depths together: a limit per box would be multiplied by that of the enclosing
# box. A film with chapters has a few hundred.
MAX_BOXES = 10_000
MAX_BOX_BYTES = 1 << 20  # read from one box
MAX_VALUE_BYTES = 1000  # read from a tag's value, of which one line is shown
MAX_NAME = 60
MAX_EDITS = 1000
Read = Callable[[int, int], bytes]
"""Reads up to `count` bytes (first argument) at a byte offset (second) of a file."""
_TAGS = {
    b"\xa9nam": "title", b"\xa9ART": "artist", b"\xa9gen": "genre", b"\xa9grp": "grouping",
    b"\xa9cmt": "comment",
}  # fmt: skip
_FREEFORM = {"initialkey": "key", "initial key": "key", "key": "key", "bpm": "bpm"}


@dataclass(frozen=True)
class StemInfo:
    """Name and colour of a stem as its file gives them; `color` is "#rrggbb" or empty."""

    name: str
    color: str


@dataclass(frozen=True)
class Timing:
    """The part of a stream that is to be played, in seconds as exact fractions.

    lead: silence before the audio. length: of the audio after that, None if unknown. rate: time
    units per second in the media header, usually the sample rate in Hz. claimed: approximate
    length, for formats that do not give it to the frame.
    """

    lead: Fraction = Fraction(0)
    length: Fraction | None = None
    rate: int = 0
    claimed: Fraction | None = None


def read_stems(path: Path) -> list[StemInfo]:
    """Return the stems that the file names, in its order; empty if there are none.

    Raises `OSError`.
    """
    with open_to_read(path, ()) as file:
        fd = file.fileno()
        boxes = _Boxes(lambda count, at: os.pread(fd, count, at))
        for name, begin, size in boxes.inside(0, os.fstat(fd).st_size, ("moov", "udta")):
            if name == b"stem":
                return _stems(boxes.read(begin, min(size, MAX_BOX_BYTES)))
    return []


def tag_values(read: Read, size: int) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a file's tags.

    The names are title, artist, key, bpm, genre, grouping and comment. size: of the file, in bytes.
    """
    for kind, name, value in _values(_Boxes(read), 0, size, ("moov", "udta", "meta")):
        if kind == b"tmpo":
            yield "bpm", str(int.from_bytes(value[:2], "big"))
        elif kind in _TAGS:
            yield _TAGS[kind], value.decode("utf-8", "replace")
        elif name in _FREEFORM:
            yield _FREEFORM[name], value.decode("utf-8", "replace")


def read_timing(read: Read, size: int) -> list[Timing]:
    """Return the timing of each audio track, in the file's order.

    size: of the file, in bytes.
    """
    boxes = _Boxes(read)
    scale = 0
    found: list[Timing] = []
    for name, begin, count in boxes.inside(0, size, ("moov",)):
        if name == b"mvhd":
            scale, _ = _scale_and_duration(boxes.read(begin, min(count, 32)))
        elif name == b"trak":
            timing = _track_timing(boxes, begin, begin + count, scale)
            if timing is not None:
                found.append(timing)
    if len(found) == 1 and found[0].rate:
        for kind, free, value in _values(_Boxes(read), 0, size, ("moov", "udta", "meta")):
            if kind == b"----" and free == "itunsmpb":
                frames = _itunes_length(value)
                if frames:
                    found = [Timing(found[0].lead, Fraction(frames, found[0].rate), found[0].rate)]
    return found


def _track_timing(boxes: _Boxes, begin: int, end: int, scale: int) -> Timing | None:
    edits: list[tuple[int, int]] = []
    rate, duration, sound = 0, 0, False
    for name, at, size in boxes.inside(begin, end, ("edts",)):
        if name == b"elst":
            edits = _edits(boxes.read(at, min(size, MAX_EDITS * 20 + 8)))
    for name, at, size in boxes.inside(begin, end, ("mdia",)):
        if name == b"mdhd":
            rate, duration = _scale_and_duration(boxes.read(at, min(size, 32)))
        elif name == b"hdlr":
            sound = boxes.read(at + 8, min(size - 8, 4)) == b"soun"
    if not sound or not rate:
        return None if not sound else Timing()
    lead = Fraction(0)
    if scale and edits and edits[0][1] == -1:
        lead = Fraction(edits.pop(0)[0], scale)
    if not scale or not edits or any(start < 0 for _, start in edits):
        return Timing(lead, Fraction(duration, rate) if duration else None, rate)
    length = Fraction(sum(span for span, _ in edits), scale)
    if len(edits) == 1:
        # Spans are counted in the movie's time units, often milliseconds: a span that ends within
        # one unit of the audio's end is taken to end with the audio.
        rest = Fraction(max(0, duration - edits[0][1]), rate)
        if not length or abs(rest - length) <= Fraction(1, scale):
            length = rest
        length = min(length, rest) if rest else length
    return Timing(lead, length or None, rate)


def _edits(data: bytes) -> list[tuple[int, int]]:
    # Span in the movie's time units, and the media time at which it begins (-1: empty edit).
    if len(data) < 8:
        return []
    layout = ">Qq4x" if data[0] == 1 else ">Ii4x"
    width = struct.calcsize(layout)
    count = min(int.from_bytes(data[4:8], "big"), MAX_EDITS, (len(data) - 8) // width)
    return [struct.unpack_from(layout, data, 8 + width * number) for number in range(count)]


def _scale_and_duration(data: bytes) -> tuple[int, int]:
    # From `mvhd` or `mdhd`: time units per second, and a duration; all ones mean unknown.
    try:
        form = ">20xIQ" if data[0] == 1 else ">12xII"
        scale, duration = struct.unpack_from(form, data)
    except (struct.error, IndexError):
        return 0, 0
    return scale, 0 if duration in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else duration


def _itunes_length(value: bytes) -> int:
    words = value.split()
    try:
        return int(words[3][:16], 16) if len(words) > 3 else 0
    except ValueError:
        return 0


class _Boxes:
    """The boxes of a file, of which at most `MAX_BOXES` are visited."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._left = MAX_BOXES

    def inside(
        self, begin: int, end: int, path: tuple[str, ...]
    ) -> Iterator[tuple[bytes, int, int]]:
        """Yield name, body offset and body size of all boxes within those at `path`."""
        at = begin
        while at + 8 <= end and self._left > 0:
            self._left -= 1
            head = self.read(at, 16)
            if len(head) < 8:
                return
            size, name, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
            if size == 1:
                size, skip = int.from_bytes(head[8:16], "big"), 16
            elif size == 0:
                size = end - at
            if size < skip:
                return
            stop = min(at + size, end)
            if not path:
                yield name, at + skip, stop - at - skip
            elif name == path[0].encode():
                yield from self.inside(at + skip, stop, path[1:])
            at += size

    def read(self, begin: int, size: int) -> bytes:
        """Return up to `size` bytes of the file from byte `begin`."""
        return self._read(size, begin) if size > 0 else b""


def _stems(data: bytes) -> list[StemInfo]:
    try:
        listed: Any = json.loads(data.decode("utf-8").rstrip("\0"))["stems"]
        return [StemInfo(_text(one.get("name")), _color(one.get("color"))) for one in listed[:8]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _text(value: Any) -> str:
    return printable(value.strip()[:MAX_NAME]) if isinstance(value, str) else ""


def _color(value: Any) -> str:
    text = _text(value)
    return text if re.fullmatch(r"#[0-9a-fA-F]{6}", text) else ""


def _values(
    boxes: _Boxes, begin: int, end: int, path: tuple[str, ...]
) -> Iterator[tuple[bytes, str, bytes]]:
    """Yield kind, freeform name (lower case) and value of all tags in the boxes at `path`."""
    *outer, last = path
    for name, at, size in boxes.inside(begin, end, tuple(outer)):
        if name != last.encode():
            continue
        # The box begins with a version and flags, before the boxes that it holds.
        for kind, inner, length in boxes.inside(at + 4, at + size, ("ilst",)):
            if kind in _TAGS or kind in (b"tmpo", b"----"):  # anything else is usually a cover
                parts = _parts(boxes, inner, length)
                free = parts.get(b"name", b"").decode("utf-8", "replace").lower()
                yield kind, free, parts.get(b"data", b"")


def _parts(boxes: _Boxes, begin: int, size: int) -> dict[bytes, bytes]:
    parts: dict[bytes, bytes] = {}
    for name, at, length in boxes.inside(begin, begin + size, ()):
        # A value is preceded by its type and locale, the name of a freeform tag by four bytes.
        skip = 8 if name == b"data" else 4
        parts.setdefault(name, boxes.read(at + skip, max(0, min(length - skip, MAX_VALUE_BYTES))))
    return parts
