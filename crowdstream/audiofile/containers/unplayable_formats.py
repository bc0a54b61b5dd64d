"""Files that are recognised and not played, with what to do about each."""

from __future__ import annotations

from pathlib import Path

from crowdstream.audiofile.containers.file_range import Window
from crowdstream.audiofile.errors import AudioFileError, NotAudio, UnsupportedAudio

_CONVERT = "convert it to WAV or FLAC"
# First bytes, where they lie, and what they are.
_SOUNDS: tuple[tuple[bytes, int, str], ...] = (
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
_OTHERS: tuple[tuple[bytes, int, str], ...] = (
    (b"AVI ", 8, f"it is a film (AVI), not audio; {_CONVERT}"),
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


# First bytes of what libsndfile opens, beside MP3.
_PLAYED = (
    b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"fLaC", b"OggS", b"caff", b".snd",
    b"dns.", b"NIST", b"Crea", b"PVF1", b"MPC\x01", b"DiamondWare",
)  # fmt: skip


def is_known(window: Window) -> bool:
    """Whether a file begins as one of a known format does, MP3 apart, whether played or not."""
    head = window.pread(32, 0)
    return head.startswith(_PLAYED) or any(
        head[at : at + len(mark)] == mark for mark, at, _ in (*_SOUNDS, *_OTHERS)
    )


def other_format(window: Window, path: Path) -> AudioFileError | None:
    """Why a file that can't be decoded is none of those that are played; None if unknown."""
    head = window.pread(32, 0)
    kind = foreign_sound(head)
    if kind:
        return UnsupportedAudio(path, f"it is {kind}, which is not played; {_CONVERT}")
    reason = _found(_OTHERS, head)
    return NotAudio(path, reason) if reason else None


def foreign_sound(head: bytes) -> str:
    """What kind of sound a file holds that libsndfile does not know, by its first bytes, or ""."""
    return _found(_SOUNDS, head)


def _found(signatures: tuple[tuple[bytes, int, str], ...], head: bytes) -> str:
    return next((text for mark, at, text in signatures if head[at : at + len(mark)] == mark), "")
