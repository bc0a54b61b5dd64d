"""Mono and stereo are kept, up to eight channels are mixed down, and more are refused."""

from pathlib import Path

import numpy as np
import pytest

from crowdstream.audiofile import open_stem
from crowdstream.audiofile.downmix import downmix_matrix
from crowdstream.audiofile.errors import UnsupportedAudio
from tests.support.sound_files import WriteSound


@pytest.mark.parametrize("channels", range(3, 9))
@pytest.mark.parametrize("vorbis", [False, True])
def test_the_downmix_is_symmetric_and_cannot_clip(channels: int, vorbis: bool) -> None:
    matrix = downmix_matrix(channels, vorbis)
    assert matrix.shape == (channels, 2)
    assert matrix.sum(axis=0).tolist() == pytest.approx([1.0, 1.0])
    assert (matrix >= 0).all()


def test_six_channels_are_mixed_down_to_stereo(tmp_path: Path, write_sound: WriteSound) -> None:
    one_each = np.eye(6) * 0.5  # frame n is non-zero on channel n only
    path = write_sound(tmp_path / "a.wav", samples=one_each, subtype="PCM_16")
    with open_stem(path, 44100) as reader:
        assert (reader.channels, reader.dtype) == (2, "float32")
        left, right, centre, low, back_left, back_right = reader.read(0, 6)
    scale = 1 / (1 + 2 * 0.5**0.5)
    assert left.tolist() == pytest.approx([0.5 * scale, 0.0])
    assert right.tolist() == pytest.approx([0.0, 0.5 * scale])
    assert centre.tolist() == pytest.approx([0.5 * scale * 0.5**0.5] * 2)
    assert low.tolist() == [0.0, 0.0]
    assert back_left.tolist() == pytest.approx([0.5 * scale * 0.5**0.5, 0.0])
    assert back_right.tolist() == pytest.approx([0.0, 0.5 * scale * 0.5**0.5])


def test_vorbis_files_have_their_own_channel_order(tmp_path: Path, write_sound: WriteSound) -> None:
    """The second channel is the right one in a WAV file, but the centre in a Vorbis file."""
    samples = np.zeros((30_000, 3))
    samples[:, 1] = 0.5 * np.sin(np.arange(30_000) * 0.1)
    wav = write_sound(tmp_path / "a.wav", samples=samples, subtype="PCM_16")
    ogg = write_sound(tmp_path / "a.ogg", samples=samples, subtype="VORBIS")
    with open_stem(wav, 44100) as reader:
        assert np.abs(reader.read(0, 30_000)).max(axis=0)[0] == 0
    with open_stem(ogg, 44100) as reader:
        left, right = np.abs(reader.read(0, 30_000)).max(axis=0)
        assert left == pytest.approx(right)
        assert left > 0.1


def test_nine_channels_are_refused(tmp_path: Path, write_sound: WriteSound) -> None:
    path = write_sound(tmp_path / "a.wav", samples=np.zeros((100, 9)), subtype="PCM_16")
    with pytest.raises(UnsupportedAudio, match="9 channels"):
        open_stem(path, 44100)
