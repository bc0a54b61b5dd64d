"""Every unplayable file is refused with a specific error type and one readable line."""

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile import AudioFileError, open_stem
from crowdstream.audiofile.errors import (
    EmptyAudio,
    FileChanged,
    FileMissing,
    FileUnreadable,
    IsDirectory,
    NotAudio,
    PermissionRefused,
    TruncatedAudio,
    UnsupportedAudio,
)
from tests.support.held_resources import nothing_left_behind
from tests.support.sound_files import WriteSound


def _refusal(path: Path, kind: type[AudioFileError]) -> str:
    with pytest.raises(kind) as caught:
        open_stem(path, 44100)
    assert type(caught.value) is kind
    assert caught.value.path == path
    line = str(caught.value)
    assert line.isprintable()
    assert line.isascii() or "\\u" not in line
    return line


def _with_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "no.wav", FileMissing).endswith("no.wav: there is no such file")
    _with_file(tmp_path / "file", b"")
    _refusal(tmp_path / "file" / "a.wav", FileMissing)
    _refusal(tmp_path / ("x" * 300), FileMissing)
    _refusal(tmp_path / "a\nb\udcff\0.wav", FileMissing)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    _refusal(tmp_path / "circle", FileMissing)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    _refusal(tmp_path, IsDirectory)


def test_an_empty_file_is_refused(tmp_path: Path, write_sound: WriteSound) -> None:
    assert "0 bytes" in _refusal(_with_file(tmp_path / "a.wav", b""), EmptyAudio)
    for name in ("b.wav", "b.flac", "b.aiff"):
        path = write_sound(tmp_path / name, samples=np.zeros((0, 2)), subtype="PCM_16")
        _refusal(path, EmptyAudio)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.ogg", "a.raw"])
def test_text_is_refused_whatever_its_extension(name: str, tmp_path: Path) -> None:
    path = _with_file(tmp_path / name, b"To be played at the party.\n" * 100)
    assert "not audio" in _refusal(path, NotAudio)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    _refusal(tmp_path / "a.wav", NotAudio)


def test_other_contents_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).bytes(3000)
    _refusal(_with_file(tmp_path / "a.wav", b"RIFF\x10\0\0\0AVI " + noise), NotAudio)
    _refusal(_with_file(tmp_path / "b.wav", b"\x89PNG\r\n" + noise), NotAudio)
    _refusal(_with_file(tmp_path / "c.mp3", b"\xff\xfb\x90\x64" + noise), NotAudio)
    _refusal(_with_file(tmp_path / "d.ogg", b"OggS" + noise), UnsupportedAudio)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "FLOAT"),
        ("a.aiff", "PCM_16"),
        ("a.aiff", "FLOAT"),
        ("a.rf64", "PCM_24"),
        ("a.w64", "PCM_16"),
        ("a.flac", "PCM_16"),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.9999])
def test_a_truncated_file_plays_to_its_end_with_a_warning(
    name: str, subtype: str, share: float, tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / name, subtype=subtype)
    with open_stem(path, 44100) as reader:
        whole = reader.read(0, reader.frames)
        assert reader.warnings == ()
    os.truncate(path, int(path.stat().st_size * share))
    with open_stem(path, 44100) as reader:
        assert share - 0.15 < reader.frames / len(whole) <= min(1.0, share + 0.01)
        np.testing.assert_array_equal(reader.read(0, reader.frames), whole[: reader.frames])
        np.testing.assert_array_equal(
            reader.read(reader.frames - 9, 9), whole[reader.frames - 9 : reader.frames]
        )
        seconds, held = len(whole) / 44100, reader.frames / 44100
        expected_warning = f"{held:.1f} s to {seconds:.1f} s are missing; copy or export it again"
        if share < 0.9:
            assert [expected_warning in warning for warning in reader.warnings] == [True]


def test_a_file_truncated_inside_its_header_is_refused(
    tmp_path: Path, write_sound: WriteSound
) -> None:
    whole = write_sound(tmp_path / "a.wav", subtype="PCM_16").read_bytes()
    for size in (20, 40, 43, 44):
        _refusal(_with_file(tmp_path / "b.wav", whole[:size]), TruncatedAudio)


