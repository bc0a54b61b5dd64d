"""Any range of a file equals the same range of a decode from its beginning."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.audiofile import StemReader, open_stem
from tests.support.sound_files import WriteSound, linear_decode

# One rounding step of mpg123's sums, whose order depends on where decoding started.
MP3_STEP = 5e-7


@dataclass(frozen=True)
class Kind:
    """A kind of file: how to write it, and the tolerated difference from a linear decode."""

    name: str
    options: dict[str, Any]
    tolerance: float = 0.0
    dtype: str = "float32"


KINDS = [
    Kind("16.wav", {"subtype": "PCM_16"}, dtype="int16"),
    Kind("big-endian.wav", {"subtype": "PCM_16", "endian": "BIG"}, dtype="int16"),
    Kind("mono.wav", {"subtype": "PCM_16", "channels": 1}, dtype="int16"),
    Kind("extensible.wav", {"format": "WAVEX", "subtype": "PCM_16"}, dtype="int16"),
    Kind("8.wav", {"subtype": "PCM_U8"}, dtype="int16"),
    Kind("24.wav", {"subtype": "PCM_24"}),
    Kind("32.wav", {"subtype": "PCM_32"}),
    Kind("float.wav", {"subtype": "FLOAT"}),
    Kind("double.wav", {"subtype": "DOUBLE"}),
    Kind("adpcm.wav", {"subtype": "IMA_ADPCM", "frames": 44_100}),
    Kind("16.aiff", {"subtype": "PCM_16"}, dtype="int16"),
    Kind("float.aifc", {"format": "AIFF", "subtype": "FLOAT"}),
    Kind("16.flac", {"subtype": "PCM_16"}, dtype="int16"),
    Kind("24.flac", {"subtype": "PCM_24"}),
    Kind("16.rf64", {"subtype": "PCM_16"}, dtype="int16"),
    Kind("16.w64", {"subtype": "PCM_16"}, dtype="int16"),
    Kind("stereo.ogg", {"subtype": "VORBIS", "frames": 600_000}),
    Kind("mono.oga", {"format": "OGG", "subtype": "VORBIS", "frames": 600_000, "channels": 1}),
    Kind("opus.ogg", {"subtype": "OPUS", "rate": 48_000, "frames": 200_000}, tolerance=1e-6),
    Kind(
        "variable.mp3",
        {"subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE", "frames": 400_000},
        tolerance=MP3_STEP,
    ),
    Kind(
        "constant.mp3",
        {"subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "frames": 400_000},
        tolerance=MP3_STEP,
    ),
    Kind(
        "low.mp3",
        {
            "subtype": "MPEG_LAYER_III",
            "bitrate_mode": "VARIABLE",
            "compression_level": 0.9,
            "rate": 22_050,
            "channels": 1,
            "frames": 300_000,
        },
        tolerance=MP3_STEP,
    ),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def opened(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    write_sound: WriteSound,
) -> Iterator[tuple[Kind, StemReader, npt.NDArray[Any]]]:
    """A file of each kind, open at its own rate, and its linear decode."""
    kind: Kind = request.param
    path = write_sound(tmp_path_factory.mktemp("sound") / kind.name, **kind.options)
    with open_stem(path, kind.options.get("rate", 44100)) as reader:
        yield kind, reader, linear_decode(path, kind.dtype)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_range_equals_that_range_of_a_linear_decode(
    opened: tuple[Kind, StemReader, npt.NDArray[Any]], data: st.DataObject
) -> None:
    kind, reader, whole = opened
    start = data.draw(st.integers(0, reader.frames + 10))
    count = data.draw(st.one_of(st.integers(0, 20_000), st.sampled_from([1, 3, 65_536, 10**9])))
    got = reader.read(start, count)
    expected = whole[start : start + count]
    assert got.shape == expected.shape
    assert got.dtype == kind.dtype == reader.dtype
    assert got.flags.c_contiguous
    if len(got):
        assert np.abs(got.astype(float) - expected.astype(float)).max() <= kind.tolerance


def test_reading_block_by_block_is_bit_exact(
    opened: tuple[Kind, StemReader, npt.NDArray[Any]],
) -> None:
    _, reader, whole = opened
    with open_stem(reader.path, reader.source_rate) as fresh:
        blocks = [fresh.read(at, 10_007) for at in range(0, fresh.frames, 10_007)]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert reader.frames == len(whole)
    assert reader.channels == whole.shape[1]


def test_soundfile_alone_reads_wrong_samples(tmp_path: Path, write_sound: WriteSound) -> None:
    """The reason for `decode.py`: if this test fails, soundfile has been fixed."""
    path = write_sound(
        tmp_path / "a.mp3",
        frames=400_000,
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=0.9,
    )
    whole = linear_decode(path)
    with soundfile.SoundFile(path) as file:
        blocks = np.concatenate(list(file.blocks(1000, dtype="float32")))
    assert np.abs(blocks - whole).max() > 0.01


def test_a_vorbis_file_is_read_exactly_at_many_places(
    tmp_path: Path, write_sound: WriteSound
) -> None:
    """libsndfile's own seek is wrong at about one position in thirty of such a file."""
    path = write_sound(tmp_path / "a.ogg", frames=1_000_000, subtype="VORBIS")
    whole = linear_decode(path)
    places = np.random.default_rng(1).integers(0, len(whole) - 500, 150)
    with open_stem(path, 44100) as reader:
        for at in places:
            np.testing.assert_array_equal(reader.read(int(at), 500), whole[at : at + 500])


