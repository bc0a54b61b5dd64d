"""Tags: ID3, Vorbis comments, INFO and acid chunks, valid and hostile."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowdstream.audiofile.reader import open_stem
from crowdstream.audiofile.tags import (
    MAX_LABEL,
    MAX_LABELS,
    MAX_READS,
    MAX_TEXT,
    Tags,
    read_tags,
)
from tests.support.offline_server import RATE, level, write


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    """Return a chunk of a RIFF or IFF file."""
    return name + struct.pack(order + "I", len(body)) + body + b"\0" * (len(body) % 2)


def with_chunk(path: Path, extra: bytes, order: str = "<") -> Path:
    """Append a chunk to a WAV or AIFF file."""
    data = bytearray(path.read_bytes() + extra)
    data[4:8] = struct.pack(order + "I", len(data) - 8)
    path.write_bytes(data)
    return path


def wav_with_acid(
    path: Path, bpm: float, beats: int = 4, seconds: float = 0, flags: int = 0
) -> Path:
    """Write a loop of `beats` beats with an acid chunk.

    seconds: length of the file, by default that of the beats.
    """
    body = struct.pack("<IHHfIHHf", flags, 60, 0x8000, 0.0, beats, 4, 4, bpm)
    seconds = seconds or (beats * 60 / bpm if bpm > 0 else 0.5)
    return with_chunk(write(path, level(seconds)), chunk(b"acid", body))


def synchsafe(number: int) -> bytes:
    """Return four bytes of seven bits each."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(version: int, text: bytes, flags: int = 0) -> bytes:
    """Return an ID3v2 tag whose second frame holds the tempo."""
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
    """Return a block of Vorbis comments."""
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
        (b"\x0012800", 128.0),
        (b"\x00128,0", 128.0),
        (b"\x001.28e2", 128.0),
        (b"\x001285", 128.5),
        (b"\x00127550", 127.55),
        (b"\x001e99", 1e99),
        (b"\0fast", None),
        (b"\0", None),
        (b"\0" + b"0", None),
    ],
)
def test_the_tempo_of_an_id3_tag_before_an_mp3_is_read(
    tmp_path: Path, version: int, text: bytes, bpm: float | None
) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(id3(version, text) + bytes(1000))
    assert read_tags(path).bpm == bpm


def test_id3_tags_in_chunks_of_wav_and_aiff_are_read(tmp_path: Path) -> None:
    wav = with_chunk(write(tmp_path / "a.wav", level(0.1)), chunk(b"id3 ", id3(3, b"\x00126")))
    assert read_tags(wav).bpm == 126.0
    aiff = write(tmp_path / "a.aiff", level(0.1))
    with_chunk(aiff, chunk(b"ID3 ", id3(4, b"\x00125"), ">"), ">")
    assert read_tags(aiff).bpm == 125.0
    for path in (wav, aiff):
        with open_stem(path, RATE) as reader:
            assert reader.frames == 4410


def test_the_acid_chunk_of_a_loop_is_read(tmp_path: Path) -> None:
    assert read_tags(wav_with_acid(tmp_path / "a.wav", 174.0)).bpm == 174.0
    assert read_tags(wav_with_acid(tmp_path / "b.wav", 0.0)).bpm is None
    assert read_tags(wav_with_acid(tmp_path / "c.wav", float("nan"))).bpm is None


def test_an_acid_chunk_counts_only_if_it_matches_the_files_length(tmp_path: Path) -> None:
    assert read_tags(wav_with_acid(tmp_path / "tail.wav", 120.0, 8, 4.01)).bpm == 120.0
    assert read_tags(wav_with_acid(tmp_path / "song.wav", 120.0, 8, 7.0)).bpm is None
    assert read_tags(wav_with_acid(tmp_path / "none.wav", 120.0, 0, 2.0)).bpm is None
    assert read_tags(wav_with_acid(tmp_path / "shot.wav", 120.0, 4, 2.0, flags=1)).bpm is None
    both = wav_with_acid(tmp_path / "both.wav", 120.0)
    assert read_tags(with_chunk(both, chunk(b"id3 ", id3(3, b"\x00121")))).bpm == 121.0


