"""Stem files are unpacked once, and load like any other stems."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.errors import AudioFileError, NotAudio
from crowdstream.audiofile.stems.track_files import find_stems
from crowdstream.library.database import Library
from crowdstream.library.stem_mp4 import unpack
from tests.support.analyze_command import Analyze
from tests.support.transcoding import transcode_here
from tests.unit.audiofile.containers.test_mp4 import box

RATE = 44100
NAMES = (
    b'{"stems": [{"name": "Drums", "color": "#009E73"}, {"name": "Bass"}, '
    b'{"name": "Synth/Pad"}, {"name": "Vox"}]}'
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transcode_here(monkeypatch, tmp_path / "home")


def stem_file(path: Path, streams: int = 5, names: bytes = NAMES, seconds: float = 1.0) -> Path:
    """Write a stem file in the usual layout: AAC, the mix first, then a tone in each stem."""
    plain = path.with_name("plain.mp4")
    with av.open(str(plain), "w") as container:
        outs = [container.add_stream("aac", rate=RATE, layout="stereo") for _ in range(streams)]
        time = np.arange(int(RATE * seconds)) / RATE
        for number, out in enumerate(outs):
            tone = 0.3 * np.sin(2 * np.pi * 220.0 * (number + 1) * time).astype(np.float32)
            for at in range(0, len(tone), 1024):
                block = np.stack([tone[at : at + 1024]] * 2)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = RATE, at
                container.mux(out.encode(frame))
            container.mux(out.encode(None))
    # The names go into a box at the end of the last box, where no other offset changes.
    data = plain.read_bytes()
    plain.unlink()
    at = data.rindex(b"moov") - 4
    assert int.from_bytes(data[at : at + 4], "big") == len(data) - at
    inner = data[at + 8 :]
    tags = inner.find(b"udta")
    head = inner if tags < 0 else inner[: tags - 4]
    path.write_bytes(data[:at] + box(b"moov", head, box(b"udta", box(b"stem", names))))
    return path


@pytest.mark.parametrize(("bits", "form"), [(24, "s32p"), (16, "s16p")])
def test_lossless_stems_keep_their_bits(tmp_path: Path, bits: int, form: str) -> None:
    path = tmp_path / "a.stem.mp4"
    random = np.random.default_rng(1)
    top = 1 << (bits - 1)
    wanted = random.integers(-top, top, (3, 2, 8192)) << (32 - bits if bits == 24 else 0)
    plain = tmp_path / "plain.mp4"
    with av.open(str(plain), "w") as container:
        outs = [
            container.add_stream("alac", rate=RATE, layout="stereo", format=form) for _ in range(3)
        ]
        for out, samples in zip(outs, wanted, strict=True):
            for at in range(0, 8192, 4096):
                block = np.ascontiguousarray(samples[:, at : at + 4096])
                block = block.astype(np.int32 if bits == 24 else np.int16)
                frame = av.AudioFrame.from_ndarray(block, format=form, layout="stereo")
                frame.sample_rate, frame.pts = RATE, at
                container.mux(out.encode(frame))
            container.mux(out.encode(None))
    plain.rename(path)
    _folder, stems, _tags = unpack(path, tmp_path / "cache")
    for stem, samples in zip(stems, wanted[1:], strict=True):
        assert soundfile.info(stem.path).subtype == f"PCM_{bits}"
        sound, _rate = soundfile.read(stem.path, dtype="int32" if bits == 24 else "int16")
        assert np.array_equal(sound.T, samples)


def test_a_stem_file_becomes_a_folder_of_stems(tmp_path: Path) -> None:
    path = stem_file(tmp_path / "My Song.stem.mp4")
    folder, stems, tags = unpack(path, tmp_path / "cache")
    assert Path(folder).parent == tmp_path / "cache" and "My Song" in folder
    assert [stem.name for stem in stems] == ["drums", "bass", "vocals", "synth_pad"]
    assert tags["stems"][0] == {"name": "drums", "color": "#009E73"}
    assert find_stems(Path(folder)).stems == tuple(stems)
    for stem, number in zip(stems, (2, 3, 5, 4), strict=True):
        sound, rate = soundfile.read(stem.path)
        assert rate == RATE and len(sound) == RATE
        spectrum = np.abs(np.fft.rfft(sound[:, 0]))
        loudest = np.argmax(spectrum) * RATE / len(sound)
        assert loudest == pytest.approx(220.0 * number, abs=2.0)
    # The second call changes nothing.
    before = os.stat(stems[0].path).st_mtime_ns
    assert unpack(path, tmp_path / "cache")[0] == folder
    assert os.stat(stems[0].path).st_mtime_ns == before
    # The stems of the old version are deleted when the file has changed.
    stem_file(path, seconds=0.5)
    other = unpack(path, tmp_path / "cache")[0]
    assert other != folder and not Path(folder).exists()


def test_invalid_stem_files_are_rejected_and_leave_nothing_in_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(NotAudio, match="no stems"):
        unpack(stem_file(tmp_path / "one.stem.mp4", streams=1), cache)
    whole = stem_file(tmp_path / "cut.stem.mp4").read_bytes()
    for data in (b"", b"rubbish" * 100, whole[: len(whole) // 2]):
        (tmp_path / "cut.stem.mp4").write_bytes(data)
        with pytest.raises(AudioFileError):
            unpack(tmp_path / "cut.stem.mp4", cache)
    assert list(cache.iterdir()) == []


def test_stems_without_names_are_numbered(tmp_path: Path) -> None:
    _folder, stems, _tags = unpack(stem_file(tmp_path / "a.stem.m4a", names=b"?"), tmp_path / "c")
    assert [stem.name for stem in stems] == [f"{number} - stem" for number in (1, 2, 3, 4)]


def test_the_library_lists_the_unpacked_stems(
    tmp_path: Path, run: Analyze, place: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "m").mkdir()
    file = stem_file(tmp_path / "m" / "a.stem.mp4")
    cache = tmp_path / "cache" / "stems"
    assert run(tmp_path / "m", "--unpack", cache) == 0
    with Library(place) as library:
        [entry] = library.find()
        assert entry.stems == ("drums", "bass", "vocals", "synth_pad")
        assert entry.path == str(file) and Path(entry.play).parent == cache
        assert library.find_by_path(entry.play) == entry
        assert library.analysis(entry.number).stems == entry.stems
    assert run(tmp_path / "m", "--unpack", cache) == 0
    assert "0 analysed, 1 already known" in capsys.readouterr().out
    # Deleted stems are unpacked again.
    for stem in Path(entry.play).iterdir():
        stem.unlink()
    Path(entry.play).rmdir()
    assert run(tmp_path / "m", "--unpack", cache) == 0
    assert Path(entry.play).is_dir()
    # Without PyAV the file is skipped, and its entry in the library is kept.
    monkeypatch.setattr("crowdstream.library.cli.can_transcode", lambda: False)
    assert run(tmp_path / "m") == 1
    assert "skipped 1 stem file: a stem file needs PyAV" in capsys.readouterr().err
    with Library(place) as library:
        assert len(library.find()) == 1
