"""The recordings of which a file was joined; most files hold one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from crowdstream.audiofile.containers.file_range import ByteRange
from crowdstream.audiofile.containers.mp3 import (
    Mp3Layout,
    after_junk,
    after_tags,
    first_frame,
    survey,
)
from crowdstream.audiofile.containers.ogg import links
from crowdstream.audiofile.containers.unplayable_formats import is_known


@dataclass(frozen=True)
class Part:
    """One recording within a file; `layout` is set for an MP3 with readable frame headers."""

    window: ByteRange
    layout: Mp3Layout | None = None


def find_parts(window: ByteRange, progress: Callable[[], None]) -> list[Part]:
    """Return the recordings in a file, in order; at least one.

    ID3v2 tags before the first one are left out. progress: called from time to time while the whole
    file is scanned.
    """
    whole = window
    start = after_tags(window)
    if start >= window.size > 0:
        start = first_frame(window)  # a tag that claims more bytes than the file has
    if 0 < start < window.size:
        window = window.part(start, window.size)
    head = window.pread(4, 0)
    if head == b"OggS":
        found = links(window, progress)
        return [Part(link) for link in found] if len(found) > 1 else [Part(window)]
    layouts = survey(window, progress)
    if not layouts and not is_known(window) and (start := after_junk(window)):
        window = window.part(start, window.size)
        layouts = survey(window, progress)
    if len(layouts) < 2:
        # libsndfile skips a leading tag in an MP3 file by itself, but fails on one in other files.
        return [Part(window, layouts[0] if layouts else None)] if head else [Part(whole)]
    ends = [layout.start for layout in layouts[1:]] + [window.size]
    return [
        Part(
            window.part(layout.start, end), replace(layout, start=0, end=layout.end - layout.start)
        )
        for layout, end in zip(layouts, ends, strict=True)
    ]
