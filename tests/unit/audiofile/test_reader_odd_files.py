"""Files that are odd and hold sound: they play to their end, and say what is odd."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.containers.mp3 import info_tag, parse_header
from crowdstream.audiofile.duration import frames_of
from crowdstream.audiofile.reader import StemReader, open_stem

RATE = 44100
FRAMES = 50_001
TONE = 0.3 * np.sin(np.arange(FRAMES)[:, None] / np.array([[20.0, 31.0]]))


def sound(form: str, subtype: str, rate: int = RATE, channels: int = 2, **more: str) -> bytes:
    """A file of a tone, of 50 001 frames."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=form, **more) as writer:
        for at in range(0, FRAMES, 4096):
            writer.write(TONE[at : at + 4096, :channels])
    return file.getvalue()


def opened(tmp_path: Path, data: bytes) -> StemReader:
    """The file with these bytes; its length by its headers is that of the reader."""
    path = tmp_path / "a.sound"
    path.write_bytes(data)
    reader = open_stem(path, None)
    assert frames_of(path) == (reader.frames, reader.source_rate)
    return reader


def played(tmp_path: Path, data: bytes) -> np.ndarray:
    """All frames of a file about which nothing is said."""
    with opened(tmp_path, data) as reader:
        assert reader.warnings == ()
        return reader.read(0, reader.frames)


def with_word(data: bytes, after: bytes, value: int, order: str = "<") -> bytes:
    """The file with another size behind a chunk's name."""
    at = data.index(after) + 4
    return data[:at] + struct.pack(order + "I", value) + data[at + 4 :]


WAVE = sound("WAV", "PCM_16")
WANTED = np.frombuffer(WAVE[44:], "<i2").reshape(-1, 2)


@pytest.mark.parametrize(
    "size", [len(WAVE), len(WAVE) - 8, 2_000_000_000, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 0]
)
def test_wav_with_a_wrong_or_placeholder_size(tmp_path: Path, size: int) -> None:
    data = with_word(with_word(WAVE, b"RIFF", min(size + 36, 0xFFFFFFFF)), b"data", size)
    if size == 0:
        data = with_word(data, b"RIFF", 36)
    assert np.array_equal(played(tmp_path, data), WANTED)


def test_wav_that_claims_twice_what_it_holds(tmp_path: Path) -> None:
    with opened(tmp_path, with_word(WAVE, b"data", 8 * FRAMES)) as reader:
        assert np.array_equal(reader.read(0, reader.frames), WANTED)
        assert reader.warnings == (
            "its header claims 2.3 s of audio and the file holds 1.1 s: 1.1 s to 2.3 s are "
            "missing; copy or export it again",
        )


def test_wav_whose_header_was_never_updated(tmp_path: Path) -> None:
    with opened(tmp_path, with_word(WAVE, b"data", 40_000)) as reader:
        assert np.array_equal(reader.read(0, reader.frames), WANTED)
        assert "claims 0.2 s of audio and the file holds 1.1 s: all of it" in reader.warnings[0]


JUNK = b"junk" + struct.pack("<I", 30_000) + b"\xa5" * 30_000


@pytest.mark.parametrize("behind", [b"TAG" + b"x" * 125, bytes(20_000), JUNK])
def test_what_lies_behind_the_sound_is_not_played(tmp_path: Path, behind: bytes) -> None:
    assert np.array_equal(played(tmp_path, WAVE + behind), WANTED)


def test_noise_behind_the_sound_is_not_played(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAVE + b"\x01\x02" + np.random.default_rng(1).bytes(200_000))
    with open_stem(path, None) as reader:
        assert reader.frames == FRAMES
        assert np.array_equal(reader.read(FRAMES - 10, 10), WANTED[-10:])


@pytest.mark.parametrize("shift", [0, 1])
def test_wav_without_a_pad_byte_or_with_one_too_many(tmp_path: Path, shift: int) -> None:
    size = 27 + shift
    extra = b"LIST" + struct.pack("<I", size) + b"INFO" + bytes(size - 4) + b"\0" * shift
    assert np.array_equal(played(tmp_path, WAVE[:36] + extra + WAVE[36:]), WANTED)


