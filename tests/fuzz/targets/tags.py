"""The parts of sound files that the server itself parses: sizes, tags, MP3 frames, Ogg pages."""

from __future__ import annotations

import math
import os

from crowdstream.audiofile.containers.file_range import ByteRange, SplicedFile
from crowdstream.audiofile.containers.headers import check_header
from crowdstream.audiofile.containers.mp3 import after_tags, survey, with_length_tag
from crowdstream.audiofile.containers.ogg import VorbisPages, links
from crowdstream.audiofile.duration import duration_seconds
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.tags import MAX_TEXT, read_tags
from crowdstream.system.text import is_line
from tests.fuzz.encoded_sounds import all_sounds
from tests.fuzz.registry import Fault, Target
from tests.support import scratch_files


def run(data: bytes) -> None:
    """Examine a file without libsndfile."""
    path = scratch_files.folder() / "tags"
    path.write_bytes(data)
    tags = read_tags(path)
    length = duration_seconds(path)
    if length is not None and not 0 < length < math.inf:
        raise Fault(f"a length of {length} s")
    if tags.bpm is not None and not (math.isfinite(tags.bpm) and tags.bpm > 0):
        raise Fault(f"a tempo of {tags.bpm}")
    for text in tags.texts().values():
        if not (is_line(text) and len(text) <= MAX_TEXT):
            raise Fault(f"a tag that is not one line: {text!r}")
    fd = os.open(path, os.O_RDONLY)
    try:
        window = ByteRange(fd, 0, len(data))
        _headers(window, data, path)
        _mp3(window, data)
        _ogg(window, data)
    finally:
        os.close(fd)


def _headers(window: ByteRange, data: bytes, path: os.PathLike[str]) -> None:
    try:
        head = check_header(window, scratch_files.folder() / path).head
    except AudioFileError as error:
        if not is_line(str(error)):
            raise Fault(f"a refusal is not one line: {error}") from error
        return
    if head is not None and not (0 < len(head.data) <= 16384 and 0 <= head.end <= len(data)):
        raise Fault(f"{len(head.data)} bytes of header for {head.end} of {len(data)}")


def _mp3(window: ByteRange, data: bytes) -> None:
    if not 0 <= after_tags(window) <= len(data):
        raise Fault(f"the sound starts at {after_tags(window)} of {len(data)}")
    before = 0
    for layout in survey(window):
        inside = before <= layout.start <= layout.end <= len(data)
        if not (inside and 0 <= layout.length <= layout.frames <= 1152 * len(data)):
            raise Fault(f"{layout} in {len(data)} bytes")
        before = layout.end
        with_length_tag(window, layout).read(1000)


def _ogg(window: ByteRange, data: bytes) -> None:
    found = links(window, lambda: None)
    if sum(link.size for link in found) != len(data):
        raise Fault(f"{found} do not cover the {len(data)} bytes")

    def count(source: SplicedFile) -> tuple[int, int]:
        held = len(source.read(10_000))
        return held, held

    for frames in (0, 1500, 100_000):
        try:
            pages = VorbisPages(window, frames, count)
        except ValueError:
            continue
        for target in (0, 16_384, 70_000, 2**40):
            entry = pages.entry(target)
            if entry and not 0 <= entry.start <= target:
                raise Fault(f"the entry for frame {target} is at {entry.start}")


TARGET = Target(
    "tags",
    "sizes, tags, MP3 frames and Ogg pages of any bytes: a declared error or a plausible result, "
    "quickly",
    run,
    all_sounds,
    (
        "crowdstream.audiofile.tags",
        "crowdstream.audiofile.containers.headers",
        "crowdstream.audiofile.containers.mp3",
        "crowdstream.audiofile.containers.ogg",
        "crowdstream.audiofile.containers.file_range",
    ),
    longest=16384,
)