@pytest.mark.parametrize("key", ["BPM", "bpm", "TEMPO"])
def test_vorbis_comments_of_flac_are_read(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "a.flac", level(0.1))
    data = path.read_bytes()
    block = comments("TITLE=bpm", f"{key}=122.5")
    path.write_bytes(data[:4] + b"\4" + len(block).to_bytes(3, "big") + block + data[4:])
    assert read_tags(path).bpm == 122.5


@pytest.mark.parametrize("mark", [b"\x03vorbis", b"OpusTags"])
@pytest.mark.parametrize("cut", [255, 40])
def test_comments_of_ogg_are_read_across_pages(tmp_path: Path, mark: bytes, cut: int) -> None:
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


def test_untagged_and_missing_files_have_no_tempo(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "a.ogg", "a.aiff"):
        subtype = "VORBIS" if name == "a.ogg" else "PCM_16"
        assert read_tags(write(tmp_path / name, level(0.1), subtype=subtype)).bpm is None
    assert read_tags(tmp_path / "none.wav").bpm is None
    assert read_tags(tmp_path).bpm is None


def text_frames(**frames: str) -> bytes:
    """Return an ID3v2.3 tag of texts in UTF-16."""
    body = b""
    for name, text in frames.items():
        data = b"\1" + text.encode("utf-16")
        body += name.encode() + len(data).to_bytes(4, "big") + b"\0\0" + data
    return b"ID3\3\0\0" + synchsafe(len(body)) + body


def test_title_artist_and_key_are_read(tmp_path: Path) -> None:
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
def test_the_info_list_of_a_wav_file_is_read(tmp_path: Path, encoding: str) -> None:
    body = b"INFO" + chunk(b"ICMT", b"odd") + chunk(b"INAM", "Grüße".encode(encoding) + b"\0\0")
    wav = with_chunk(write(tmp_path / "a.wav", level(0.1)), chunk(b"LIST", body))
    assert read_tags(wav) == Tags(title="Grüße")


def test_texts_are_limited_to_one_short_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(text_frames(TIT2="<b>one\ntwo\x1b[2J" + "z" * 5000, TPE1="\n") + bytes(100))
    title = read_tags(path).title
    assert title.startswith("<b>one\\ntwo\\x1b[2Jzzz") and len(title) == MAX_TEXT
    assert title.isprintable()
    assert read_tags(path).artist == ""


def frame(name: bytes, body: bytes, plain: bool) -> bytes:
    """Return a frame of ID3v2.4 with a synchsafe size, or with a plain one as iTunes wrote it."""
    return name + (len(body).to_bytes(4, "big") if plain else synchsafe(len(body))) + b"\0\0" + body


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("comment", [100, 127, 128, 300, 5000, 70_000])
def test_id3v2_4_frames_with_synchsafe_or_plain_sizes_are_read(
    tmp_path: Path, plain: bool, comment: int
) -> None:
    body = frame(b"COMM", b"\0eng\0" + b"c" * comment, plain)
    body += frame(b"TIT2", b"\0The Title", plain) + frame(b"TBPM", b"\x00128", plain) + bytes(20)
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\4\0\0" + synchsafe(len(body)) + body + bytes(100))
    assert read_tags(path) == Tags(128.0, "The Title")


COVER = b"\0image/jpeg\0\3\0" + b"\xff\xd8TIT2\0" * 400_000