def test_16_bit_samples_are_bit_identical(tmp_path: Path, write_sound: WriteSound) -> None:
    every = np.arange(-32768, 32768, dtype=np.int16).reshape(-1, 2)
    for name in ("a.wav", "a.aiff", "a.flac"):
        path = write_sound(tmp_path / name, samples=every, subtype="PCM_16")
        with open_stem(path, 44100) as reader:
            np.testing.assert_array_equal(reader.read(0, len(every)), every)


def test_8_bit_samples_are_shifted_up(tmp_path: Path, write_sound: WriteSound) -> None:
    path = write_sound(
        tmp_path / "a.wav", samples=np.array([0.5, -0.5, -1.0, 0.0]), subtype="PCM_U8"
    )
    with open_stem(path, 44100) as reader:
        assert reader.read(0, 4).ravel().tolist() == [16384, -16384, -32768, 0]


def test_non_finite_samples_become_silence(tmp_path: Path, write_sound: WriteSound) -> None:
    samples = np.array([0.5, np.nan, np.inf, -np.inf, 1.5, 1e300])
    for subtype, size in (("FLOAT", 5), ("DOUBLE", 6)):
        path = write_sound(tmp_path / f"{subtype}.wav", samples=samples[:size], subtype=subtype)
        with open_stem(path, 44100) as reader:
            assert reader.read(0, 5).ravel().tolist() == [0.5, 0.0, 0.0, 0.0, 1.5]
            assert np.isfinite(reader.read(0, 6)).all()
        with open_stem(path, 48000) as reader:
            assert np.isfinite(reader.read(0, 6)).all()


def test_mp3_without_a_length_tag_is_read_whole(tmp_path: Path, write_sound: WriteSound) -> None:
    """mpg123 guesses the length from the first frame, and would end this file before its middle."""
    tagged = write_sound(
        tmp_path / "tagged.mp3", frames=400_000, subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE"
    )
    data = tagged.read_bytes()
    first_audio_frame = data.index(data[:2], 4)
    path = tmp_path / "plain.mp3"
    path.write_bytes(b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + data[first_audio_frame:])
    assert soundfile.info(path).frames < 300_000
    whole = linear_decode(tagged)
    # The tag also holds the encoder's delay. Without it, everything that the encoder put before the
    # audio stays.
    delay = 576
    with open_stem(path, 44100) as reader:
        assert delay + 400_000 <= reader.frames < delay + 400_000 + 3 * 1152
        got = reader.read(0, reader.frames)
        np.testing.assert_allclose(got[delay : delay + len(whole)], whole, atol=MP3_STEP)
        np.testing.assert_allclose(reader.read(300_000, 999), got[300_000:300_999], atol=MP3_STEP)
