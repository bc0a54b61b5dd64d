"""Irregular files with audio play to their end, with a warning about the irregularity."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.containers.mp3 import info_tag, parse_header
from crowdstream.audiofile.duration import duration_frames
from crowdstream.audiofile.reader import StemReader, open_stem

RATE = 44100
FRAMES = 50_001
TONE = 0.3 * np.sin(np.arange(FRAMES)[:, None] / np.array([[20.0, 31.0]]))


def sound(form: str, subtype: str, rate: int = RATE, channels: int = 2, **more: str) -> bytes:
    """Return a file with a tone of 50 001 frames."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=form, **more) as writer:
        for at in range(0, FRAMES, 4096):
            writer.write(TONE[at : at + 4096, :channels])
    return file.getvalue()


def opened(tmp_path: Path, data: bytes) -> StemReader:
    """Open a file with these bytes; check that its headers give the same length as the reader."""
    path = tmp_path / "a.sound"
    path.write_bytes(data)
    reader = open_stem(path, None)
    assert duration_frames(path) == (reader.frames, reader.source_rate)
    return reader


def played(tmp_path: Path, data: bytes) -> np.ndarray:
    """Return all frames of a file that has no warnings."""
    with opened(tmp_path, data) as reader:
        assert reader.warnings == ()
        return reader.read(0, reader.frames)


def with_word(data: bytes, after: bytes, value: int, order: str = "<") -> bytes:
    """Return the file with another size after a chunk's name."""
    at = data.index(after) + 4
    return data[:at] + struct.pack(order + "I", value) + data[at + 4 :]


WAVE = sound("WAV", "PCM_16")
EXPECTED = np.frombuffer(WAVE[44:], "<i2").reshape(-1, 2)


@pytest.mark.parametrize(
    "size", [len(WAVE), len(WAVE) - 8, 2_000_000_000, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 0]
)
def test_a_wav_with_a_wrong_or_placeholder_size_plays_whole(tmp_path: Path, size: int) -> None:
    data = with_word(with_word(WAVE, b"RIFF", min(size + 36, 0xFFFFFFFF)), b"data", size)
    if size == 0:
        data = with_word(data, b"RIFF", 36)
    assert np.array_equal(played(tmp_path, data), EXPECTED)


def test_a_wav_that_claims_twice_its_length_warns(tmp_path: Path) -> None:
    with opened(tmp_path, with_word(WAVE, b"data", 8 * FRAMES)) as reader:
        assert np.array_equal(reader.read(0, reader.frames), EXPECTED)
        assert reader.warnings == (
            "its header claims 2.3 s of audio and the file holds 1.1 s: 1.1 s to 2.3 s are "
            "missing; copy or export it again",
        )


def test_a_wav_whose_header_was_never_updated_plays_whole(tmp_path: Path) -> None:
    with opened(tmp_path, with_word(WAVE, b"data", 40_000)) as reader:
        assert np.array_equal(reader.read(0, reader.frames), EXPECTED)
        assert "claims 0.2 s of audio and the file holds 1.1 s: all of it" in reader.warnings[0]


JUNK = b"junk" + struct.pack("<I", 30_000) + b"\xa5" * 30_000


@pytest.mark.parametrize("behind", [b"TAG" + b"x" * 125, bytes(20_000), JUNK])
def test_data_after_the_audio_is_not_played(tmp_path: Path, behind: bytes) -> None:
    assert np.array_equal(played(tmp_path, WAVE + behind), EXPECTED)


def test_noise_after_the_audio_is_not_played(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAVE + b"\x01\x02" + np.random.default_rng(1).bytes(200_000))
    with open_stem(path, None) as reader:
        assert reader.frames == FRAMES
        assert np.array_equal(reader.read(FRAMES - 10, 10), EXPECTED[-10:])


@pytest.mark.parametrize("shift", [0, 1])
def test_a_wav_with_a_missing_or_extra_pad_byte_plays_whole(tmp_path: Path, shift: int) -> None:
    size = 27 + shift
    extra = b"LIST" + struct.pack("<I", size) + b"INFO" + bytes(size - 4) + b"\0" * shift
    assert np.array_equal(played(tmp_path, WAVE[:36] + extra + WAVE[36:]), EXPECTED)


def test_a_wav_with_a_chunk_size_beyond_the_file_plays_whole(tmp_path: Path) -> None:
    extra = b"LIST" + struct.pack("<I", 900_000_000) + b"INFO" + bytes(40)
    assert np.array_equal(played(tmp_path, WAVE[:36] + extra + WAVE[36:]), EXPECTED)


