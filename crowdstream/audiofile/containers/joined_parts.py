"""The recordings that a file was joined of, one after the other; most files hold one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from crowdstream.audiofile.containers.file_range import Window
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
    """One recording within a file, and of an MP3 what its frame headers say."""

    window: Window
    layout: Mp3Layout | None = None


def find_parts(window: Window, progress: Callable[[], None]) -> list[Part]:
    """The recordings in a file, in order, at least one; without the ID3v2 tags before the first.

    progress: called now and then, while all of the file is gone through.
    """
    whole = window
    start = after_tags(window)
    if start >= window.size > 0:
        start = first_frame(window)  # a tag that claims more than the file
    if 0 < start < window.size:
        window = window.part(start, window.size)
    head = window.pread(4, 0)
    if head == b"OggS":
        found = links(window, progress)
        return [Part(link) for link in found] if len(found) > 1 else [Part(window)]
    layouts = survey(window)
    if not layouts and not is_known(window) and (start := after_junk(window)):
        window = window.part(start, window.size)
        layouts = survey(window)
    if len(layouts) < 2:
        # A tag in front is libsndfile's own to skip in an MP3 file, and trips it up in others.
        return [Part(window, layouts[0] if layouts else None)] if head else [Part(whole)]
    ends = [layout.start for layout in layouts[1:]] + [window.size]
    return [
        Part(
            window.part(layout.start, end), replace(layout, start=0, end=layout.end - layout.start)
        )
        for layout, end in zip(layouts, ends, strict=True)
    ]