def test_a_truncated_mp3_plays_to_its_end_with_a_warning(
    tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(
        tmp_path / "a.mp3", frames=200_000, subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE"
    )
    with open_stem(path, 44100) as reader:
        whole = reader.read(0, reader.frames)
    os.truncate(path, path.stat().st_size // 2)
    with open_stem(path, 44100) as reader:
        assert 0.45 < reader.frames / len(whole) < 0.55
        assert len(reader.warnings) == 1
        assert f"{len(whole) / 44100:.1f} s are missing" in reader.warnings[0]
        sure = reader.frames - 2 * 1152  # the last frames depend on missing bits
        np.testing.assert_allclose(reader.read(0, sure), whole[:sure], atol=1e-6)


@pytest.mark.parametrize(
    ("riff", "data"),
    [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0), (36, 0), (0x7FFFF024, 0x7FFFF000)],
)
def test_wav_files_of_streaming_encoders_play_to_their_end(
    riff: int, data: int, tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / "a.wav", subtype="PCM_16")
    expected, _ = soundfile.read(path, dtype="int16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8], content[at : at + 4] = struct.pack("<I", riff), struct.pack("<I", data)
    with open_stem(_with_file(path, bytes(content)), 44100) as reader:
        np.testing.assert_array_equal(reader.read(0, 10**9), expected)
        np.testing.assert_array_equal(reader.read(700, 99), expected[700:799])


@pytest.mark.parametrize("unknown", [0, 0xFFFFFFFF])
def test_aiff_files_of_streaming_encoders_play_to_their_end(
    unknown: int, tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / "a.aiff", subtype="PCM_16")
    expected, _ = soundfile.read(path, dtype="int16")
    content = bytearray(path.read_bytes())
    for at in (4, content.index(b"COMM") + 10, content.index(b"SSND") + 4):
        content[at : at + 4] = struct.pack(">I", unknown)
    with open_stem(_with_file(path, bytes(content)), 44100) as reader:
        np.testing.assert_array_equal(reader.read(0, 10**9), expected)


def test_an_empty_wav_file_does_not_play_the_chunks_that_follow(
    tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / "a.wav", samples=np.zeros((0, 2)), subtype="PCM_16")
    content = path.read_bytes() + b"LIST\x64\0\0\0" + bytes(100)
    content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
    _refusal(_with_file(path, content), EmptyAudio)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_an_open_file_may_be_deleted_or_replaced(
    name: str, rate: int, tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / name, frames=300_000)
    with open_stem(path, rate) as reader:
        last = reader.read(250_000, 5000)
        first = reader.read(0, 5000)
        path.unlink()
        np.testing.assert_array_equal(reader.read(0, 5000), first)
        path.write_bytes(b"another file")
        np.testing.assert_allclose(reader.read(250_000, 5000), last, atol=1e-6)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 1000),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(path.read_bytes() + b"more"),
        lambda path: os.utime(path, ns=(0, 0)),
    ],
    ids=["cut", "emptied", "overwritten", "extended", "touched"],
)
def test_a_file_changed_in_place_is_refused(
    change: Callable[[Path], object], rate: int, tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / "a.wav", subtype="PCM_16")
    os.utime(path, ns=(10**9, 10**9))  # so that a change within this clock tick is noticed, too
    with open_stem(path, rate) as reader:
        reader.read(0, 100)
        with open(path, "r+b"):
            change(path)
        for start in (0, 50_000):
            with pytest.raises(FileChanged, match="load it again"):
                reader.read(start, 100)


def test_damage_in_the_middle_of_a_flac_file_plays_as_silence(
    tmp_path: Path, write_sound: WriteSound
) -> None:
    path = write_sound(tmp_path / "a.flac", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    with open_stem(path, 44100) as reader:
        whole = reader.read(0, reader.frames)
    content[middle : middle + 60_000] = bytes(60_000)
    with open_stem(_with_file(path, bytes(content)), 44100) as reader:
        heard = reader.read(0, reader.frames)
        silent = np.flatnonzero(~heard.any(axis=1) & whole.any(axis=1))
        begin, end = int(silent[0]), int(silent[-1]) + 1
        assert 0 < begin < end < len(whole)
        assert not heard[begin:end].any()
        np.testing.assert_array_equal(heard[:begin], whole[:begin])
        np.testing.assert_array_equal(heard[end:], whole[end:])
        np.testing.assert_array_equal(reader.read(begin - 50, 100), heard[begin - 50 : begin + 50])
        np.testing.assert_array_equal(reader.read(end - 50, 100), heard[end - 50 : end + 50])
        span = f"{begin / 44100:.1f} s to {end / 44100:.1f} s"
        expected = f"{span} of it are damaged and play as silence"
        assert [expected in warning for warning in reader.warnings] == [True]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(13, PermissionRefused), (1, PermissionRefused), (24, FileUnreadable), (5, FileUnreadable)],
)
def test_errors_of_the_operating_system_are_translated(
    number: int, kind: type[AudioFileError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int, mode: int) -> int:
        raise OSError(number, os.strerror(number))

    # pytest itself uses os.open to remove folders afterwards.
    with monkeypatch.context() as patch, pytest.raises(kind):
        patch.setattr(os, "open", refuse)
        open_stem(tmp_path / "a.wav", 44100)


def test_no_descriptor_is_left_open(tmp_path: Path, write_sound: WriteSound) -> None:
    good = write_sound(tmp_path / "a.ogg", frames=300_000)
    bad = _with_file(tmp_path / "b.wav", b"text")
    with nothing_left_behind():
        for _ in range(3):
            with open_stem(good, 48000) as reader:
                reader.read(200_000, 10)
            reader.close()
            _refusal(bad, NotAudio)
    with pytest.raises(ValueError, match="closed"):
        reader.read(0, 1)


def test_invalid_arguments_raise_value_error(tmp_path: Path, write_sound: WriteSound) -> None:
    path = write_sound(tmp_path / "a.wav")
    with open_stem(path, 44100) as reader:
        for start, count in ((-1, 1), (0, -1)):
            with pytest.raises(ValueError, match="negative"):
                reader.read(start, count)
    with pytest.raises(ValueError, match="sample_rate"):
        open_stem(path, 0)


def test_random_damage_is_either_refused_or_read(
    tmp_path: Path, write_sound: WriteSound
) -> None:
    random = np.random.default_rng(11)
    path = tmp_path / "damaged"
    for name in ("a.wav", "a.aiff", "a.w64", "a.flac", "a.ogg", "a.mp3"):
        content = write_sound(tmp_path / name, frames=10_000).read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            for at in random.integers(0, random.choice([200, len(content)]), 5):
                damaged[at] = random.integers(256)
            try:
                with open_stem(_with_file(path, bytes(damaged)), 44100) as reader:
                    assert len(reader.read(0, 5000)) == min(5000, reader.frames) > 0
            except AudioFileError as error:
                assert str(error).isprintable()


def test_errors_can_be_pickled_and_print_on_one_line() -> None:
    error = FileMissing(Path("/music/a\nb\udce9 \x1b[31m.wav"), "there is no such file")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is FileMissing
    assert str(copy) == str(error)
    assert str(copy) == "/music/a\\nb\\udce9 \\x1b[31m.wav: there is no such file"
