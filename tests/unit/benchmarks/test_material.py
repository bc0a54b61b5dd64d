"""The benchmarks' sound files."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import material


def test_a_written_file_matches_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    material.write_wav(path, 1_000_003, 1)
    info = soundfile.info(path)
    assert (info.frames, info.samplerate, info.channels) == (250_000, 44100, 2)
    assert info.subtype == "PCM_16"
    sound, _ = soundfile.read(path, dtype="int16")
    assert np.array_equal(sound, material.pattern(1)[:250_000])


def test_a_pattern_is_repeated_to_the_requested_length(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    frames = material.PATTERN_SECONDS * material.RATE
    material.write_wav(path, (frames + 1000) * material.FRAME_BYTES, 2)
    sound, _ = soundfile.read(path, dtype="int16")
    assert np.array_equal(sound[frames:], sound[:1000])


def test_a_sparse_file_uses_no_disk_space_for_silence(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    material.write_wav(path, 400_000_000, 3, sparse=True)
    assert soundfile.info(path).frames == 100_000_000
    assert path.stat().st_blocks * 512 < 4_000_000
    sound, _ = soundfile.read(path, frames=1, dtype="int16")
    assert sound.any()


def test_sixteen_different_stems_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = material.deck_folders(20_000)
    stems = [path for folder in folders for path in sorted(folder.iterdir())]
    assert len(folders) == 4
    assert len({path.read_bytes() for path in stems}) == 16

    def fail(*_arguments: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(material, "write_wav", fail)
    assert material.deck_folders(20_000) == folders


def test_a_truncated_file_is_written_again() -> None:
    path = material.big_file(20_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    assert material.big_file(20_000).read_bytes() == whole


def test_stems_together_stay_below_full_scale() -> None:
    together = sum(material.pattern(seed, 44100).astype(np.float64) for seed in range(16, 32))
    assert float(np.abs(together).max()) / 32768 / 4 < 1.0  # as four decks at level 1


def test_forgetting_a_file_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    material.write_wav(path, 1000, 1)
    before = path.read_bytes()
    material.forget_cached(path)
    assert path.read_bytes() == before
