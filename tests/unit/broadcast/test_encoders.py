"""Encoded streams, decoded by FFmpeg: the same sound, its titles, and no lost frame."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from crowdstream.broadcast.encoders import Chunk, Encoder, make_encoder
from crowdstream.broadcast.ogg import (
    CONTINUED,
    PageSplitter,
    checksum,
    flac_frame_length,
    pages,
)
from tests.support.broadcasts import RATE, correlation, decode, music, tags

BLOCK = 4410
FORMATS = [("mp3", 192), ("opus", 128), ("flac", 0)]


def encode(encoder: Encoder, sound: np.ndarray) -> list[Chunk]:
    chunks = []
    for begin in range(0, len(sound), BLOCK):
        chunks += encoder.encode(sound[begin : begin + BLOCK])
    return chunks


def data(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize(("format", "bitrate"), FORMATS)
@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_a_stream_decodes_to_what_was_encoded(format: str, bitrate: int, rate: int) -> None:
    sound = music(6.0)
    encoder = make_encoder(format, bitrate, rate)
    chunks = encode(encoder, sound)
    chunks += encoder.set_title("", "the end")
    heard = decode(data(chunks), encoder.rate)
    if encoder.rate != rate:
        assert len(heard) == pytest.approx(len(sound) * encoder.rate / rate, abs=BLOCK)
        return  # at another rate; listeners of the system test compare the sound
    level, _at = correlation(heard[BLOCK : BLOCK + 2 * RATE], sound)
    assert level > (0.99999 if format == "flac" else 0.98)
    if format == "flac":
        assert len(heard) == len(sound)
        assert np.abs(heard - sound).max() < 2**-15


@pytest.mark.parametrize(("format", "bitrate"), FORMATS[1:])
def test_a_new_title_begins_a_chained_stream_without_a_gap(format: str, bitrate: int) -> None:
    rate = 48000
    sound = music(8.0)
    encoder = make_encoder(format, bitrate, rate)
    first = encode(encoder, sound[: 4 * RATE])
    first += encoder.set_title("Künstler", "Zwei")
    second = encode(encoder, sound[4 * RATE :]) + encoder.set_title("", "")
    assert tags(data(second))["TITLE"] == "Zwei"
    assert tags(data(second))["ARTIST"] == "Künstler"
    heard = decode(data(first + second), rate)
    assert abs(len(heard) - len(sound)) < 2
    level, _at = correlation(heard[3 * RATE : 5 * RATE], sound)
    assert level > (0.99999 if format == "flac" else 0.98), "across the border"
    assert sum(chunk.frames for chunk in first + second) == len(sound)


@pytest.mark.parametrize(("format", "bitrate"), FORMATS[1:])
def test_a_listener_that_joins_later_needs_the_headers_only(format: str, bitrate: int) -> None:
    sound = music(6.0)
    encoder = make_encoder(format, bitrate, 48000)
    encode(encoder, sound)
    later = encoder.headers + data(encode(encoder, sound))
    level, _at = correlation(decode(later, 48000)[RATE : 3 * RATE], sound)
    assert level > 0.98


def test_the_bit_rate_is_that_of_the_request() -> None:
    random = np.random.default_rng(1)
    noise = random.uniform(-0.3, 0.3, (10 * RATE, 2)).astype(np.float32)
    for format, bitrate in (("mp3", 128), ("mp3", 320), ("opus", 96)):
        chunks = encode(make_encoder(format, bitrate, 48000), noise)
        seconds = sum(chunk.frames for chunk in chunks) / 48000
        rate = 8 * len(data(chunks)) / seconds / 1000
        assert rate == pytest.approx(bitrate, rel=0.1), format


def test_ogg_pages_have_the_checksum_of_the_specification() -> None:
    def plain(page: bytes) -> int:
        crc = 0
        for byte in page:
            crc ^= byte << 24
            for _ in range(8):
                crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
        return crc

    made = list(pages(bytes(range(256)) * 300, 4711, 1, 7))
    assert len(made) == 2 and not made[0][5] & CONTINUED and made[1][5] & CONTINUED
    for page in made:
        (found,) = struct.unpack_from("<I", page, 22)
        assert found == plain(page[:22] + bytes(4) + page[26:])
    assert checksum(b"OggS") == plain(b"OggS")
    splitter = PageSplitter()
    together = b"".join(made)
    split = [one for at in range(len(together)) for one in splitter.split(together[at : at + 1])]
    assert [page for page, _ in split] == made
    assert [granule for _, granule in split] == [-1, 4711]


def test_a_packet_of_full_segments_ends_with_an_empty_one() -> None:
    (page,) = pages(bytes(510), 1, 1, 0)
    assert page[26:30] == bytes([3, 255, 255, 0])


def test_lengths_of_flac_frames() -> None:
    assert flac_frame_length(bytes.fromhex("fff8c918c20042000000")) == 4096
    assert flac_frame_length(bytes.fromhex("fff87918006baa07d100")) == 0x6BAA + 1
    assert flac_frame_length(bytes.fromhex("fff86918c2800f000000")) == 16
    for bad in (b"", b"\xff\xf8\x09\x18\0\0\0\0", b"RIFFxxxx"):
        with pytest.raises(ValueError, match="not a FLAC frame"):
            flac_frame_length(bad)
