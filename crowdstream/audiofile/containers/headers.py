"""Check the size fields of WAV and AIFF headers against the file that carries them.

libsndfile reads the zero that a streaming encoder leaves in its header as "no audio", fails on a
missing pad byte, does not support BW64, and plays what is left of a truncated file without a
warning. This module resolves all of these cases before libsndfile sees the file: audio is played to
its end, with a warning where the header claims something else.

Sources: Microsoft/IBM "Multimedia Programming Interface and Data Specifications 1.0" (RIFF), EBU
Tech 3306 (RF64), Recommendation ITU-R BS.2088 (BW64), Sony "Wave64 file format" and Apple "AIFF-C,
draft 8/26/91".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crowdstream.audiofile.containers.file_range import ByteRange
from crowdstream.audiofile.errors import EmptyAudio, TruncatedAudio

# Placeholders that encoders leave in the length field when they write into a pipe and can't seek
# back: ffmpeg all ones or zero, sox 0x7FFFF000, arecord the two values around 2 GiB, and others 2
# 000 000 000.
UNKNOWN_LENGTHS = frozenset(
    {0, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFDB, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFFFDB, 0x80000000}
    | {2_000_000_000}
)
_W64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_MAX_UINT32 = 0xFFFFFFFF
# A real file has a dozen; the limit stops a walk through crafted zero-length chunks.
_MAX_CHUNKS = 10_000
_MAX_SEARCH_BYTES = 1 << 20  # in which the audio chunk is searched for when the sizes lead nowhere
# A writer that counts its header as audio claims slightly too much: that merits no warning.
_TOLERANCE_BYTES = 4096
_KNOWN_CHUNKS = frozenset(
    b"fmt |fact|data|LIST|bext|id3 |ID3 |acid|smpl|inst|cue |plst|JUNK|junk|PAD |FLLR|PEAK|iXML|"
    b"axml|chna|cart|DISP|ds64|minf|elm1|regn|umid|_PMX|afsp|COMM|SSND|FVER|NAME|AUTH|(c) |ANNO|"
    b"COMT|MARK|INST|MIDI|AESD|APPL|SAUR|CHAN".split(b"|")
)
# Tags that programs append after the audio of any file; they are not chunks.
_APPENDED = (b"TAG", b"APETAGEX", b"ID3", b"LYRICS", b"\0\0\0\0")


@dataclass(frozen=True)
class Chunk:
    """One chunk of an IFF-like file; `at` and `size` are the offset and size of its body in bytes.

    odd: the chunk does not begin where the previous one ends.
    """

    tag: bytes
    at: int
    size: int
    odd: bool = False


@dataclass(frozen=True)
class ReplacementHeader:
    """Bytes to read in place of a file's own bytes up to `end`, where its audio begins.

    stretched: number of bytes by which the audio continues beyond the size in the header.
    """

    data: bytes
    end: int
    stretched: int = 0


@dataclass(frozen=True)
class HeaderCheck:
    """Result of a header check: the replacement header, if one is needed, and the audio's range.

    missing: bytes of audio that the header claims and the file does not hold. at, size: offset and
    size of the audio in bytes, 0 if unknown. form: body of the format chunk (`fmt ` or `COMM`).
    """

    head: ReplacementHeader | None = None
    missing: int = 0
    at: int = 0
    size: int = 0
    form: bytes = b""


UNCHANGED = HeaderCheck()


def check_header(window: ByteRange, path: Path) -> HeaderCheck:
    """Check a file's header and return its replacement, if one is needed, and its irregularities.

    Raises TruncatedAudio if a header ends before any audio, and EmptyAudio if a WAV or AIFF file
    ends before its first frame.
    """
    start = window.pread(16, 0)
    if start[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX") and start[8:12] == b"WAVE":
        return _check_wave(window, path, start[:4])
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return _check_aiff(window, path)
    if start[:4] == b"riff" and start[4:16] == bytes.fromhex("2e91cf11a5d628db04c10000"):
        form = b""
        for chunk in w64_chunks(window):
            if chunk.tag == b"data":
                rest = window.size - chunk.at
                audio = chunk.at, min(chunk.size, rest), form
                return HeaderCheck(None, _missing(chunk.size, rest), *audio)
            if chunk.tag == b"fmt ":
                form = window.pread(min(chunk.size, _TOLERANCE_BYTES), chunk.at)
    return UNCHANGED


def _check_wave(window: ByteRange, path: Path, form: bytes) -> HeaderCheck:
    order = ">" if form == b"RIFX" else "<"
    big_size = None
    kept: dict[bytes, bytes] = {}
    odd = form == b"BW64"
    for chunk in chunks(window, order, b"data"):
        odd = odd or chunk.odd
        if chunk.tag == b"ds64":
            big_size = int.from_bytes(window.pread(16, chunk.at)[8:], "little")
        if chunk.tag in (b"fmt ", b"fact") and chunk.size <= _TOLERANCE_BYTES:
            kept.setdefault(chunk.tag, window.pread(chunk.size, chunk.at))
        if chunk.tag != b"data":
            continue
        rest = window.size - chunk.at
        riff_size = struct.unpack(order + "I", window.pread(4, 4))[0]
        # In a truly empty file, the RIFF size covers the zero-length chunk and what follows it.
        counts_what_follows = riff_size not in UNKNOWN_LENGTHS and riff_size + 8 > chunk.at
        if rest <= 0 and chunk.size not in UNKNOWN_LENGTHS:
            raise TruncatedAudio(
                path,
                f"its header claims {chunk.size} bytes of audio and the file holds none; "
                "copy or export it again",
            )
        if rest <= 0 or (chunk.size == 0 and counts_what_follows and big_size is None):
            raise EmptyAudio(path, "it has a WAV header and no audio; export it again")
        size = chunk.size
        if size == _MAX_UINT32 and big_size not in (None, 0, 0xFFFFFFFFFFFFFFFF):
            size = int(big_size or 0)
        elif size in UNKNOWN_LENGTHS:
            # The recording may really have that many bytes; in that case, other chunks follow.
            following = window.pread(8, chunk.at + size) if 0 < size < rest else b""
            is_real_size = _is_chunk(following, rest - size - 8, order)
            size = size if is_real_size else rest
        elif rest > _MAX_UINT32 and _wrapped(size, rest):
            size = rest
        missing = _missing(size, rest)
        played = min(size, rest)
        stretched = _unclaimed_bytes(window, chunk.at, played, order)
        played += stretched
        if b"fmt " not in kept:
            return HeaderCheck(missing=missing)  # it may come later; libsndfile decides
        audio = chunk.at, played, kept[b"fmt "]
        fine = not (odd or stretched) and (
            played == chunk.size or (chunk.size == _MAX_UINT32 and bool(big_size))
        )
        # libsndfile reads a size that is too large as "to the end of the file".
        if (fine and size == played) or (
            not odd and not stretched and chunk.size > rest and form == b"RIFF"
        ):
            return HeaderCheck(None, missing, *audio)
        head = _wave_head(kept, played, order)
        return HeaderCheck(ReplacementHeader(head, chunk.at, stretched), missing, *audio)
    raise TruncatedAudio(path, "its WAV header ends before any audio; copy or export it again")


def _wave_head(kept: dict[bytes, bytes], size: int, order: str) -> bytes:
    """Return a WAV header for `size` bytes of audio, with the old header's `fmt` and `fact` chunks.

    Above 4 GB it is an RF64 header, with 64-bit sizes in a `ds64` chunk of 28 bytes (EBU Tech
    3306).
    """
    body = b"".join(
        tag + struct.pack(order + "I", len(data)) + data + b"\0" * (len(data) & 1)
        for tag, data in kept.items()
    )
    total = 4 + len(body) + 8 + size
    if total <= _MAX_UINT32:
        form = b"RIFF" if order == "<" else b"RIFX"
        sizes = struct.pack(order + "I", total), struct.pack(order + "I", size)
        return form + sizes[0] + b"WAVE" + body + b"data" + sizes[1]
    big = struct.pack("<4sIQQQI", b"ds64", 28, total + 36, size, 0, 0)
    unknown = b"\xff" * 4
    return b"RF64" + unknown + b"WAVE" + big + body + b"data" + unknown


def _unclaimed_bytes(window: ByteRange, at: int, size: int, order: str) -> int:
    """Return the bytes of audio after a data chunk whose header was never updated; 0 if none.

    Audio with a correct size is followed by chunks up to the file's end, or by appended tags.
    """
    end = at + size + (size & 1)
    left = window.size - at - size
    if left <= _TOLERANCE_BYTES:
        return 0
    following = window.pread(12, end)
    if following.startswith(_APPENDED) or _is_chunk(following, window.size - end - 8, order):
        return 0
    # If the pad byte is missing, the chunk lies one byte earlier.
    if size & 1 and _is_chunk(window.pread(8, end - 1), window.size - end - 7, order):
        return 0
    return left


def _check_aiff(window: ByteRange, path: Path) -> HeaderCheck:
    comm: bytes | None = None
    odd = little = False
    kind = window.pread(4, 8)
    for chunk in chunks(window, ">", b"SSND"):
        odd = odd or chunk.odd
        if chunk.tag == b"COMM" and chunk.size <= _TOLERANCE_BYTES:
            comm = window.pread(chunk.size, chunk.at)
        if chunk.tag == b"wave":
            little = _is_little(window.pread(min(chunk.size, _TOLERANCE_BYTES), chunk.at))
        if chunk.tag != b"SSND":
            continue
        rest = window.size - chunk.at
        if rest <= 8:
            raise EmptyAudio(path, "it has an AIFF header and no audio; export it again")
        if comm is None or len(comm) < 18:
            return UNCHANGED
        channels, frames, bits = struct.unpack(">hIh", comm[:8])
        width = channels * ((bits + 7) // 8)
        if width <= 0:
            return UNCHANGED
        if kind == b"AIFC" and comm[18:22] not in _PLAIN_AIFF:
            return HeaderCheck(missing=_missing(chunk.size, rest))
        size = rest if chunk.size in UNKNOWN_LENGTHS else chunk.size
        missing = _missing(size, rest)
        played = min(size, rest)
        held = (played - 8) // width
        little = kind == b"AIFC" and (little or comm[18:22] in _LITTLE_AIFF)
        little = little and channels > 0 and comm[18:22] in _LITTLE_AIFF | _EITHER_AIFF
        if frames == held and not odd and not little and played == chunk.size:
            return HeaderCheck(None, 0, chunk.at + 8, held * width, comm)
        if frames > held or (held - frames) * width > _TOLERANCE_BYTES:
            frames = held
        if little:
            head = _wave_head({b"fmt ": _wave_form(comm)}, frames * width, "<")
            return HeaderCheck(
                ReplacementHeader(head, chunk.at + 8), missing, chunk.at + 8, frames * width, comm
            )
        own = comm[:2] + struct.pack(">I", frames) + comm[6:] + b"\0" * (len(comm) & 1)
        version = b"FVER" + struct.pack(">II", 4, 0xA2805140) if kind == b"AIFC" else b""
        own = version + b"COMM" + struct.pack(">I", len(comm)) + own
        played = 8 + frames * width
        total = min(4 + len(own) + 8 + played, _MAX_UINT32)
        head = b"FORM" + struct.pack(">I", total) + kind + own
        head += b"SSND" + struct.pack(">I", min(played, _MAX_UINT32))
        return HeaderCheck(
            ReplacementHeader(head, chunk.at), missing, chunk.at + 8, frames * width, comm
        )
    raise TruncatedAudio(path, "its AIFF header ends before any audio; copy or export it again")


# AIFF-C codecs whose frames take as many bytes as their bit depth implies.
_PLAIN_AIFF = frozenset(
    {b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64", b"raw ",
     b"23ni", b"42n1", b"42ni"}
)  # fmt: skip
# Codecs with little-endian integers, and codecs of either byte order, which QuickTime's `enda` atom
# in a `wave` chunk specifies. libsndfile ignores that atom; floats read in the wrong byte order
# would be noise of any level.
_LITTLE_AIFF = frozenset({b"23ni", b"42n1", b"42ni"})
_EITHER_AIFF = frozenset({b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"})


def _is_little(atoms: bytes) -> bool:
    at = 0
    while 0 <= at <= len(atoms) - 10:
        size = int.from_bytes(atoms[at : at + 4], "big")
        if atoms[at + 4 : at + 8] == b"enda":
            return atoms[at + 8 : at + 10] == b"\0\1"
        at = at + size if size >= 8 else -1
    return False


def _wave_form(comm: bytes) -> bytes:
    """Return the `fmt` chunk of a little-endian WAV file for the samples of an AIFF-C file."""
    channels, bits = struct.unpack(">h4xh", comm[:8])
    width = channels * ((bits + 7) // 8)
    kind = 3 if comm[18:20].lower() == b"fl" else 1
    rate = iff_rate(comm)
    each, second = min(width, 0xFFFF), min(rate * width, 0xFFFFFFFF)
    return struct.pack("<HHIIHH", kind, channels, rate, second, each, bits)


def iff_rate(comm: bytes) -> int:
    """Return the sample rate in Hz in the `COMM` chunk of an AIFF file; 0 if it is nonsense."""
    power, mantissa = struct.unpack_from(">HQ", comm, 8)
    # An 80-bit float: 63 bits of fraction, exponent biased by 16383.
    exponent = (power & 0x7FFF) - 16383 - 63
    return round(mantissa * 2.0**exponent) if -64 < exponent <= -43 else 0


def _missing(size: int, rest: int) -> int:
    missing = size - rest
    return missing if missing > _TOLERANCE_BYTES else 0


def _wrapped(size: int, rest: int) -> bool:
    # The writer counted modulo 2**32 without noticing; allow for the pad byte.
    return rest - size >= 1 << 32 and (rest - size) % (1 << 32) <= 1


def _is_chunk(head: bytes, left: int, order: str) -> bool:
    """Return whether `head` can begin a chunk, given `left` bytes after its first eight."""
    if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
        return False
    return int(struct.unpack(order + "I", head[4:8])[0]) <= max(0, left) + 1


def chunks(window: ByteRange, order: str, wanted: bytes | None, at: int = 12) -> Iterator[Chunk]:
    """Yield the chunks of a RIFF ("<") or IFF (">") file from byte `at`, in order.

    Iteration ends with the audio chunk `wanted`, or with the file's last chunk if there is none.
    Bodies are padded to even lengths. If no chunk begins at the padded end of a body, but one
    begins a byte earlier or later, it is taken as the next one; otherwise `wanted` is searched for.
    """
    odd = False
    for _ in range(_MAX_CHUNKS):
        head = window.pread(8, at)
        if len(head) < 8:  # truncated since its size was read, or a size that leads past the end
            break
        tag, size = head[:4], struct.unpack(order + "I", head[4:])[0]
        if tag != wanted and not _is_chunk(head, window.size - at - 8, order):
            break
        yield Chunk(tag, at + 8, size, odd)
        if tag == wanted:
            return
        ends = at + 8 + size + (size & 1)
        shift = _shift(window, ends, order)
        if shift is None:
            at, odd = at + 8, True
            break
        at, odd = ends + shift, shift != 0
    if wanted is None:
        return
    data = window.pread(_MAX_SEARCH_BYTES, at)
    found = data.find(wanted)
    if found >= 0 and len(data) >= found + 8:
        size = struct.unpack(order + "I", data[found + 4 : found + 8])[0]
        yield Chunk(wanted, at + found + 8, size, True)


def _shift(window: ByteRange, at: int, order: str) -> int | None:
    """Return how far from its expected place the next chunk begins (0, -1 or 1 byte), or None.

    Three letters of a name and a byte of its size may look like another name, so known names take
    precedence.
    """
    plausible = []
    for shift in (0, -1, 1):
        head = window.pread(8, at + shift)
        if head[:4] in _KNOWN_CHUNKS:
            return shift
        if _is_chunk(head, window.size - at - shift - 8, order):
            plausible.append(shift)
    return plausible[0] if plausible else None


def w64_chunks(window: ByteRange) -> Iterator[Chunk]:
    """Yield the chunks of a Wave64 file.

    Names have 16 bytes, and sizes include the 24 bytes before the body.
    """
    at = 40
    for _ in range(_MAX_CHUNKS):
        head = window.pread(24, at)
        if len(head) < 24:
            return
        size = int.from_bytes(head[16:24], "little")
        if size < 24 or head[4:16] != _W64_GUID_TAIL:
            return
        yield Chunk(head[:4], at + 24, size - 24)
        at += (size + 7) & ~7
