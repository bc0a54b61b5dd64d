"""File formats that are recognised but not played, each with a remedy."""

from __future__ import annotations

from pathlib import Path

from crowdstream.audiofile.containers.file_range import ByteRange
from crowdstream.audiofile.errors import AudioFileError, NotAudio, UnsupportedAudio

_CONVERT = "convert it to WAV or FLAC"
# Signature, its byte offset in the file, and the name of the format.
_FOREIGN_AUDIO: tuple[tuple[bytes, int, str], ...] = (
    (b"ftyp", 4, "an MP4 file (AAC or ALAC)"),
    (b"MAC ", 0, "Monkey's Audio"),
    (b"wvpk", 0, "WavPack"),
    (b"MPCK", 0, "Musepack"),
    (b"MP+", 0, "Musepack"),
    (b"TTA1", 0, "True Audio"),
    (b"DSD ", 0, "DSD audio"),
    (b"FRM8", 0, "DSD audio"),
    (b"\x30\x26\xb2\x75", 0, "Windows Media Audio"),
    (b"\x1a\x45\xdf\xa3", 0, "a Matroska or WebM file"),
    (b"ADIF", 0, "AAC"),
    (b"\xff\xf1", 0, "AAC"),
    (b"\xff\xf9", 0, "AAC"),
    (b"#!AMR", 0, "a voice recording (AMR)"),
)
_NOT_AUDIO: tuple[tuple[bytes, int, str], ...] = (
    (b"AVI ", 8, f"it is a video (AVI), not audio; {_CONVERT}"),
    (b"MThd", 0, "it is a MIDI file: notes, not audio"),
    (b"PK\x03\x04", 0, "it is a ZIP archive, not audio: unpack it"),
    (b"\x1f\x8b", 0, "it is a gzip archive, not audio: unpack it"),
    (b"Rar!", 0, "it is a RAR archive, not audio: unpack it"),
    (b"%PDF", 0, "it is a PDF document, not audio"),
    (b"\x89PNG", 0, "it is a picture, not audio"),
    (b"\xff\xd8\xff", 0, "it is a picture, not audio"),
    (b"<!DOCTYPE", 0, "it is a web page, not audio: the download has failed"),
    (b"<html", 0, "it is a web page, not audio: the download has failed"),
)


# First bytes of the formats that libsndfile opens, apart from MP3.
_PLAYABLE_SIGNATURES = (
    b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"fLaC", b"OggS", b"caff", b".snd",
    b"dns.", b"NIST", b"Crea", b"PVF1", b"MPC\x01", b"DiamondWare",
)  # fmt: skip


def is_known(window: ByteRange) -> bool:
    """Return whether a file begins like a known format other than MP3, playable or not."""
    head = window.pread(32, 0)
    return head.startswith(_PLAYABLE_SIGNATURES) or any(
        head[at : at + len(mark)] == mark for mark, at, _ in (*_FOREIGN_AUDIO, *_NOT_AUDIO)
    )


def other_format(window: ByteRange, path: Path) -> AudioFileError | None:
    """Return an error that names the format of a file that can't be decoded; None if unknown."""
    head = window.pread(32, 0)
    kind = foreign_sound(head)
    if kind:
        return UnsupportedAudio(path, f"it is {kind}, which can't be played; {_CONVERT}")
    reason = _match(_NOT_AUDIO, head)
    return NotAudio(path, reason) if reason else None


def foreign_sound(head: bytes) -> str:
    """Return the name of an audio format that libsndfile can't read, by its first bytes, or ""."""
    return _match(_FOREIGN_AUDIO, head)


def _match(signatures: tuple[tuple[bytes, int, str], ...], head: bytes) -> str:
    return next((text for mark, at, text in signatures if head[at : at + len(mark)] == mark), "")
