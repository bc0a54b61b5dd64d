"""Duration of an audio file from its headers alone, for file lists, where decoding is too slow.

No decoder reads the file, so a crafted file can't attack one. The headers are interpreted as the
loader interprets them, so the duration equals the deck's, to the frame; it is None if unknown.

Sources: as in `headers`, `mp3` and `ogg`; xiph.org "FLAC format" (STREAMINFO, frame header) and
"Ogg FLAC mapping", "Vorbis I specification" 4.2.2; RFC 7845 (Opus: 48 kHz, pre-skip).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from crowdstream.audiofile.containers.file_range import ByteRange
from crowdstream.audiofile.containers.headers import check_header, iff_rate
from crowdstream.audiofile.containers.joined_parts import Part, find_parts
from crowdstream.audiofile.containers.mp4 import read_timing
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.transcode import Source, cached_flac, needs_transcoding
from crowdstream.system.safe_open import open_to_read

TAIL = 1 << 17  # bytes at the end of a file, within which its last page or frame begins
_OPUS_RATE = 48000
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz: rates to which Opus is decoded directly
_FIXED_SIZE = (1, 3, 6, 7)  # WAVE formats with a fixed frame size: PCM, float, A-law, µ-law
_EXTENSIBLE = 0xFFFE

Length = tuple[int, int]
"""Number of frames, and their rate in Hz."""


def duration_seconds(path: Path, roots: Sequence[Path] = ()) -> float | None:
    """Return the duration of a file in seconds; None if its headers do not give it.

    roots: the file must lie inside one of these folders, if there are any. Never raises `OSError`.
    """
    found = duration_frames(path, roots)
    return found[0] / found[1] if found else None


def duration_frames(path: Path, roots: Sequence[Path] = ()) -> Length | None:
    """Return the frames that a file plays and their rate; None if its headers do not give them."""
    try:
        with open_to_read(path, roots) as file:
            fd = file.fileno()
            status = os.fstat(fd)
            if needs_transcoding(path, fd):
                return _transcoded_frames(Source(path, fd, status.st_size, status.st_mtime_ns))
            parts = find_parts(ByteRange(fd, 0, status.st_size), lambda: None)
            lengths = [_part_frames(part, path) for part in parts]
    except (AudioFileError, OSError, ArithmeticError, ValueError, LookupError, struct.error):
        return None
    total, rate = 0, 0
    for length in lengths:
        if length is None or (rate and length[1] != rate):
            break  # the loader leaves these parts out, too
        rate = length[1]
        total += length[0]
    return (total, rate) if rate > 0 and 0 < total < 1e7 * rate else None


def transcoded_duration_frames(path: Path, roots: Sequence[Path] = ()) -> Length | None:
    """Like `frames_of` for a file that has to be transcoded; None for any other file."""
    try:
        with open_to_read(path, roots) as file:
            if not needs_transcoding(path, file.fileno()):
                return None
    except (AudioFileError, OSError):
        return None
    return duration_frames(path, roots)


def _transcoded_frames(source: Source) -> Length | None:
    # MP4 files give it to the frame; that of other formats is known once they have been transcoded.
    flac = cached_flac(source)
    if flac is not None:
        return duration_frames(flac)
    timings = read_timing(lambda count, at: os.pread(source.fd, count, at), source.size)
    if len(timings) != 1 or not timings[0].length or not timings[0].rate:
        return None
    timing = timings[0]
    return round((timing.lead + timings[0].length) * timing.rate), timing.rate


def _part_frames(part: Part, path: Path) -> Length | None:
    window = part.window
    if part.layout is not None:
        return part.layout.length, part.layout.first.rate
    head = window.pread(64, 0)
    if head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff_frames(window, path)
    if head[8:12] == b"WAVE" or head[:4] == b"riff":
        return _wave_frames(window, path, ">" if head[:4] == b"RIFX" else "<")
    if head[:4] == b"fLaC":
        return _flac_frames(window, head[8:42], 42)
    if head[:4] == b"OggS":
        return _ogg_frames(window)
    return None


def _wave_frames(window: ByteRange, path: Path, order: str) -> Length | None:
    checked = check_header(window, path)
    kind, _channels, rate, _, width = struct.unpack_from(order + "HHIIH", checked.form)
    if kind == _EXTENSIBLE:
        kind = struct.unpack_from(order + "H", checked.form, 24)[0]
    return (checked.size // width, rate) if kind in _FIXED_SIZE else None


def _aiff_frames(window: ByteRange, path: Path) -> Length | None:
    checked = check_header(window, path)
    channels, bits = struct.unpack_from(">h4xh", checked.form)
    return checked.size // (channels * ((bits + 7) // 8)), iff_rate(checked.form)


def _flac_frames(window: ByteRange, info: bytes, at: int) -> Length | None:
    packed = int.from_bytes(info[10:18], "big")  # bits: rate 20, channels 3, depth 5, samples 36
    samples, rate = packed & ((1 << 36) - 1), packed >> 44
    low, high = struct.unpack_from(">HH", info)
    tail = max(at, window.size - TAIL)
    last = _last_flac_frame(window.pread(TAIL, tail), high if low == high else 0, samples)
    if last is None:
        return (samples, rate) if samples else None
    start, size = last
    if not samples:
        return start + size, rate  # written into a pipe: the header gives no length
    # The header of a truncated file still claims all samples; the frame that was cut is lost.
    return (samples if start + size >= samples else start), rate


def _last_flac_frame(data: bytes, block: int, samples: int) -> tuple[int, int] | None:
    """Return the first sample and the number of samples of the last frame in `data`.

    block: samples in every frame but the last, 0 if they differ. samples: total, 0 if unknown.
    """
    at = data.rfind(b"\xff")
    while at >= 0:
        found = _flac_frame(data[at : at + 16], block)
        if found is not None and (not samples or found[0] < samples):
            return found
        at = data.rfind(b"\xff", 0, at)
    return None


def _flac_frame(head: bytes, block: int) -> tuple[int, int] | None:
    """Parse the FLAC frame that begins `head`; return its first sample and number of samples.

    None if no frame begins here.
    """
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    first = head[4]
    extra = 0
    while first & (0x80 >> extra) and extra < 7:
        extra += 1
    if extra == 1 or len(head) < 5 + max(0, extra - 1) + 3:
        return None
    number = first & (0x7F >> extra) if extra else first
    at = 5
    for _ in range(max(0, extra - 1)):
        number = number << 6 | head[at] & 0x3F
        at += 1
    code = head[2] >> 4
    if code in (6, 7):
        size = int.from_bytes(head[at : at + code - 5], "big") + 1
        at += code - 5
    elif code == 0:
        return None
    else:
        size = 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return (number if head[1] & 1 else number * (block or size)), size


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value


def _ogg_frames(window: ByteRange) -> Length | None:
    head = window.pread(256, 0)
    start = head.find(b"\x01vorbis")
    flac = head.find(b"\x7fFLAC")
    if flac >= 0:
        packed = int.from_bytes(head[flac + 27 : flac + 35], "big")
        samples = packed & ((1 << 36) - 1)
        if samples:
            return samples, packed >> 44
    rate, skip, share = _OPUS_RATE, 0, 1
    if flac >= 0:
        rate = int.from_bytes(head[flac + 27 : flac + 30], "big") >> 4
    elif start >= 0:
        rate = int.from_bytes(head[start + 12 : start + 16], "little")
    elif b"OpusHead" in head:
        at = head.find(b"OpusHead")
        skip, own = struct.unpack_from("<HI", head, at + 10)
        rate = own if own in _OPUS_RATES else _OPUS_RATE
        share = _OPUS_RATE // rate
    else:
        return None
    tail = window.pread(TAIL, max(0, window.size - TAIL))
    serial, last = head[14:18], len(tail)
    granule = -1
    while granule < 0:
        last = tail.rfind(b"OggS", 0, last)
        if last < 0:
            return None
        count = tail[last + 26] if last + 27 <= len(tail) else 0
        whole = last + 27 + count + sum(tail[last + 27 : last + 27 + count]) <= len(tail)
        if tail[last + 14 : last + 18] == serial and whole:
            granule = int.from_bytes(tail[last + 6 : last + 14], "little", signed=True)
    return (granule - skip) // share, rate
