"""Sample-rate conversion: soxr's quality with random access, independent of the order of reads."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdstream.audiofile import open_stem
from tests.support.sound_files import WriteSound

PAIRS = [(48000, 44100), (22050, 44100), (96000, 44100), (44100, 48000), (8000, 44100)]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_segments_match_a_conversion_of_the_whole_file(
    source: int, target: int, tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / "a.wav", source, frames=source * 6 + 17, subtype="FLOAT")
    whole = soxr.resample(soundfile.read(path, dtype="float32")[0], source, target, quality="VHQ")
    with open_stem(path, target) as reader:
        got = reader.read(0, reader.frames)
    assert (reader.dtype, reader.source_rate) == ("float32", source)
    # Rounded up to a whole frame, whereas soxr rounds to the nearest.
    assert len(got) == reader.frames == -(-(source * 6 + 17) * target // source)
    np.testing.assert_allclose(got[: len(whole)], whole[: len(got)], rtol=0, atol=2e-7)


@pytest.mark.parametrize(("source", "target"), [(44099, 44100), (44100, 44099), (48000, 44100)])
def test_a_converted_sine_does_not_drift(
    source: int, target: int, tmp_path: Path, write_sound: WriteSound
) -> None:
    """For rates without a common divisor, soxr's own whole-file conversion drifts."""
    seconds = 12
    sine = np.sin(2 * np.pi * 5000 * np.arange(source * seconds) / source)
    path = write_sound(tmp_path / "a.wav", source, samples=sine, subtype="FLOAT")
    with open_stem(path, target) as reader:
        got = reader.read(0, reader.frames)[:, 0]
    expected = np.sin(2 * np.pi * 5000 * np.arange(len(got)) / target)
    # the ends ring, because the sine starts abruptly
    error = np.abs(got - expected)[2000:-2000].max()
    assert error < 3e-5  # -90 dB at the worst frame


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"rate": 48000, "subtype": "PCM_24"}, 0.0),
        ("a.wav", {"rate": 44099, "subtype": "PCM_16"}, 0.0),
        ("a.ogg", {"rate": 48000, "subtype": "VORBIS"}, 0.0),
        ("a.mp3", {"rate": 48000, "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE"}, 1e-6),
    ],
)
def test_the_order_of_reads_does_not_matter(
    name: str,
    options: dict[str, object],
    tolerance: float,
    tmp_path_factory: pytest.TempPathFactory,
    write_sound: WriteSound,
) -> None:
    path = write_sound(tmp_path_factory.mktemp("sound") / name, frames=500_000, **options)
    with open_stem(path, 44100) as reader:
        whole = np.concatenate([reader.read(at, 65_536) for at in range(0, reader.frames, 65_536)])
        assert len(whole) == reader.frames

        @settings(max_examples=25, deadline=None)
        @given(st.integers(0, reader.frames), st.integers(1, 30_000))
        def check(start: int, count: int) -> None:
            got = reader.read(start, count)
            assert got.flags.c_contiguous
            expected = whole[start : start + count]
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)

        check()


def test_a_file_shorter_than_the_filter_is_converted(
    tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / "a.wav", 48000, samples=np.array([0.5]), subtype="PCM_16")
    with open_stem(path, 44100) as reader:
        assert reader.frames == 1
        assert reader.read(0, 10).shape == (1, 1)
