"""Texts and tags of full size: one part of the input is repeated up to the parser's limit.

An input of a few hundred bytes shows that a parser is correct, not that it is fast: quadratic time
shows only at full size. The first bytes give the kind and the lengths of the start and of the
repeated part; these two follow, and then an end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from crowdstream.audiofile.beatgrid import GridError, read_sidecar
from crowdstream.audiofile.containers.mp4 import read_stems, read_timing
from crowdstream.audiofile.tags import read_tags
from crowdstream.dj.setfile.errors import SetError
from crowdstream.dj.setfile.reader import parse_set
from crowdstream.library.sidecar import SidecarError
from crowdstream.library.sidecar import read_sidecar as read_corrections
from crowdstream.movement.map_file import read_map
from crowdstream.offline.set_formats import read_text
from crowdstream.settings import SettingError
from crowdstream.system.text import MAX_SIDECAR_BYTES
from tests.fuzz.encoded_sounds import FRAMES, id3, sound, with_chunk
from tests.fuzz.registry import Fault, Target
from tests.support import scratch_files

TAG_BYTES = 1 << 18


def _sidecar(path: Path) -> None:
    for read in (lambda: read_sidecar(path), lambda: read_corrections(str(path))):
        try:
            read()
        except (GridError, SidecarError) as error:
            _line(error)


def _map(path: Path) -> None:
    try:
        read_map(path, 120.0)
    except SettingError as error:
        _line(error)


def _dj_set(path: Path) -> None:
    try:
        parse_set(path.read_bytes(), path)
    except SetError as error:
        _line(error)


def _text_set(path: Path) -> None:
    try:
        read_text(path.read_bytes(), path)
    except SetError as error:
        _line(error)


def _line(error: Exception) -> None:
    if "\n" in str(error):
        raise Fault(f"a refusal is not one line: {str(error)[:200]!r}") from error


def _tags(path: Path) -> None:
    read_tags(path)


def _mp4(path: Path) -> None:
    read_stems(path)
    with path.open("rb") as file:
        read_timing(lambda count, at: os.pread(file.fileno(), count, at), path.stat().st_size)


KINDS: tuple[tuple[str, Callable[[Path], None], int], ...] = (
    ("a.crowdstream.toml", _sidecar, MAX_SIDECAR_BYTES),
    ("a.toml", _map, MAX_SIDECAR_BYTES),
    ("a.toml", _dj_set, MAX_SIDECAR_BYTES),
    ("a.txt", _text_set, MAX_SIDECAR_BYTES),
    ("a.mp3", _tags, TAG_BYTES),
    ("a.stem.mp4", _mp4, TAG_BYTES),
)
SIDECAR, MAP, DJ_SET, TEXT_SET, TAGS, MP4 = range(len(KINDS))


def run(data: bytes) -> None:
    """Read the expanded input at full size."""
    if len(data) < 4:
        return
    name, read, most = KINDS[data[0] % len(KINDS)]
    body = data[3:]
    begin, unit = body[: data[1]], body[data[1] : data[1] + max(1, data[2])]
    end = body[data[1] + max(1, data[2]) :]
    times = (most - len(begin) - len(end)) // len(unit) if unit else 0
    path = scratch_files.folder() / name
    path.write_bytes(begin + unit * max(1, times) + end)
    read(path)


def compose(kind: int, begin: bytes, unit: bytes, end: bytes = b"") -> bytes:
    """Compose an input from its parts."""
    return bytes([kind, len(begin), len(unit)]) + begin + unit + end


def seeds() -> Iterator[bytes]:
    """Inputs that once took quadratic time or worse, and one of each kind that is accepted."""
    for kind in (SIDECAR, MAP, DJ_SET):
        yield compose(kind, b"", b"a.", b"a = 1\n")
        yield compose(kind, b"[", b"a . ", b"a]\n")
        yield compose(kind, b"x = {s = \"\"\"a\"\"\"\", ", b"a.", b"a = 1}\n")
        yield compose(kind, b"x = '''\n", b'\\"', b"\n'''\n")
        yield compose(kind, b"x = '''\n[", b" ", b"\n'''\n")
        yield compose(kind, b"x = '''\n", b" ", b"\n'''\n")
        yield compose(kind, b"x = ", b"[", b"")
        yield compose(kind, b"x = ", b"1", b"\n")
        yield compose(kind, b'x = """', b'"" \\', b'"""\n')
    yield compose(SIDECAR, b"# --- found by crowdstream analyze", b"[0123456789ab]")
    yield compose(SIDECAR, b"", b"# --- found by crowdstream analyze [0123456789ab]\n")
    yield compose(SIDECAR, b"[grid]\nanchors = [[0, 0]", b", [1, 1]", b"]\n")
    yield compose(SIDECAR, b"", b"[[section]]\nbegin = 0\nend = 4\nkind = 'drop'\n")
    yield compose(MAP, b"steps = [[0, 118]", b", [1, 132]", b"]\n")
    yield compose(DJ_SET, b"", b"[[track]]\npath = 'short.wav'\n")
    yield compose(DJ_SET, b"[[track]]\npath = 'short.wav'\nleave = 1\ntransition.moves = '''",
                  b'"\\', b"'''\n")  # fmt: skip
    yield compose(TEXT_SET, b"0 /deck/A/load ", b"a", b"\n")
    yield compose(TEXT_SET, b"0 /deck/A/grid/points", b" 1", b"\n")
    yield compose(TEXT_SET, b"", b"0 /deck/A/play\n")
    for version in (2, 3, 4):
        tag = id3("124", version)
        yield compose(TAGS, tag[:6] + b"\x7f\x7f\x7f\x7f", tag[10:])
        yield compose(TAGS, b"", tag)
    yield compose(TAGS, b"ID3\x03\0\x80\x7f\x7f\x7f\x7f", b"TXXX\0\0\0\0\0\0")
    yield compose(TAGS, sound("OGG", "VORBIS", 1, FRAMES)[:100], b"OggS\0\0" + bytes(20) + b"\xff")
    yield compose(TAGS, sound("FLAC", "PCM_16", 1, FRAMES)[:42], b"\4\0\0\x10" + bytes(16))
    wave = sound("WAV", "PCM_16", 1, 40)
    yield compose(TAGS, wave, with_chunk(wave, b"id3 ", id3("124"))[len(wave) :])
    box = b"\0\0\0\x18moov\0\0\0\x10udta\0\0\0\x08meta"
    yield compose(MP4, b"", box)
    user = b"\0\0\0\0moov\0\0\0\0udta\0\0\0\0"
    yield compose(MP4, user + b"meta\0\0\0\0\0\0\0\0ilst", b"\0\0\0\x08tmpo")
    yield compose(MP4, user + b"stem", b'{"stems":[', b"")


TARGET = Target(
    "sizes",
    "a sidecar, movement map, set, tag or MP4 header of maximum size is read or refused in one "
    "line, in a time that is not quadratic in its size",
    run,
    seeds,
    (
        "crowdstream.system.text",
        "crowdstream.audiofile.beatgrid",
        "crowdstream.audiofile.sidecar",
        "crowdstream.library.sidecar",
        "crowdstream.audiofile.containers.mp4",
        "crowdstream.audiofile.tags",
        "crowdstream.dj.setfile.reader",
        "crowdstream.dj.setfile.reader",
        "crowdstream.offline.set_formats",
    ),
    longest=600,
)
