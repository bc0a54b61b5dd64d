"""Small sound files in every format, for targets that damage them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import soundfile

from tests.support.scratch_files import RATE, noise

FRAMES = 1500
_KINDS = (
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
    ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16"), ("AU", "PCM_16"),
)  # fmt: skip


def sound(form: str, subtype: str, channels: int = 2, frames: int = FRAMES) -> bytes:
    """Encode noise as a file of the given format."""
    rate = 48000 if subtype == "OPUS" else RATE
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=form) as writer:
        writer.write(noise(frames, channels, frames + channels))
    return file.getvalue()


def id3(bpm: str, version: int = 3) -> bytes:
    """An ID3v2 tag that gives a tempo."""
    body = b"\0" + bpm.encode()
    size = len(body)
    frame = b"TBPM" + struct.pack(">IH", size, 0) + body
    if version == 2:
        frame = b"TBP" + size.to_bytes(3, "big") + body
    length = len(frame)
    return b"ID3" + bytes([version, 0, 0, 0, 0, length >> 7, length & 127]) + frame


def with_chunk(wave: bytes, name: bytes, body: bytes) -> bytes:
    """Append one chunk to a WAV file."""
    added = wave + name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
    return added[:4] + struct.pack("<I", len(added) - 8) + added[8:]


def all_sounds() -> Iterator[bytes]:
    """One file of each format, some with tags, some with an unusual shape."""
    for form, subtype in _KINDS:
        yield sound(form, subtype)
    yield sound("WAV", "PCM_16", 6, 300)
    yield sound("FLAC", "PCM_16", 8, 300)
    yield sound("WAV", "PCM_16", 1, 1)
    wave = sound("WAV", "PCM_16", 1, 200)
    yield with_chunk(wave, b"id3 ", id3("124"))
    yield with_chunk(wave, b"acid", bytes(20) + struct.pack("<f", 98.5))
    for version in (2, 3, 4):
        yield id3("128.5", version) + sound("MP3", "MPEG_LAYER_III", 1, 3000)
    yield wave[:40] + b"\xff" * 4 + wave[44:]
    yield wave[:4] + b"\0" * 4 + wave[8:40] + b"\0" * 4 + wave[44:]