def test_wav_with_a_chunk_whose_size_leads_nowhere(tmp_path: Path) -> None:
    extra = b"LIST" + struct.pack("<I", 900_000_000) + b"INFO" + bytes(40)
    assert np.array_equal(played(tmp_path, WAVE[:36] + extra + WAVE[36:]), WANTED)


@pytest.mark.parametrize("claimed", [None, 0, 1 << 40])
def test_bw64_and_rf64(tmp_path: Path, claimed: int | None) -> None:
    data = sound("RF64", "PCM_16")
    at = data.index(b"ds64") + 16
    if claimed is not None:
        data = data[:at] + struct.pack("<Q", claimed) + data[at + 8 :]
    for form in (b"RF64", b"BW64"):
        with opened(tmp_path, form + data[4:]) as reader:
            assert np.array_equal(reader.read(0, reader.frames), WANTED)
            assert bool(reader.warnings) == (claimed == 1 << 40)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_aiff_with_wrong_sizes_and_without_a_pad_byte(tmp_path: Path, subtype: str) -> None:
    data = sound("AIFF", subtype)
    wanted = played(tmp_path, data)
    assert len(wanted) == FRAMES
    name = data.index(b"COMM")
    odd = data[:name] + b"NAME" + struct.pack(">I", 5) + b"A odd" + data[name:]
    size = struct.unpack(">I", data[data.index(b"SSND") + 4 :][:4])[0]
    few = data[: name + 10] + struct.pack(">I", 100) + data[name + 14 :]
    for bad in (odd, with_word(data, b"SSND", 0xFFFFFFFF, ">"), few):
        assert np.array_equal(played(tmp_path, bad), wanted)
    with opened(tmp_path, with_word(data, b"SSND", 2 * size, ">")) as reader:
        assert np.array_equal(reader.read(0, reader.frames), wanted)
        assert "1.1 s to 2.3 s are missing" in reader.warnings[0]


def stream(form: str, subtype: str, rate: int = RATE) -> tuple[bytes, np.ndarray]:
    """A file, and what libsndfile decodes it to from its beginning."""
    data = sound(form, subtype, rate)
    return data, soundfile.read(io.BytesIO(data), dtype="float32")[0]


@pytest.mark.parametrize(
    ("form", "subtype", "rate"),
    [("OGG", "VORBIS", RATE), ("OGG", "OPUS", 48000), ("MP3", "MPEG_LAYER_III", RATE)],
)
def test_joined_files_play_to_the_end_of_the_last(
    tmp_path: Path, form: str, subtype: str, rate: int
) -> None:
    one, wanted = stream(form, subtype, rate)
    tag = b"ID3\3\0\0\0\0\0\x14" + bytes(20) if form == "MP3" else b""
    with opened(tmp_path, one + tag + one + one) as reader:
        assert reader.warnings == ()
        assert reader.frames == 3 * FRAMES
        whole = reader.read(0, reader.frames)
        assert np.allclose(whole, np.concatenate([wanted] * 3), atol=2e-6)
        for start in (2 * FRAMES - 50, FRAMES - 1, 3 * FRAMES - 100, 0):
            assert np.allclose(reader.read(start, 100), whole[start : start + 100], atol=2e-6)


def test_joined_files_of_other_rates_name_the_seconds_that_are_not_played(tmp_path: Path) -> None:
    for form, subtype in (("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")):
        data = sound(form, subtype) + sound(form, subtype, 22050)
        with opened(tmp_path, data) as reader:
            assert reader.frames == FRAMES
            assert reader.warnings[0].startswith(
                "it is not played beyond 1.1 s: there, a recording"
            )


