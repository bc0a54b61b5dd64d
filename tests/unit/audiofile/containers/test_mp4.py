"""Stem names and tags of MP4 files, hostile ones included."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from crowdstream.audiofile.containers.mp4 import StemInfo, read_stems
from crowdstream.audiofile.tags import read_tags

STEMS = {
    "version": 1,
    "mastering_dsp": {},
    "stems": [
        {"name": "Drums", "color": "#009E73"}, {"name": "Bass", "color": "red"},
        {"name": "a\nb", "color": "#D55E00"}, {"name": 5},
    ],
}  # fmt: skip


def box(name: bytes, *contents: bytes) -> bytes:
    data = b"".join(contents)
    return (8 + len(data)).to_bytes(4, "big") + name + data


def tag(name: bytes, value: bytes) -> bytes:
    return box(name, box(b"data", bytes(8), value))


def free(name: bytes, value: bytes) -> bytes:
    return box(
        b"----", box(b"mean", bytes(4), b"com.apple.iTunes"), box(b"name", bytes(4), name),
        box(b"data", bytes(8), value),
    )  # fmt: skip


def mp4(stems: bytes = b"", *tags: bytes) -> bytes:
    inner = [box(b"meta", bytes(4), box(b"hdlr", bytes(8)), box(b"ilst", *tags))] if tags else []
    if stems:
        inner.append(box(b"stem", stems))
    # The audio comes first and has a 64-bit size, as in long files.
    sound = (1).to_bytes(4, "big") + b"mdat" + (16 + 100).to_bytes(8, "big") + bytes(100)
    return box(b"ftyp", b"M4A ") + sound + box(b"moov", box(b"mvhd"), box(b"udta", *inner))


def read(tmp_path: Path, data: bytes) -> tuple[list[StemInfo], dict[str, str], float | None]:
    path = tmp_path / "a.stem.mp4"
    path.write_bytes(data)
    stems, tags = read_stems(path), read_tags(path)
    return stems, tags.texts(), tags.bpm


def test_stems_and_tags_are_read(tmp_path: Path) -> None:
    data = mp4(
        json.dumps(STEMS).encode(), tag(b"\xa9nam", "Nächte".encode()), tag(b"\xa9ART", b"Us"),
        tag(b"tmpo", (124).to_bytes(2, "big")), free(b"initialkey", b"8A"),
        tag(b"covr", bytes(5000)),
    )  # fmt: skip
    stems, texts, bpm = read(tmp_path, data)
    assert stems == [
        StemInfo("Drums", "#009E73"), StemInfo("Bass", ""), StemInfo("a\\nb", "#D55E00"),
        StemInfo("", ""),
    ]  # fmt: skip
    assert texts == {"title": "Nächte", "artist": "Us", "key": "8A"} and bpm == 124.0


def test_files_without_valid_metadata_yield_nothing(tmp_path: Path) -> None:
    for data in (b"", b"no mp4", mp4(), mp4(b"{"), mp4(b"[]"), mp4(b'{"stems": [5]}'),
                 mp4(b"[" * 100_000), mp4(b'{"stems": 5}')):  # fmt: skip
        assert read(tmp_path, data) == ([], {}, None)


@given(st.data())
def test_a_damaged_file_never_raises(tmp_path_factory: object, data: st.DataObject) -> None:
    whole = bytearray(mp4(json.dumps(STEMS).encode(), tag(b"\xa9nam", b"x"), free(b"key", b"8A")))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    stems, _texts, _bpm = read(folder, bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert len(stems) <= 8
