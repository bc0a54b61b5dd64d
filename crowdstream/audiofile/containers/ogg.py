"""Ogg files: the streams of which a file was joined, and entry points into a Vorbis stream.

libsndfile's own seek in Vorbis files is off by part of a block, or by whole blocks, for a few
positions in a thousand (libsndfile issue 885). Instead, this module looks up a page, and libsndfile
decodes from the beginning of a file that consists of the headers followed by that page and the
rest. The number of its first frame follows from the page format: a page's granule position is the
number of the frame after its last complete packet, so decoding a few pages and counting the
resulting frames gives the position of the first one.

A file may hold several consecutive streams ("chained"), as web radios send them and `cat` joins
them. libsndfile plays only the first; `links` finds all of them.

Sources: RFC 3533 (Ogg pages), Vorbis I specification, appendix A (granule positions).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from crowdstream.audiofile.containers.file_range import ByteRange, SplicedFile, VirtualFile

_MAX_PAGE = 27 + 255 + 255 * 255  # bytes
_NO_PACKET_ENDS = -1  # granule position of a page in which no packet ends
_CONTINUED = 1  # header flag: the page starts inside a packet
# A page's first packet only primes the decoder, and a block is at most 8192 frames; twice that
# keeps the entry point before the requested frame.
_LEAD = 16384  # frames
# Limit on pages per look-up, four times what the smallest real pages need. A file of pages in which
# no packet ends would otherwise block the loader at every look-up.
_MAX_WALKED = 5000
_COUNTED_PAGES = 2  # pages decoded to determine the position; one would do, the second is a check


@dataclass(frozen=True)
class Page:
    """One Ogg page: bytes `at` to `end`, the frame number after it, and its header flags."""

    at: int
    end: int
    granule: int
    flags: int


_CHUNK = 1 << 20  # bytes read at a time while pages are scanned
_MAX_PAGES = 500_000  # per file: 2 GB of real pages; tiny ones would block the loader for hours
MAX_LINKS = 1000  # a web radio's day has 400
FLAC_MARK = b"\x7fFLAC"  # begins the first packet; a version and a count follow
_FIRST = 2  # header flag: the page begins a stream


def links(window: ByteRange, progress: Callable[[], None]) -> list[ByteRange]:
    """Return the consecutive streams in a file, at least one.

    Takes one pass over the page headers, 40 ms for an hour of music. Bytes between pages are
    skipped. Streams whose first pages are adjacent belong to one link, because multiplexed streams,
    as in a film, begin together.
    """
    starts: list[int] = [0]
    at, base, data = 0, 0, b""
    before_first = True
    for _ in range(_MAX_PAGES):
        if at + 27 + 255 > base + len(data):
            base, data = at, window.pread(_CHUNK, at)
            progress()
        here = at - base
        if data[here : here + 4] != b"OggS":
            found = data.find(b"OggS", here + 1)
            if found < 0:
                if base + len(data) >= window.size:
                    break
                at = max(at + 1, base + len(data) - 3)
                continue
            at = base + found
            continue
        head = data[here : here + 27 + 255]
        if len(head) < 27:
            break
        if head[5] & _FIRST:
            if not before_first:
                starts.append(at)
                before_first = True
                if len(starts) >= MAX_LINKS:
                    break
        else:
            before_first = False
        at += 27 + head[26] + sum(head[27 : 27 + head[26]])
    ends = [*starts[1:], window.size]
    return [window.part(start, end) for start, end in zip(starts, ends, strict=True)]


class FlacInOgg(VirtualFile):
    """The FLAC file inside an Ogg FLAC file, read without unpacking it.

    The concatenated contents of the pages are a FLAC file after a nine-byte mark. libsndfile can
    seek in that, but not in the Ogg file. Raises ValueError if the file holds no FLAC.
    """

    def __init__(self, window: ByteRange) -> None:
        super().__init__()
        self._window = window
        self._places: list[int] = []  # byte offsets of the pages' contents in the window
        self._begins: list[int] = []  # and in this file
        serial = window.pread(4, 14)
        at, base, data = 0, 0, b""
        for _ in range(_MAX_PAGES):
            if at + 27 + 255 > base + len(data):
                base, data = at, window.pread(_CHUNK, at)
            head = data[at - base : at - base + 27 + 255]
            if len(head) < 27 or head[:4] != b"OggS":
                break
            content = at + 27 + head[26]
            at = content + sum(head[27 : 27 + head[26]])
            if head[14:18] != serial or content >= window.size:
                continue
            skip = len(FLAC_MARK) + 4 if not self._places else 0
            self._places.append(content + skip)
            self._begins.append(self._length)
            self._length += min(at, window.size) - content - skip
        if not self._places or window.pread(4, self._places[0]) != b"fLaC":
            raise ValueError("it holds no FLAC")

    def _read_at(self, at: int, count: int) -> bytes:
        page = bisect_right(self._begins, at) - 1
        last = page + 1 == len(self._begins)
        end = self._length if last else self._begins[page + 1]
        place = self._places[page] + at - self._begins[page]
        return self._window.pread(min(count, end - at), place)


@dataclass(frozen=True)
class Entry:
    """A stream that decodes from frame `start` of the whole file."""

    start: int
    stream: SplicedFile


class VorbisPages:
    """The pages of one Ogg Vorbis stream, found by bisection; nothing is indexed in advance.

    frames: length according to libsndfile. count_frames: decodes a small Ogg stream and returns
    (frames decoded, frames announced). Raises ValueError for unsupported layouts, such as several
    streams in one file.
    """

    def __init__(
        self,
        window: ByteRange,
        frames: int,
        count_frames: Callable[[SplicedFile], tuple[int, int]],
    ) -> None:
        self._window = window
        self._size = window.size
        self._count_frames = count_frames
        self._walked = 0
        first = window.pread(27, 0)
        if len(first) < 27 or first[:4] != b"OggS":
            raise ValueError("does not start with an Ogg page")
        self._serial = first[14:18]
        self._audio_at = self._skip_headers()
        self._headers = window.pread(self._audio_at, 0)
        # Streams cut out of a broadcast start at a granule position above zero.
        self._base = self._last_granule() - frames
        if self._base < 0:
            raise ValueError("its last page does not match its length")

    def entry(self, target: int) -> Entry | None:
        """Return a stream that starts at or before frame `target`; None if none is certain.

        Given None, the caller decodes from the file's beginning.
        """
        self._walked = 0
        page = self._page_before(target + self._base - _LEAD)
        while page is not None and page.flags & _CONTINUED:
            page = self._following(page)
        if page is None:
            return None
        last = page
        for _ in range(_COUNTED_PAGES):
            following = self._page_at(last.end)
            if following is None or following.granule == _NO_PACKET_ENDS:
                return None
            last = following
        counted, announced = self._count_frames(self._spliced(page.at, last.end))
        start = last.granule - counted - self._base
        if counted != announced or not 0 <= start <= target:
            return None
        return Entry(start, self._spliced(page.at, self._size))

    def _spliced(self, start: int, end: int) -> SplicedFile:
        return SplicedFile(self._headers, self._window, start, end)

    def _skip_headers(self) -> int:
        """Return the offset of the first audio page.

        The three header packets end on a page border. Raises ValueError if they are incomplete.
        """
        at, packets = 0, 0
        while packets < 3:
            page = self._page_at(at)
            if page is None:
                raise ValueError("its Vorbis headers are incomplete")
            lacing = self._window.pread(page.end - page.at, at)
            packets += sum(length < 255 for length in lacing[27 : 27 + lacing[26]])
            at = page.end
            self._walked += 1
            if self._walked > _MAX_WALKED:
                raise ValueError("its Vorbis headers take too many pages")
        return at

    def _last_granule(self) -> int:
        at = max(self._audio_at, self._size - 2 * _MAX_PAGE)
        granule = None
        page = self._next_page(at)
        while page is not None:
            if page.granule != _NO_PACKET_ENDS:
                granule = page.granule
            at = page.end
            page = self._page_at(at)
        if granule is None or at != self._size:
            raise ValueError("it does not end with a page of its first stream")
        return granule

    def _page_before(self, granule: int) -> Page | None:
        """Return the page that follows the last one to end at or before frame number `granule`."""
        low, high = self._audio_at, self._size
        while high - low > 2 * _MAX_PAGE:
            middle = (low + high) // 2
            page = self._next_page(middle)
            while page is not None and page.granule == _NO_PACKET_ENDS:
                page = self._following(page)
            if page is None or page.granule > granule:
                high = middle
            else:
                low = page.at
        found = None
        page = self._page_at(low) or self._next_page(low)
        while page is not None and page.granule <= granule:
            page = self._following(page)
            found = page
        return found

    def _next_page(self, at: int) -> Page | None:
        """Return the first page that starts at byte `at` or after it."""
        window = self._window.pread(2 * _MAX_PAGE, at)
        found = window.find(b"OggS")
        while found >= 0:
            page = self._page_at(at + found)
            # The four letters also occur inside packets; a real page ends where another one starts.
            if page is not None and (page.end == self._size or self._page_at(page.end)):
                return page
            found = window.find(b"OggS", found + 1)
        return None

    def _following(self, page: Page) -> Page | None:
        self._walked += 1
        return self._page_at(page.end) if self._walked <= _MAX_WALKED else None

    def _page_at(self, at: int) -> Page | None:
        head = self._window.pread(27 + 255, at)
        if len(head) < 27 or head[:5] != b"OggS\0" or head[14:18] != self._serial:
            return None
        flags, granule = struct.unpack_from("<Bq", head, 5)
        end = at + 27 + head[26] + sum(head[27 : 27 + head[26]])
        return Page(at, end, granule, flags) if end <= self._size else None