@pytest.mark.parametrize("claimed", [None, 0, 1 << 40])
def test_bw64_and_rf64_play_whole(tmp_path: Path, claimed: int | None) -> None:
    data = sound("RF64", "PCM_16")
    at = data.index(b"ds64") + 16
    if claimed is not None:
        data = data[:at] + struct.pack("<Q", claimed) + data[at + 8 :]
    for form in (b"RF64", b"BW64"):
        with opened(tmp_path, form + data[4:]) as reader:
            assert np.array_equal(reader.read(0, reader.frames), EXPECTED)
            assert bool(reader.warnings) == (claimed == 1 << 40)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_an_aiff_with_wrong_sizes_or_a_missing_pad_byte_plays_whole(
    tmp_path: Path, subtype: str
) -> None:
    data = sound("AIFF", subtype)
    expected_samples = played(tmp_path, data)
    assert len(expected_samples) == FRAMES
    name = data.index(b"COMM")
    odd = data[:name] + b"NAME" + struct.pack(">I", 5) + b"A odd" + data[name:]
    size = struct.unpack(">I", data[data.index(b"SSND") + 4 :][:4])[0]
    few = data[: name + 10] + struct.pack(">I", 100) + data[name + 14 :]
    for bad in (odd, with_word(data, b"SSND", 0xFFFFFFFF, ">"), few):
        assert np.array_equal(played(tmp_path, bad), expected_samples)
    with opened(tmp_path, with_word(data, b"SSND", 2 * size, ">")) as reader:
        assert np.array_equal(reader.read(0, reader.frames), expected_samples)
        assert "1.1 s to 2.3 s are missing" in reader.warnings[0]


def stream(form: str, subtype: str, rate: int = RATE) -> tuple[bytes, np.ndarray]:
    """Return a file and libsndfile's decode of it from its beginning."""
    data = sound(form, subtype, rate)
    return data, soundfile.read(io.BytesIO(data), dtype="float32")[0]


@pytest.mark.parametrize(
    ("form", "subtype", "rate"),
    [("OGG", "VORBIS", RATE), ("OGG", "OPUS", 48000), ("MP3", "MPEG_LAYER_III", RATE)],
)
def test_joined_files_play_to_the_end_of_the_last_one(
    tmp_path: Path, form: str, subtype: str, rate: int
) -> None:
    one, expected_samples = stream(form, subtype, rate)
    tag = b"ID3\3\0\0\0\0\0\x14" + bytes(20) if form == "MP3" else b""
    with opened(tmp_path, one + tag + one + one) as reader:
        assert reader.warnings == ()
        assert reader.frames == 3 * FRAMES
        whole = reader.read(0, reader.frames)
        assert np.allclose(whole, np.concatenate([expected_samples] * 3), atol=2e-6)
        for start in (2 * FRAMES - 50, FRAMES - 1, 3 * FRAMES - 100, 0):
            assert np.allclose(reader.read(start, 100), whole[start : start + 100], atol=2e-6)


def test_joined_files_with_different_rates_warn_of_the_part_not_played(tmp_path: Path) -> None:
    for form, subtype in (("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")):
        data = sound(form, subtype) + sound(form, subtype, 22050)
        with opened(tmp_path, data) as reader:
            assert reader.frames == FRAMES
            assert reader.warnings[0].startswith(
                "it is not played beyond 1.1 s: there, a recording"
            )


def test_joined_mono_and_stereo_are_both_played(tmp_path: Path) -> None:
    mono = sound("OGG", "VORBIS", channels=1)
    stereo, _ = stream("OGG", "VORBIS")
    with opened(tmp_path, stereo + mono) as reader:
        end = reader.read(FRAMES, FRAMES)
        assert np.array_equal(end[:, 0], end[:, 1])
        assert np.abs(end[:, 0] - TONE[:, 0]).max() < 0.05


def test_a_damaged_end_is_reported(tmp_path: Path) -> None:
    whole = sound("OGG", "VORBIS")
    path = tmp_path / "a.ogg"
    path.write_bytes(whole + whole[:100] + b"\xaa" * 5000)
    with open_stem(path, None) as reader:
        assert reader.frames == FRAMES
        assert reader.warnings[0].startswith("it is not played beyond 1.1 s")


