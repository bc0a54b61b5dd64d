"""MP3 files: where the audio begins, its length, and the encodings of which a file was joined.

Without the Xing/Info tag that most encoders write, mpg123 (libsndfile's MP3 decoder) guesses the
length from the first frame and the file's size. The guess is slightly too long for constant-rate
files and far off for variable-rate ones. Counting the frame headers gives the true length.
libsndfile never reads past its guess; where that is too short, a tag made here and placed before
the first frame gives the decoder the true length. Joined files hold a tag in their middle, and
mpg123 stops at the end of the first one; here, each part is decoded separately.

Sources: ISO/IEC 11172-3 and 13818-3 (frame header); "Xing/Info tag" as written by LAME ("MP3 Info
Tag revision 1", gabriel.mp3-tech.org); id3.org "ID3 tag version 2.4.0" (header).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from crowdstream.audiofile.containers.file_range import ByteRange, SplicedFile

_BIT_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s
_BIT_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_CHUNK = 1 << 20  # bytes read at a time while counting
# Limit, per file, on places where a frame could begin and none does. Pictures between joined tracks
# have a few thousand; a file made of nothing else would block the loader for hours.
_MAX_TRIES = 200_000
_TAG_BYTES = 256  # of a frame, enough to hold its Xing/Info tag
MAX_PARTS = 1000
_SLIP_FRAMES = 8
_MAX_ID3 = 32  # consecutive tags before the audio
_MAX_PADDING = 1 << 16  # zero bytes between tags and audio
_MAX_JUNK = 1 << 16  # bytes before the audio that are not a tag
_MAX_FRAME_BYTES = 1 << 11  # 1441 bytes, plus the next frame's header
_SURE_FRAMES = 8  # consecutive frames, which occur by chance in about one of 2**60 files
# Frames that mpg123 itself delays; it trims them only if the file carries a tag.
DECODER_DELAY = 529  # frames
# Delay that most encoders (LAME, and with it ffmpeg) put before the first sample.
ENCODER_DELAY = 576  # frames


@dataclass(frozen=True)
class FrameHeader:
    """Contents of a layer III frame's four header bytes; `length` is in bytes, `rate` in Hz."""

    length: int
    mpeg1: bool
    mono: bool
    rate: int

    @property
    def samples(self) -> int:
        """Number of sample frames that the frame decodes to."""
        return 1152 if self.mpeg1 else 576

    @property
    def side(self) -> int:
        """Bytes of side information, after which a Xing/Info tag begins."""
        if self.mpeg1:
            return 17 if self.mono else 32
        return 9 if self.mono else 17


def parse_header(head: bytes) -> FrameHeader | None:
    """Parse the layer III frame header in the first four bytes of `head`; None if there is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate, frequency = (head[1] >> 3) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or rate in (0, 15) or frequency == 3:
        return None
    mpeg1 = version == 3
    bits = (_BIT_RATES_1 if mpeg1 else _BIT_RATES_2)[rate] * 1000
    padding = (head[2] >> 1) & 1
    hertz = _SAMPLE_RATES[version][frequency]
    length = (144 if mpeg1 else 72) * bits // hertz + padding
    return FrameHeader(length, mpeg1, head[3] >> 6 == 3, hertz)


@dataclass(frozen=True)
class InfoTag:
    """A Xing/Info tag: claimed number of MPEG frames, and delay and padding in samples.

    frames is None if the tag does not state it; delay and padding are None without LAME's
    extension.
    """

    frames: int | None
    delay: int | None
    padding: int | None


def info_tag(frame: bytes, header: FrameHeader) -> InfoTag | None:
    """Parse the Xing/Info tag in a frame's first 256 bytes; None if the frame holds audio."""
    at = 4 + header.side
    if frame[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if flags > 15:
        return None
    frames = int.from_bytes(frame[at + 8 : at + 12], "big") if flags & 1 else None
    at += 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4)
    at += 4 * bool(flags & 8)
    packed = frame[at + 21 : at + 24]
    if len(packed) < 3 or not frame[at : at + 4].isalnum() or not any(packed):
        return InfoTag(frames, None, None)
    both = int.from_bytes(packed, "big")
    return InfoTag(frames, both >> 12, both & 0xFFF)