def test_mono_and_stereo_joined_are_both_heard(tmp_path: Path) -> None:
    mono = sound("OGG", "VORBIS", channels=1)
    stereo, _ = stream("OGG", "VORBIS")
    with opened(tmp_path, stereo + mono) as reader:
        end = reader.read(FRAMES, FRAMES)
        assert np.array_equal(end[:, 0], end[:, 1])
        assert np.abs(end[:, 0] - TONE[:, 0]).max() < 0.05


def test_a_broken_end_is_named(tmp_path: Path) -> None:
    whole = sound("OGG", "VORBIS")
    path = tmp_path / "a.ogg"
    path.write_bytes(whole + whole[:100] + b"\xaa" * 5000)
    with open_stem(path, None) as reader:
        assert reader.frames == FRAMES
        assert reader.warnings[0].startswith("it is not played beyond 1.1 s")


def untagged(data: bytes) -> bytes:
    """An MP3 without the frame that says its length."""
    header = parse_header(data)
    assert header is not None and info_tag(data[:256], header) is not None
    return data[header.length :]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_without_a_length_tag(tmp_path: Path, mode: str) -> None:
    data = sound("MP3", "MPEG_LAYER_III", bitrate_mode=mode)
    wanted = played(tmp_path, data)
    with opened(tmp_path, untagged(data)) as reader:
        # The encoder's delay is what nobody trims: mpg123 trims its own.
        delay = 576
        assert 0 <= reader.frames - len(wanted) - delay < 2 * 1152
        assert np.allclose(reader.read(delay, len(wanted)), wanted, atol=2e-6)
        assert reader.unknown_delay == delay
        assert reader.warnings == ()
    with opened(tmp_path, untagged(data)) as reader:
        reader.trim(reader.unknown_delay)
        assert np.allclose(reader.read(0, len(wanted)), wanted, atol=2e-6)


def test_an_appended_mp3_without_a_tag_is_played_too(tmp_path: Path) -> None:
    data = sound("MP3", "MPEG_LAYER_III")
    for between in (b"", b"ID3\3\0\0\0\0\0\x0a" + bytes(10)):
        with opened(tmp_path, data + between + untagged(data)) as reader:
            assert 2 * FRAMES <= reader.frames < 2 * FRAMES + 3 * 1152


@pytest.mark.parametrize(
    ("form", "subtype"), [("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]
)
def test_tags_in_front_in_any_number_and_size(tmp_path: Path, form: str, subtype: str) -> None:
    data = sound(form, subtype)
    wanted = played(tmp_path, data)
    size = 3_000_000
    huge = (
        b"ID3\4\0\0"
        + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
        + b"\xff\xfb" * (size // 2)
    )
    small = b"ID3\3\0\0\0\0\0\x05hello"
    for front in (huge, small + small, small + bytes(3000), huge + small):
        with opened(tmp_path, front + data) as reader:
            assert reader.frames == len(wanted)
            for start in (40_000, 100, 30_000):
                expected = wanted[start : start + 500]
                assert np.allclose(reader.read(start, 500), expected, atol=2e-6)


def test_a_tag_that_claims_more_than_the_file(tmp_path: Path) -> None:
    data = sound("MP3", "MPEG_LAYER_III")
    wanted = played(tmp_path, data)
    assert np.array_equal(
        played(tmp_path, b"ID3\3\0\0\x7f\x7f\x7f\x7f" + bytes(500) + data), wanted
    )


def test_flac_in_ogg_plays_from_anywhere(tmp_path: Path) -> None:
    data = sound("FLAC", "PCM_16")
    expected = soundfile.read(io.BytesIO(data), dtype="int16")[0]
    with opened(tmp_path, in_ogg(data)) as reader:
        assert reader.seeks == "cheaply"
        for start in (40_000, 0, 17):
            assert np.array_equal(reader.read(start, 2000), expected[start : start + 2000])


def in_ogg(flac: bytes) -> bytes:
    """A FLAC file in Ogg pages, cut where the metadata ends and then anywhere."""
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
def test_what_is_refused_gets_the_right_reason(tmp_path: Path, head: bytes, reason: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(head + bytes(500))
    with pytest.raises(Exception, match=reason):
        open_stem(path, None)