def untagged(data: bytes) -> bytes:
    """Return an MP3 without the frame that holds its length tag."""
    header = parse_header(data)
    assert header is not None and info_tag(data[:256], header) is not None
    return data[header.length :]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_length_tag_is_played_whole(tmp_path: Path, mode: str) -> None:
    data = sound("MP3", "MPEG_LAYER_III", bitrate_mode=mode)
    expected_samples = played(tmp_path, data)
    with opened(tmp_path, untagged(data)) as reader:
        # The encoder's delay remains, since mpg123 trims only its own.
        delay = 576
        assert 0 <= reader.frames - len(expected_samples) - delay < 2 * 1152
        assert np.allclose(reader.read(delay, len(expected_samples)), expected_samples, atol=2e-6)
        assert reader.unknown_delay == delay
        assert reader.warnings == ()
    with opened(tmp_path, untagged(data)) as reader:
        reader.trim(reader.unknown_delay)
        assert np.allclose(reader.read(0, len(expected_samples)), expected_samples, atol=2e-6)


def test_an_appended_mp3_without_a_tag_is_played(tmp_path: Path) -> None:
    data = sound("MP3", "MPEG_LAYER_III")
    for between in (b"", b"ID3\3\0\0\0\0\0\x0a" + bytes(10)):
        with opened(tmp_path, data + between + untagged(data)) as reader:
            assert 2 * FRAMES <= reader.frames < 2 * FRAMES + 3 * 1152


@pytest.mark.parametrize(
    ("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]
)
def test_leading_tags_of_any_number_and_size_are_skipped(
    tmp_path: Path, form: str, subtype: str
) -> None:
    data = sound(form, subtype)
    expected_samples = played(tmp_path, data)
    size = 3_000_000
    huge = (
        b"ID3\4\0\0"
        + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
        + b"\xff\xfb" * (size // 2)
    )
    small = b"ID3\3\0\0\0\0\0\x05hello"
    for front in (huge, small + small, small + bytes(3000), huge + small):
        with opened(tmp_path, front + data) as reader:
            assert reader.frames == len(expected_samples)
            for start in (40_000, 100, 30_000):
                expected = expected_samples[start : start + 500]
                assert np.allclose(reader.read(start, 500), expected, atol=2e-6)


def test_a_leading_tag_with_a_size_beyond_the_file_is_skipped(tmp_path: Path) -> None:
    data = sound("MP3", "MPEG_LAYER_III")
    expected_samples = played(tmp_path, data)
    assert np.array_equal(
        played(tmp_path, b"ID3\3\0\0\x7f\x7f\x7f\x7f" + bytes(500) + data), expected_samples
    )


def test_flac_in_ogg_plays_from_any_position(tmp_path: Path) -> None:
    data = sound("FLAC", "PCM_16")
    expected = soundfile.read(io.BytesIO(data), dtype="int16")[0]
    with opened(tmp_path, in_ogg(data)) as reader:
        assert reader.seek_cost == "cheaply"
        for start in (40_000, 0, 17):
            assert np.array_equal(reader.read(start, 2000), expected[start : start + 2000])


def in_ogg(flac: bytes) -> bytes:
    """Return a FLAC file in Ogg pages, divided after the metadata and then every 5000 bytes."""
    at = 4
    while not flac[at] & 0x80:
        at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    packets = [b"\x7fFLAC\1\0\0\1" + flac[:42], flac[42:at]]
    packets += [flac[start : start + 5000] for start in range(at, len(flac), 5000)]
    pages = b""
    for number, packet in enumerate(packets):
        lacing = bytes([255] * (len(packet) // 255)) + bytes([len(packet) % 255])
        last = number + 1 == len(packets)
        flags = 2 * (number == 0) + 4 * last
        head = struct.pack("<BBqIII", 0, flags, FRAMES if last else 0, 7, number, 0)
        pages += b"OggS" + head + bytes([len(lacing)]) + lacing + packet
    return pages


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\0\0\0\x20ftypM4A ", "MP4"), (b"MAC \x96\x0f", "Monkey's Audio"),
        (b"wvpk\0\0", "WavPack"), (b"\x30\x26\xb2\x75\x8e\x66", "Windows Media"),
        (b"PK\x03\x04", "ZIP"), (b"<!DOCTYPE html>", "web page"), (b"\x89PNG\r\n", "picture"),
    ],
)  # fmt: skip
def test_refused_formats_are_named(tmp_path: Path, head: bytes, reason: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(head + bytes(500))
    with pytest.raises(Exception, match=reason):
        open_stem(path, None)
