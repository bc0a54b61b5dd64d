"""Tags that users of other programs have reported as troublesome.

The sources are listed in docs/development/reported-situations.md.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from crowdstream.audiofile.tags import MAX_TEXT, Tags, read_tags
from crowdstream.library.key_names import parse_key
from tests.unit.audiofile.test_tags import synchsafe

TEMPO = b"\x00128"


def frame(name: bytes, body: bytes, version: int = 3, flags: int = 0) -> bytes:
    size = synchsafe(len(body)) if version == 4 else struct.pack(">I", len(body))
    return name + size + bytes([0, flags]) + body


def tag(*frames: bytes, version: int = 3, flags: int = 0, size: int | None = None) -> bytes:
    body = b"".join(frames)
    length = len(body) if size is None else size
    return b"ID3" + bytes([version, 0, flags]) + synchsafe(length) + body


def tags_of(tmp_path: Path, data: bytes) -> Tags:
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    return read_tags(path)


def marked(text: str) -> bytes:
    """Return a text in UTF-16 after its byte order mark."""
    return b"\1\xff\xfe" + text.encode("utf-16-le")


def unsynchronised(data: bytes) -> bytes:
    out = bytearray()
    for at, byte in enumerate(data):
        out.append(byte)
        following = data[at + 1 : at + 2]
        if byte == 0xFF and (not following or following[0] >= 0xE0 or following[0] == 0):
            out.append(0)
    return bytes(out)


THREE = (
    frame(b"TIT2", marked("It\u2019s \xff broken"))
    + frame(b"TPE1", marked("Somebody"))
    + frame(b"TBPM", marked("128"))
)


@pytest.mark.parametrize("applied", [True, False])
def test_unsynchronisation_is_undone_only_if_it_was_applied(
    tmp_path: Path, applied: bool
) -> None:
    found = tags_of(tmp_path, tag(unsynchronised(THREE) if applied else THREE, flags=0x80))
    assert found == Tags(128.0, "It\u2019s \xff broken", "Somebody")


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark_is_decoded(tmp_path: Path, order: str) -> None:
    frames = [
        frame(name, b"\1" + text.encode(order))
        for name, text in ((b"TIT2", "Bed Time"), (b"TPE1", "Zo\xeb"), (b"TBPM", "128"))
    ]
    assert tags_of(tmp_path, tag(*frames)) == Tags(128.0, "Bed Time", "Zo\xeb")


def test_a_byte_order_mark_without_text_is_an_empty_text(tmp_path: Path) -> None:
    frames = frame(b"TIT2", b"\1\xff\xfe"), frame(b"TPE1", b"\1\xff\xfe0\0\0\0")
    assert tags_of(tmp_path, tag(*frames, frame(b"TBPM", TEMPO))) == Tags(128.0, "", "0")


def test_version_2_2_frame_names_in_a_version_2_3_tag_are_read(tmp_path: Path) -> None:
    frames = frame(b"TT2\0", b"\0Title"), frame(b"TP1\0", b"\0Artist"), frame(b"TBP\0", TEMPO)
    assert tags_of(tmp_path, tag(*frames)) == Tags(128.0, "Title", "Artist")


def test_compressed_and_grouped_frames_are_read_and_encrypted_ones_skipped(tmp_path: Path) -> None:
    packed = zlib.compress(b"\0Small title")
    for title, expected in (
        (frame(b"TIT2", struct.pack(">I", 12) + packed, flags=0x80), "Small title"),
        (frame(b"TIT2", struct.pack(">I", 12) + b"no zlib", flags=0x80), ""),
        (frame(b"TIT2", b"\x41\0Title", flags=0x20), "Title"),
        (frame(b"TIT2", b"\x01" + b"\x99\x88" * 9, flags=0x40), ""),
    ):
        found = tags_of(tmp_path, tag(title, frame(b"TBPM", TEMPO)))
        assert found == Tags(128.0, expected)
    four = frame(b"TIT2", synchsafe(12) + packed, 4, 0x09), frame(b"TBPM", TEMPO, 4)
    assert tags_of(tmp_path, tag(*four, version=4)) == Tags(128.0, "Small title")


def test_a_decompression_bomb_is_only_decompressed_in_part(tmp_path: Path) -> None:
    unpacked_bytes = 64 << 20
    packed = struct.pack(">I", unpacked_bytes) + zlib.compress(b"\0" + b"A" * unpacked_bytes, 9)
    found = tags_of(tmp_path, tag(frame(b"TIT2", packed, flags=0x80), frame(b"TBPM", TEMPO)))
    assert found == Tags(128.0, "A" * MAX_TEXT)


def test_very_many_frames_and_sizes_beyond_the_file_are_tolerated(tmp_path: Path) -> None:
    many = frame(b"TBPM", TEMPO) + frame(b"XXXX", b"\0") * 50_000
    assert tags_of(tmp_path, tag(many)).bpm == 128.0
    beyond = tag(frame(b"TIT2", b"\0Title"), frame(b"TBPM", TEMPO), size=200 << 20)
    assert tags_of(tmp_path, beyond) == Tags(128.0, "Title")


@pytest.mark.parametrize("text", ["0", "0.00", "-1", "nan", "inf", "", "n/a", "\u0661\u0662\u0668"])
def test_an_invalid_tempo_is_none(tmp_path: Path, text: str) -> None:
    assert tags_of(tmp_path, tag(frame(b"TBPM", b"\3" + text.encode()))).bpm is None


@pytest.mark.parametrize(
    ("text", "key"),
    [("1m", "8A"), ("1d", "8B"), ("Abm", "1A"), ("A\u266dm", "1A"), ("a minor", "8A"),
     ("08A", "8A"), ("F#", "2B"), ("Gbmin", "11A"), ("o", None), ("6A/7A", None)],
)  # fmt: skip
def test_key_spellings_of_other_programs_are_read(
    tmp_path: Path, text: str, key: str | None
) -> None:
    written = tags_of(tmp_path, tag(frame(b"TKEY", b"\3" + text.encode()))).key
    found = parse_key(written)
    assert (found[0] if found else None) == key


def test_escapes_and_line_breaks_in_a_title_are_neutralised(tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;evil\x07Title\nNext\u202e\x90"
    title = tags_of(tmp_path, tag(frame(b"TIT2", b"\3" + evil.encode()))).title
    assert "Title" in title and "Next" in title
    assert title.isprintable()
