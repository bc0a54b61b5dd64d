"""Audio files that users of other programs have reported as troublesome.

The sources are listed in docs/development/reported-situations.md.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.duration import duration_frames
from crowdstream.audiofile.errors import AudioFileError
from crowdstream.audiofile.reader import open_stem
from tests.unit.audiofile.test_reader_odd_files import FRAMES, RATE, TONE, WAVE, played, sound
from tests.unit.audiofile.test_tags import chunk, id3

MP3 = sound("MP3", "MPEG_LAYER_III")
FLAC = sound("FLAC", "PCM_16")


def little_endian(codec: bytes) -> bytes:
    """Return a little-endian AIFF-C file of floats or 24-bit integers, as QuickTime writes it."""
    if codec == b"in24":
        steps = np.round(TONE * (1 << 23)).astype("<i4").reshape(-1)
        samples = steps.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        samples = TONE.astype("<f8" if codec == b"fl64" else "<f4").tobytes()
    bits = {b"in24": 24, b"fl32": 32, b"fl64": 64}[codec]
    comm = struct.pack(">hIh", 2, FRAMES, bits) + struct.pack(">HQ", 0x400E, RATE << 48)
    atoms = struct.pack(">I4s4s", 12, b"frma", codec) + struct.pack(">I4sH", 10, b"enda", 1)
    body = b"AIFC" + chunk(b"FVER", struct.pack(">I", 0xA2805140), ">")
    body += chunk(b"COMM", comm + codec + b"\0\0", ">")
    body += chunk(b"wave", atoms + struct.pack(">I4s", 8, bytes(4)), ">")
    body += chunk(b"SSND", bytes(8) + samples, ">")
    return chunk(b"FORM", body, ">")


@pytest.mark.parametrize("codec", [b"in24", b"fl32", b"fl64"])
def test_little_endian_aiff_c_of_quicktime_is_not_noise(
    tmp_path: Path, codec: bytes
) -> None:
    heard = played(tmp_path, little_endian(codec))
    assert len(heard) == FRAMES
    assert np.abs(heard - TONE).max() < 2e-7


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32"])
def test_the_duration_of_little_endian_aiff_c_is_known_from_its_header(
    tmp_path: Path, subtype: str
) -> None:
    heard = played(tmp_path, sound("AIFF", subtype, endian="LITTLE"))
    assert len(heard) == FRAMES


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wave_format_extensible_and_64_bit_floats_are_read(tmp_path: Path, subtype: str) -> None:
    for form in ("WAV", "WAVEX"):
        heard = played(tmp_path, sound(form, subtype)).astype(np.float64)
        heard /= 32768 if subtype == "PCM_16" else 1
        assert np.abs(heard - TONE).max() < 4e-5


def test_flac_without_a_length_or_with_an_empty_seek_table_is_read(tmp_path: Path) -> None:
    whole = played(tmp_path, FLAC)
    unknown = bytearray(FLAC)  # STREAMINFO's total number of samples: 36 bits
    unknown[21] &= 0xF0
    unknown[22:26] = bytes(4)
    assert np.array_equal(played(tmp_path, bytes(unknown)), whole)
    first = FLAC[:4] + bytes([FLAC[4] & 0x7F]) + FLAC[5:42]
    table = bytes([3 | FLAC[4] & 0x80, 0, 0, 0])
    assert np.array_equal(played(tmp_path, first + table + FLAC[42:]), whole)


@pytest.mark.parametrize(
    "front",
    [id3(3, b"\x00124") + bytes(3000), b"\xff" * 1500, id3(3, b"\x00124") + b"junk\x37" * 193],
    ids=["zeros", "ones", "junk-behind-a-tag"],
)  # fmt: skip
def test_an_mp3_after_junk_bytes_is_read(tmp_path: Path, front: bytes) -> None:
    assert np.array_equal(played(tmp_path, front + MP3), played(tmp_path, MP3))


def test_files_of_other_formats_are_not_searched_for_an_mp3(tmp_path: Path) -> None:
    for data in (b"\x89PNG\r\n" + MP3, b"PK\x03\x04" + MP3, bytes(5000), b"<html>" + MP3):
        path = tmp_path / "a.mp3"
        path.write_bytes(data)
        with pytest.raises(AudioFileError):
            open_stem(path, None)
        assert duration_frames(path) is None


def test_only_the_beginning_of_a_file_is_searched_for_an_mp3(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with path.open("wb") as file:
        file.write(b"\xff" * 100_000)
        file.seek(1 << 36)  # a hole
        file.write(MP3)
    with pytest.raises(AudioFileError):
        open_stem(path, None)
    assert duration_frames(path) is None


def test_tags_after_an_mp3_are_not_played(tmp_path: Path) -> None:
    lyrics = b"LYRICSBEGININD0000210LYR00005hello"
    lyrics += b"%06dLYRICS200" % len(lyrics)
    old = b"TAG" + b"x" * 125
    for tail in (lyrics + old, id3(3, b"\x00124") + old, bytes(300)):
        assert len(played(tmp_path, MP3 + tail)) == len(played(tmp_path, MP3))


@pytest.mark.parametrize("kept", [True, False])
def test_a_variable_rate_mp3_whose_tag_lacks_the_frame_count_plays_whole(
    tmp_path: Path, kept: bool
) -> None:
    # A loud second and silence after it: the size of the first frames does not predict the rest.
    loud = np.random.default_rng(1).uniform(-0.5, 0.5, (RATE, 2))
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 2, "MPEG_LAYER_III", format="MP3",
                             bitrate_mode="VARIABLE") as writer:  # fmt: skip
        for part in (loud, np.zeros((5 * RATE, 2))):
            for at in range(0, len(part), 4096):
                writer.write(part[at : at + 4096])
    data = file.getvalue()
    whole = played(tmp_path, data)
    assert len(whole) == 6 * RATE
    at = data.index(b"Xing") + 4
    flags = int.from_bytes(data[at : at + 4], "big")
    assert flags & 1
    if kept:
        broken = data[: at + 4] + bytes(4) + data[at + 8 :]
    else:  # a tag without the frame count: the other fields lie four bytes earlier
        end = at + 152  # end of LAME's part of the tag
        broken = data[:at] + struct.pack(">I", flags & ~1) + data[at + 8 : end] + bytes(4)
        broken += data[end:]
    assert np.array_equal(played(tmp_path, broken), whole)


def test_joined_mono_and_stereo_mp3s_play_at_the_right_speed(tmp_path: Path) -> None:
    mono = sound("MP3", "MPEG_LAYER_III", channels=1)
    for first, second in ((mono, MP3), (MP3, mono)):
        heard = played(tmp_path, first + second)
        assert len(heard) == 2 * FRAMES
        for half in (heard[5000:45000], heard[FRAMES + 5000 : FRAMES + 45000]):
            tone = np.abs(np.fft.rfft(half[:, 0] * np.hanning(len(half))))
            assert abs(np.argmax(tone) / len(half) * 2 * np.pi - 1 / 20) < 2e-4


def test_the_extension_is_ignored_and_appended_bytes_are_not_played(tmp_path: Path) -> None:
    for name, data in (("a.mp3", WAVE), ("a.wav", MP3), ("b.wav", WAVE + b"!" * 61)):
        (tmp_path / name).write_bytes(data)
        with open_stem(tmp_path / name, None) as reader:
            assert (reader.frames, reader.warnings) == (FRAMES, ())
