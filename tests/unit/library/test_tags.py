"""Tags: ID3, Vorbis comments, INFO, acid chunks; and whatever else is in a file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.library.reader import open_stem
from crowdstream.library.tags import LONGEST_TEXT, Tags, read_tags
from tests.support.offline_server import RATE, level, write


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    """A chunk of a RIFF or IFF file."""
    return name + struct.pack(order + "I", len(body)) + body + b"\0" * (len(body) % 2)


def with_chunk(path: Path, extra: bytes, order: str = "<") -> Path:
    """The WAV or AIFF file with a chunk put behind all others."""
    data = bytearray(path.read_bytes() + extra)
    data[4:8] = struct.pack(order + "I", len(data) - 8)
    path.write_bytes(data)
    return path


def wav_with_acid(path: Path, bpm: float) -> Path:
    """A short WAV file with an acid chunk."""
    body = struct.pack("<IHHfIHHf", 0, 60, 0x8000, 0.0, 4, 4, 4, bpm)
    return with_chunk(write(path, level(0.1)), chunk(b"acid", body))


def synchsafe(number: int) -> bytes:
    """Four bytes of seven bits."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(version: int, text: bytes, flags: int = 0) -> bytes:
    """An ID3v2 tag whose second frame says the tempo."""
    if version == 2:
        frames = b"TT2" + (2).to_bytes(3, "big") + b"\0x"
        frames += b"TBP" + len(text).to_bytes(3, "big") + text
    else:
        size = synchsafe(len(text)) if version == 4 else len(text).to_bytes(4, "big")
        frames = b"TIT2" + (2).to_bytes(4, "big") + b"\0\0" + b"\0x"
        frames += b"TBPM" + size + b"\0\0" + text
    frames += bytes(50)
    return b"ID3" + bytes([version, 0, flags]) + synchsafe(len(frames)) + frames


def comments(*entries: str) -> bytes:
    """Vorbis comments."""
    packed = [entry.encode() for entry in entries]
    body = b"".join(struct.pack("<I", len(entry)) + entry for entry in packed)
    return struct.pack("<I", 4) + b"test" + struct.pack("<I", len(packed)) + body


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize(
    ("text", "bpm"),
    [
        (b"\x00124", 124.0),
        (b"\3" + b"124.5\0", 124.5),
        (b"\x00124,5", 124.5),
        ("\ufeff128".encode("utf-16-le").join([b"\1", b""]), 128.0),
        (b"\2" + "127".encode("utf-16-be"), 127.0),
        (b"\0 98 bpm", 98.0),
        (b"\0fast", None),
        (b"\0", None),
        (b"\0" + b"0", None),
    ],
)
def test_id3_at_the_head_of_an_mp3(
    tmp_path: Path, version: int, text: bytes, bpm: float | None
) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(id3(version, text) + bytes(1000))
    assert read_tags(path).bpm == bpm


def test_id3_in_chunks_of_wav_and_aiff(tmp_path: Path) -> None:
    wav = with_chunk(write(tmp_path / "a.wav", level(0.1)), chunk(b"id3 ", id3(3, b"\x00126")))
    assert read_tags(wav).bpm == 126.0
    aiff = write(tmp_path / "a.aiff", level(0.1))
    with_chunk(aiff, chunk(b"ID3 ", id3(4, b"\x00125"), ">"), ">")
    assert read_tags(aiff).bpm == 125.0
    for path in (wav, aiff):
        with open_stem(path, RATE) as reader:
            assert reader.frames == 4410


def test_the_acid_chunk_of_a_loop(tmp_path: Path) -> None:
    assert read_tags(wav_with_acid(tmp_path / "a.wav", 174.0)).bpm == 174.0
    assert read_tags(wav_with_acid(tmp_path / "b.wav", 0.0)).bpm is None
    assert read_tags(wav_with_acid(tmp_path / "c.wav", float("nan"))).bpm is None


@pytest.mark.parametrize("key", ["BPM", "bpm", "TEMPO"])
def test_comments_of_flac(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "a.flac", level(0.1))
    data = path.read_bytes()
    block = comments("TITLE=bpm", f"{key}=122.5")
    path.write_bytes(data[:4] + b"\4" + len(block).to_bytes(3, "big") + block + data[4:])
    assert read_tags(path).bpm == 122.5