@dataclass(frozen=True)
class Mp3Layout:
    """One encoding in an MP3 file, as found by a walk over its frame headers.

    start, end: byte offsets of the first frame and of the end of the last one. count: MPEG frames
    that hold audio. first: header of the first frame. tag: its Xing/Info tag, if there is one.
    """

    start: int
    end: int
    count: int
    first: FrameHeader
    tag: InfoTag | None

    @property
    def frames(self) -> int:
        """Sample frames that the audio decodes to, before any trimming."""
        return self.count * self.first.samples

    @property
    def length(self) -> int:
        """Sample frames after the trimming that the tag requests, as mpg123 does it.

        An encoding without a tag is given one by `with_length_tag`, with which mpg123 trims its own
        delay.
        """
        trimmed = DECODER_DELAY
        if self.tag is not None and self.tag.delay is not None and self.tag.padding is not None:
            trimmed = self.tag.delay + (DECODER_DELAY if self.missing else self.tag.padding)
        return max(0, self.frames - trimmed)

    @property
    def missing(self) -> int:
        """Sample frames that the tag claims and the file does not hold."""
        claimed = self.tag.frames if self.tag is not None else None
        return max(0, (claimed or 0) - self.count) * self.first.samples

    @property
    def unknown_delay(self) -> int:
        """Sample frames that an encoder most likely put before the audio and that nothing trims."""
        return ENCODER_DELAY if self.tag is None or self.tag.delay is None else 0


def after_tags(window: ByteRange) -> int:
    """Return the offset of the first byte after leading ID3v2 tags and the zeros that pad them."""
    at = 0
    for _ in range(_MAX_ID3):
        head = window.pread(10, at)
        if head[:3] != b"ID3" or len(head) < 10 or max(head[6:]) > 0x7F or head[3] == 0xFF:
            break
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte
        at += 10 + size + (10 if head[5] & 0x10 else 0)
        # Some writers leave zeros behind a tag that they enlarge, or count its header twice.
        padding = window.pread(_MAX_PADDING, at)
        zeros = len(padding) - len(padding.lstrip(b"\0"))
        if zeros > 4 or (zeros and padding[zeros : zeros + 3] in (b"ID3", b"fLa")):
            at += zeros
    return min(at, window.size)


def first_frame(window: ByteRange) -> int:
    """Return the byte offset of the first frame that another one follows; 0 if there is none."""
    return _Walk(window).next(0) or 0


def after_junk(window: ByteRange) -> int:
    """Return the byte offset of the first of several frames of one kind; 0 if none begins soon.

    For files of no known format: radio rippers and broken tags leave bytes before the audio.
    """
    # Only the beginning is searched, however large the file is.
    walk, at = _Walk(window.part(0, min(window.size, _MAX_JUNK + _MAX_FRAME_BYTES))), 0
    while (found := walk.next(at)) is not None and found <= _MAX_JUNK:
        at, place, kinds = found, found, set()
        for _ in range(_SURE_FRAMES):
            frame = parse_header(window.pread(4, place))
            if frame is None:
                break
            kinds.add((frame.rate, frame.mpeg1))
            place += frame.length
        else:
            if len(kinds) == 1:
                return at
    return 0


def survey(window: ByteRange, progress: Callable[[], None] = lambda: None) -> list[Mp3Layout]:
    """Walk over an MP3 file's frame headers and return its encodings in order.

    Empty if the file does not start with layer III frames. Takes one pass over the file, about 40
    ms for an hour of music. progress: called for each megabyte, which a slow medium delivers late.
    """
    at = 0
    found: list[Mp3Layout] = []
    walk = _Walk(window, progress)
    while len(found) < MAX_PARTS:
        part, following = walk.part(at)
        if part is None:
            break
        found.append(part)
        if following is None:
            break
        at = following
    return found


