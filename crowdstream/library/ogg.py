"""Entry points into an Ogg Vorbis file: where decoding can start, and at which exact frame.

libsndfile's own seek in Vorbis files is off by part of a block, or by whole blocks, for a few
positions in a thousand (libsndfile issue 885). So a page is looked up here, and libsndfile is
given the file's headers followed by that page and the rest, to decode from its beginning. Which
frame that beginning is follows from the page format: a page's granule position is the number
of the frame after its last whole packet, so decoding a few pages and counting what comes out
gives the position of the first frame that came out.

Sources: RFC 3533 (Ogg pages), Vorbis I specification, appendix A (granule positions).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from crowdstream.library.splice import SplicedFile

_MAX_PAGE = 27 + 255 + 255 * 255  # bytes
_NO_PACKET_ENDS = -1  # the granule position of a page in whose middle a packet goes on
_CONTINUED = 1  # header flag: the page starts inside a packet
# A page's first packet only primes the decoder, and a block is at most 8192 frames; twice that
# keeps the entry point before the frame that is asked for.
_LEAD = 16384  # frames
# Pages that one look-up may walk over, four times what the smallest real ones need. A file made of
# pages in which no packet ends would hold the loader up with every look-up.
_MOST_WALKED = 5000
_COUNTED_PAGES = 2  # pages decoded to learn the position; one would do, two are a check


@dataclass(frozen=True)
class Page:
    """One Ogg page: byte range `at` to `end`, the frame number after it, its header flags."""

    at: int
    end: int
    granule: int
    flags: int


@dataclass(frozen=True)
class Entry:
    """A stream that decodes from frame `start` of the whole file."""

    start: int
    stream: SplicedFile


class VorbisPages:
    """The pages of one Ogg Vorbis stream, looked up by bisection; nothing is indexed in advance.

    fd: open descriptor, read with `pread` only. size: bytes. frames: length by libsndfile.
    count_frames: decodes a small Ogg stream and returns (frames decoded, frames announced).
    Raises ValueError for files of a shape that this does not handle (several streams in one file).
    """

    def __init__(
        self,
        fd: int,
        size: int,
        frames: int,
        count_frames: Callable[[SplicedFile], tuple[int, int]],
    ) -> None:
        self._fd = fd
        self._size = size
        self._count_frames = count_frames
        self._walked = 0
        first = os.pread(fd, 27, 0)
        if len(first) < 27 or first[:4] != b"OggS":
            raise ValueError("does not start with an Ogg page")
        self._serial = first[14:18]
        self._audio_at = self._skip_headers()
        self._headers = os.pread(fd, self._audio_at, 0)
        # Streams cut out of a broadcast start at a granule position above zero.
        self._base = self._last_granule() - frames
        if self._base < 0:
            raise ValueError("its last page does not match its length")

    def entry(self, target: int) -> Entry | None:
        """A stream that starts at or before frame `target`, or None when there is none sure.

        The caller then decodes from the file's beginning.
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
        return SplicedFile(self._headers, self._fd, start, end)

    def _skip_headers(self) -> int:
        """Byte position of the first audio page: the three header packets end on a page border."""
        at, packets = 0, 0
        while packets < 3:
            page = self._page_at(at)
            if page is None:
                raise ValueError("its Vorbis headers are incomplete")
            lacing = os.pread(self._fd, page.end - page.at, at)
            packets += sum(length < 255 for length in lacing[27 : 27 + lacing[26]])
            at = page.end
            self._walked += 1
            if self._walked > _MOST_WALKED:
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
        """The page that follows the last one to end at or before frame number `granule`."""
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
        """The first page that starts at byte `at` or after it."""
        window = os.pread(self._fd, 2 * _MAX_PAGE, at)
        found = window.find(b"OggS")
        while found >= 0:
            page = self._page_at(at + found)
            # The four letters also occur inside packets; a real page ends where another starts.
            if page is not None and (page.end == self._size or self._page_at(page.end)):
                return page
            found = window.find(b"OggS", found + 1)
        return None

    def _following(self, page: Page) -> Page | None:
        self._walked += 1
        return self._page_at(page.end) if self._walked <= _MOST_WALKED else None

    def _page_at(self, at: int) -> Page | None:
        head = os.pread(self._fd, 27 + 255, at)
        if len(head) < 27 or head[:5] != b"OggS\0" or head[14:18] != self._serial:
            return None
        flags, granule = struct.unpack_from("<Bq", head, 5)
        end = at + 27 + head[26] + sum(head[27 : 27 + head[26]])
        return Page(at, end, granule, flags) if end <= self._size else None