@pytest.mark.parametrize("mark", [b"\x03vorbis", b"OpusTags"])
@pytest.mark.parametrize("cut", [255, 40])
def test_comments_of_ogg_also_across_pages(tmp_path: Path, mark: bytes, cut: int) -> None:
    def page(segments: list[bytes]) -> bytes:
        sizes = bytes(len(segment) for segment in segments)
        return b"OggS" + bytes(22) + bytes([len(sizes)]) + sizes + b"".join(segments)

    packet = mark + comments("TITLE=" + "x" * 300, "BPM=118")
    parts = [packet[at : at + 255] for at in range(0, len(packet), 255)]
    pages = page([b"head"])
    for part in [parts] if cut == 255 else [[part] for part in parts]:
        pages += page(part)
    path = tmp_path / "a.ogg"
    path.write_bytes(pages)
    assert read_tags(path).bpm == 118.0


def test_files_without_tags_and_files_that_are_not_there(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "a.ogg", "a.aiff"):
        subtype = "VORBIS" if name == "a.ogg" else "PCM_16"
        assert read_tags(write(tmp_path / name, level(0.1), subtype=subtype)).bpm is None
    assert read_tags(tmp_path / "none.wav").bpm is None
    assert read_tags(tmp_path).bpm is None


def text_frames(**frames: str) -> bytes:
    """An ID3v2.3 tag of texts, in UTF-16."""
    body = b""
    for name, text in frames.items():
        data = b"\1" + text.encode("utf-16")
        body += name.encode() + len(data).to_bytes(4, "big") + b"\0\0" + data
    return b"ID3\3\0\0" + synchsafe(len(body)) + body


def test_title_artist_and_key(tmp_path: Path) -> None:
    frames = {"TIT2": "Çiçek\0again", "TPE1": " Ayşe ", "TKEY": "8A", "TBPM": "125", "TXXX": "x"}
    expected = Tags(125.0, "Çiçek", "Ayşe", "8A")
    path = tmp_path / "a.mp3"
    path.write_bytes(text_frames(**frames) + bytes(1000))
    assert read_tags(path) == expected
    wav = with_chunk(write(tmp_path / "a.wav", level(0.1)), chunk(b"id3 ", text_frames(**frames)))
    assert read_tags(wav) == expected
    flac = write(tmp_path / "a.flac", level(0.1))
    data = flac.read_bytes()
    block = comments(
        "METADATA_BLOCK_PICTURE=" + "x" * 300_000, "title=Çiçek", "TITLE=other", "Artist=Ayşe",
        "INITIALKEY=8A", "BPM=125",
    )
    flac.write_bytes(data[:4] + b"\4" + len(block).to_bytes(3, "big") + block + data[4:])
    assert read_tags(flac) == expected
    assert expected.texts() == {"title": "Çiçek", "artist": "Ayşe", "key": "8A"}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_the_info_list_of_a_wav_file(tmp_path: Path, encoding: str) -> None:
    body = b"INFO" + chunk(b"ICMT", b"odd") + chunk(b"INAM", "Grüße".encode(encoding) + b"\0\0")
    wav = with_chunk(write(tmp_path / "a.wav", level(0.1)), chunk(b"LIST", body))
    assert read_tags(wav) == Tags(title="Grüße")


def test_texts_are_one_short_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(text_frames(TIT2="<b>one\ntwo\x1b[2J" + "z" * 5000, TPE1="\n") + bytes(100))
    title = read_tags(path).title
    assert title.startswith("<b>one\\ntwo\\x1b[2Jzzz") and len(title) == LONGEST_TEXT
    assert title.isprintable()
    assert read_tags(path).artist == ""


_HEADS = st.sampled_from(
    [b"", b"RIFF\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"ID3\3\0\0", b"ID3\4\0\x40", b"fLaC", b"OggS",
     b"RIFF\0\0\0\0WAVEid3 ", b"RIFF\0\0\0\0WAVEacid",
     b"RIFF\0\0\0\0WAVELIST\0\1\0\0INFOINAM", text_frames(TIT2="a")[:30], id3(3, b"\x00120")[:40],
     b"ID3\2\0\x80\0\0\1\0"]
)


@given(_HEADS, st.binary(max_size=300))
def test_nothing_in_a_file_makes_the_reader_fail(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(head + rest)
    tags = read_tags(path)
    assert tags.bpm is None or tags.bpm > 0
    assert all(text.isprintable() for text in tags.texts().values())
