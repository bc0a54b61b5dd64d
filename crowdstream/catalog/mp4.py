"""What an MP4 file says of itself: the names of its stems, and tags. Sound is not touched.

Sources: ISO/IEC 14496-12 (boxes); the `stem` box in `moov/udta` is JSON, as the Stems format of
Native Instruments describes it; tags are in `moov/udta/meta/ilst`, as iTunes has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from crowdstream.inside import open_to_read
from crowdstream.library.tags import Tags
from crowdstream.texts import printable

# Of one file, at all depths together: a limit for each box would be multiplied by that of the box
# around it. A film with chapters has a few hundred.
MAX_BOXES = 10_000
MAX_BOX_BYTES = 1 << 20  # of a box that is read
MAX_VALUE_BYTES = 1000  # of a tag's value, of which a line is shown
LONGEST_NAME = 60
_TAGS = {b"\xa9nam": "title", b"\xa9ART": "artist"}
_FREE = {"initialkey": "key", "initial key": "key", "key": "key", "bpm": "bpm"}


@dataclass(frozen=True)
class StemInfo:
    """A stem as its file names it; `color` is "#rrggbb", or empty."""

    name: str
    color: str


def read_mp4(path: Path) -> tuple[list[StemInfo], Tags]:
    """The stems that the file names, in its order, and its tags; empty where it has none.

    Raises `OSError` where it can't be read. What can't be made out counts as not there.
    """
    stems: list[StemInfo] = []
    tags = Tags()
    with open_to_read(path, ()) as file:
        boxes = _Boxes(file)
        end = file.seek(0, 2)
        for name, begin, size in boxes.inside(0, end, ("moov", "udta")):
            if name == b"stem" and not stems:
                stems = _stems(boxes.read(begin, min(size, MAX_BOX_BYTES)))
            elif name == b"meta":
                # A version and flags come before the boxes in it.
                for inner, at, length in boxes.inside(begin + 4, begin + size, ("ilst",)):
                    _tag(boxes, inner, at, length, tags)
    return stems, tags


class _Boxes:
    """The boxes of a file, up to `MAX_BOXES` of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_BOXES

    def inside(
        self, begin: int, end: int, path: tuple[str, ...]
    ) -> Iterator[tuple[bytes, int, int]]:
        """Name, and place and size of the contents, of all boxes in those that `path` leads to."""
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
        """So many bytes of the file, or what there is."""
        self._file.seek(begin)
        return self._file.read(size)


def _stems(data: bytes) -> list[StemInfo]:
    try:
        listed: Any = json.loads(data.decode("utf-8").rstrip("\0"))["stems"]
        return [StemInfo(_text(one.get("name")), _color(one.get("color"))) for one in listed[:8]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _text(value: Any) -> str:
    return printable(value.strip()[:LONGEST_NAME]) if isinstance(value, str) else ""


def _color(value: Any) -> str:
    text = _text(value)
    return text if re.fullmatch(r"#[0-9a-fA-F]{6}", text) else ""


def _tag(boxes: _Boxes, name: bytes, begin: int, size: int, tags: Tags) -> None:
    if name not in _TAGS and name not in (b"tmpo", b"----"):
        return  # a cover, most often
    parts: dict[bytes, bytes] = {}
    for inner, at, length in boxes.inside(begin, begin + size, ()):
        # Before a value come its type and a locale, before a free tag's name four bytes.
        skip = 8 if inner == b"data" else 4
        parts.setdefault(inner, boxes.read(at + skip, max(0, min(length - skip, MAX_VALUE_BYTES))))
    value = parts.get(b"data", b"")
    if name == b"tmpo":
        tags.take("bpm", str(int.from_bytes(value[:2], "big")))
    elif name in _TAGS:
        tags.take(_TAGS[name], value.decode("utf-8", "replace"))
    elif name == b"----":
        kind = _FREE.get(parts.get(b"name", b"").decode("utf-8", "replace").lower())
        if kind:
            tags.take(kind, value.decode("utf-8", "replace"))