class _Walk:
    """A walk from frame to frame that skips other bytes, up to `_MAX_TRIES` places per file."""

    def __init__(self, window: ByteRange, progress: Callable[[], None] = lambda: None) -> None:
        self._window = window
        self._progress = progress
        self._tries = 0
        self._base, self._data = 0, b""

    def part(self, start: int) -> tuple[Mp3Layout | None, int | None]:
        """Return the encoding that begins at byte `start`, and where the next one begins, if any.
        """
        head = self._window.pread(_TAG_BYTES, start)
        first = parse_header(head)
        if first is None or start + first.length > self._window.size:
            return None, None
        tag = info_tag(head, first)
        # Frames beyond the tag's count were appended, unless an encoder's error explains them.
        counted = 1 + tag.frames if tag is not None and tag.frames else 0
        beyond = end_of_counted = 0
        next_part: int | None = None
        frames, at, end = 0, start, start
        while at + 4 <= self._window.size:
            frame = parse_header(self._bytes(at, 4))
            if frame is None:
                following = self.next(at)
                if following is None:
                    break
                at = following
                continue
            if at + frame.length > self._window.size:
                break
            if at != start and self._begins(at, frame, first):
                next_part = at
                break
            if frames == counted and counted:
                beyond, end_of_counted = at, end
            frames += 1
            at += frame.length
            end = at
        if beyond and frames - counted > _SLIP_FRAMES:
            frames, end, next_part = counted, end_of_counted, beyond
        layout = Mp3Layout(start, end, frames - (tag is not None), first, tag)
        return layout, next_part

    def _begins(self, at: int, frame: FrameHeader, first: FrameHeader) -> bool:
        if frame.rate != first.rate:
            # A single frame at another rate is damage, not another encoding.
            ahead = parse_header(self._window.pread(4, at + frame.length))
            return ahead is not None and ahead.rate == frame.rate
        place = 4 + frame.side
        mark = self._bytes(at, place + 4)[place:]
        return mark in (b"Xing", b"Info") and (
            info_tag(self._window.pread(_TAG_BYTES, at), frame) is not None
        )

    def _bytes(self, at: int, count: int) -> bytes:
        if at + count > self._base + len(self._data) or at < self._base:
            self._base, self._data = at, self._window.pread(_CHUNK, at)
            self._progress()
        return self._data[at - self._base : at - self._base + count]

    def next(self, at: int) -> int | None:
        """Return the offset of the next frame after byte `at` that another frame follows."""
        # A lone 0xFF is not a frame: require a second header where the first frame would end.
        while self._tries <= _MAX_TRIES and at + 4 <= self._window.size:
            self._tries += 1
            self._bytes(at, 4)
            found = self._data.find(b"\xff", at - self._base + 1)
            at = self._base + (found if found >= 0 else len(self._data))
            if found < 0:
                continue
            ahead = parse_header(self._bytes(at, 4))
            if ahead and parse_header(self._window.pread(4, at + ahead.length)) is not None:
                return at
        return None


def with_length_tag(window: ByteRange, layout: Mp3Layout) -> SplicedFile:
    """Return the MP3 file with its true length in a tag before or inside its first frame.

    mpg123 trims its own delay (529 frames) from the start of files that have such a tag. Raises
    ValueError if the file no longer starts with the frame that was found there.
    """
    head = window.pread(4, layout.start)
    first = parse_header(head)
    if first is None:
        raise ValueError("the file no longer starts with the frame that was found there")
    if layout.tag is not None:
        own = window.pread(first.length, layout.start)
        tag = _with_count(own, first, layout.count)
        return SplicedFile(tag, window, layout.start + first.length, layout.end)
    tag = _length_tag(head, first, layout.count, layout.end - layout.start)
    return SplicedFile(tag, window, layout.start, layout.end)


def _with_count(frame: bytes, header: FrameHeader, frames: int) -> bytes:
    """Return the frame with its Xing/Info tag rewritten to claim `frames` MPEG frames."""
    at = 4 + header.side + 4
    flags = int.from_bytes(frame[at : at + 4], "big")
    rest = frame[at + (8 if flags & 1 else 4) :]
    own = frame[:at] + struct.pack(">II", flags | 1, frames) + rest
    return own[: len(frame)].ljust(len(frame), b"\0")


def _length_tag(head: bytes, first: FrameHeader, frames: int, audio_bytes: int) -> bytes:
    """Return a silent frame of the same kind as the first one that holds an "Info" tag.

    Its bit rate is the lowest whose frames have room for the tag.
    """
    tag = b"Info" + struct.pack(">III", 3, frames, audio_bytes)
    for rate in range(1, 15):
        # No checksum (bit 0 of byte 1), no padding.
        own = bytes([0xFF, head[1] | 1, rate << 4 | head[2] & 0x0C, head[3]])
        frame = parse_header(own)
        if frame is not None and frame.length >= 4 + first.side + len(tag):
            return (own + bytes(first.side) + tag).ljust(frame.length, b"\0")
    raise AssertionError("the highest bit rate always has room")