@pytest.mark.parametrize("flags", [0, 0x80])
def test_tags_after_a_cover_of_three_megabytes_are_read(tmp_path: Path, flags: int) -> None:
    body = b"APIC" + len(COVER).to_bytes(4, "big") + b"\0\0" + COVER
    body += text_frames(TIT2="Behind", TBPM="128")[10:]
    if flags:
        body = body.replace(b"\xff", b"\xff\0")
    mp3 = tmp_path / "a.mp3"
    mp3.write_bytes(b"ID3\3\0" + bytes([flags]) + synchsafe(len(body)) + body + bytes(100))
    assert read_tags(mp3) == Tags(128.0, "Behind")
    data = write(tmp_path / "a.flac", level(0.1)).read_bytes()
    block = comments("METADATA_BLOCK_PICTURE=" + "x" * 3_000_000, "TITLE=Behind", "BPM=128")
    picture = b"\6" + len(COVER).to_bytes(3, "big") + COVER
    flac = tmp_path / "b.flac"
    head = data[:4] + data[4:42] + picture + b"\4" + len(block).to_bytes(3, "big") + block
    flac.write_bytes(head + data[42:])
    assert read_tags(flac) == Tags(128.0, "Behind")
    ogg = tmp_path / "c.ogg"
    packet = b"\x03vorbis" + block
    pages = b"OggS" + bytes(22) + b"\1\4head"
    for at in range(0, len(packet) + 1, 255 * 255):
        part = packet[at : at + 255 * 255]
        whole = len(part) < 255 * 255
        lacing = bytes([255] * (len(part) // 255)) + bytes([len(part) % 255] * whole)
        pages += b"OggS" + bytes(22) + bytes([len(lacing)]) + lacing + part
    ogg.write_bytes(pages)
    assert read_tags(ogg) == Tags(128.0, "Behind")


def ape(**items: str) -> bytes:
    """Return an APEv2 tag with a footer but no header."""
    body = struct.pack("<II", 1000, 2) + b"Cover Art (Front)\0" + b"\xff" * 1000
    for key, value in items.items():
        data = value.encode()
        body += struct.pack("<II", len(data), 0) + key.encode() + b"\0" + data
    return body + b"APETAGEX" + struct.pack("<IIII8x", 2000, len(body) + 32, len(items) + 1, 0)


def id3v1(title: str, artist: str) -> bytes:
    """Return the 128 bytes of an ID3v1 tag."""
    return b"TAG" + title.encode().ljust(30, b"\0") + artist.encode().ljust(95, b"\0")


def test_tags_at_the_end_of_an_mp3_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(bytes(1000) + id3v1("Old", "Somebody"))
    assert read_tags(path) == Tags(title="Old", artist="Somebody")
    last = ape(Title="Ape", BPM="126", Artist="One\0Two", InitialKey="4A")
    for end in (b"", id3v1("Old", "Somebody")):
        path.write_bytes(bytes(1000) + last + end)
        assert read_tags(path) == Tags(126.0, "Ape", "One, Two", "4A")
    path.write_bytes(text_frames(TIT2="New") + bytes(1000) + last)
    assert read_tags(path) == Tags(126.0, "New", "One, Two", "4A")


def test_several_artists_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(text_frames(TPE1="Ayşe\0Bo\0Ayşe") + bytes(100))
    assert read_tags(path).artist == "Ayşe, Bo"
    data = write(tmp_path / "a.flac", level(0.1)).read_bytes()
    block = comments("ARTIST=Ayşe", "TITLE=One", "artist=Bo", "TITLE=Two")
    flac = tmp_path / "b.flac"
    flac.write_bytes(data[:4] + b"\4" + len(block).to_bytes(3, "big") + block + data[4:])
    assert read_tags(flac) == Tags(title="One", artist="Ayşe, Bo")


def test_an_id3_tag_before_a_flac_file_fills_in_missing_fields(tmp_path: Path) -> None:
    data = write(tmp_path / "a.flac", level(0.1)).read_bytes()
    block = comments("TITLE=Own", "BPM=128")
    flac = tmp_path / "b.flac"
    tag = text_frames(TIT2="In front", TKEY="8A") + text_frames(TPE1="Second")
    flac.write_bytes(tag + data[:4] + b"\4" + len(block).to_bytes(3, "big") + block + data[4:])
    assert read_tags(flac) == Tags(128.0, "Own", "Second", "8A")


def test_the_number_of_reads_per_file_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    pread = os.pread

    def counted(fd: int, count: int, at: int) -> bytes:
        nonlocal reads
        reads += 1
        return pread(fd, count, at)

    monkeypatch.setattr(os, "pread", counted)
    path = write(tmp_path / "a.wav", level(0.1))
    for _ in range(200):
        with_chunk(path, chunk(b"id3 ", b"ID3\3\0\0" + synchsafe(5000) + b"TXXX\0\0\0\0\0\0" * 500))
    assert read_tags(path) == Tags()
    assert reads < 2 * MAX_READS


_HEADS = st.sampled_from(
    [b"", b"RIFF\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"ID3\3\0\0", b"ID3\4\0\x40", b"fLaC", b"OggS",
     b"RIFF\0\0\0\0WAVEid3 ", b"RIFF\0\0\0\0WAVEacid",
     b"RIFF\0\0\0\0WAVELIST\0\1\0\0INFOINAM", text_frames(TIT2="a")[:30], id3(3, b"\x00120")[:40],
     b"ID3\2\0\x80\0\0\1\0"]
)


@given(_HEADS, st.binary(max_size=300))
def test_hostile_files_never_raise(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(head + rest)
    tags = read_tags(path)
    assert tags.bpm is None or tags.bpm > 0
    assert all(text.isprintable() for text in tags.texts().values())


def frames(version: int, *entries: tuple[bytes, bytes]) -> bytes:
    """Return an ID3v2 tag with these frames."""
    packed = b""
    for name, body in entries:
        size = synchsafe(len(body)) if version == 4 else len(body).to_bytes(4, "big")
        packed += name + size + b"\0\0" + body
    packed += bytes(20)
    return b"ID3" + bytes([version, 0, 0]) + synchsafe(len(packed)) + packed


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("House", ("House",)),
        ("Deep House; Disco,Soul/Funk", ("Deep House", "Disco", "Soul", "Funk")),
        ("(17)", ("Rock",)),
        ("(35)(26)Late", ("House", "Ambient", "Late")),
        ("32", ("Classical",)),
        ("(250)", ()),
        ("Jazz\0jazz\0Blues", ("Jazz", "Blues")),
        (" ; ,", ()),
    ],
)
def test_genres_become_labels(tmp_path: Path, text: str, labels: tuple[str, ...]) -> None:
    for version in (3, 4):
        path = tmp_path / f"{version}.mp3"
        path.write_bytes(frames(version, (b"TCON", b"\3" + text.encode())) + bytes(1000))
        assert read_tags(path).labels == labels


def test_groupings_and_marked_words_of_comments_become_labels(tmp_path: Path) -> None:
    comment = "\ufeffnote\0\ufefffor #Lounge and #late-night, not this"
    path = tmp_path / "a.mp3"
    path.write_bytes(
        frames(
            3, (b"TIT1", b"\0Warm up; Bar"), (b"COMM", b"\1eng" + comment.encode("utf-16-le")),
            (b"TIT2", b"\0#1 hit"),
        ) + bytes(1000)
    )  # fmt: skip
    tags = read_tags(path)
    assert tags.labels == ("Warm up", "Bar", "Lounge", "late-night")
    assert tags.values() == {"title": "#1 hit", "labels": list(tags.labels)}


def test_labels_of_other_kinds_of_tags_are_read(tmp_path: Path) -> None:
    info = b"INFO" + chunk(b"IGNR", b"Dub\0") + chunk(b"ICMT", b"#slow")
    wav = with_chunk(write(tmp_path / "a.wav", level(0.1)), chunk(b"LIST", info))
    assert read_tags(wav).labels == ("Dub", "slow")
    flac = tmp_path / "a.flac"
    body = comments("GENRE=Dub", "genre=Reggae", "comment=#slow")
    flac.write_bytes(b"fLaC" + bytes([0x84]) + len(body).to_bytes(3, "big") + body)
    assert read_tags(flac).labels == ("Dub", "Reggae", "slow")
    mp3 = tmp_path / "old.mp3"
    mp3.write_bytes(bytes(1000) + b"TAG" + bytes(94) + b"#slow".ljust(30, b"\0") + bytes([16]))
    assert read_tags(mp3).labels == ("slow", "Reggae")


def test_the_number_and_length_of_labels_are_limited(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    body = comments("GENRE=" + "x" * 150, *(f"GENRE={number}x" for number in range(200)))
    path.write_bytes(b"fLaC" + bytes([0x84]) + len(body).to_bytes(3, "big") + body)
    labels = read_tags(path).labels
    assert len(labels) == MAX_LABELS and labels[0] == "x" * MAX_LABEL
