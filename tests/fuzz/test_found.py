"""Regression tests for faults found by the fuzzer and by code review."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdstream.audiofile.beatgrid import GridError, read_sidecar
from crowdstream.audiofile.containers.file_range import ByteRange
from crowdstream.audiofile.containers.mp3 import survey
from crowdstream.audiofile.containers.mp4 import MAX_BOXES, _Boxes, read_stems
from crowdstream.audiofile.errors import TooManyStems
from crowdstream.audiofile.reader import open_stem
from crowdstream.audiofile.stems.track_files import MAX_ENTRIES, find_stems
from crowdstream.dj.setfile.reader import Lines
from crowdstream.library.sidecar import SidecarError
from crowdstream.library.sidecar import read_sidecar as read_corrections
from tests.fuzz.encoded_sounds import sound
from tests.fuzz.player import Player
from tests.support import osc_reference

SECOND = 44100
JUNK = 400_000  # bytes of a hostile file; without limits a file of full size takes far too long


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of reads of files so far, in a list of one item."""
    count = [0]
    pread = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        count[0] += 1
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    yield count


def test_the_search_for_mp3_frames_in_false_frame_headers_is_limited(
    tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.audiofile.containers.mp3._MAX_TRIES", 1000)
    path = tmp_path / "a.mp3"
    music = sound("MP3", "MPEG_LAYER_III", 2, SECOND)
    path.write_bytes(music + b"\xff\xfb\x90\x64" * (JUNK // 4))
    with path.open("rb") as file:
        [layout] = survey(ByteRange(file.fileno(), 0, path.stat().st_size))
    assert layout.frames >= SECOND
    assert layout.end <= len(music) + 1152
    assert reads[0] < 5000


def test_ogg_pages_without_a_packet_end_are_not_scanned_at_every_read(
    tmp_path: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.audiofile.containers.ogg._MAX_WALKED", 100)
    music = sound("OGG", "VORBIS", 2, 4 * SECOND)
    last = music.rindex(b"OggS")
    head = b"OggS\0" + struct.pack("<Bq", 1, -1) + music[14:18]
    junk = b"".join(head + struct.pack("<II", n, 0) + b"\1\0" for n in range(JUNK // 29))
    path = tmp_path / "a.ogg"
    path.write_bytes(music[:last] + junk + music[last:])
    with open_stem(path, SECOND) as reader:
        before = reads[0]
        reader.read(2 * SECOND, 1000)
        assert reads[0] - before < 2000


def test_a_pipe_in_place_of_a_sidecar_does_not_block_the_loader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "crowdstream.toml")
    with contextlib.suppress(GridError):  # no grid or an error, but without blocking
        assert read_sidecar(tmp_path / "crowdstream.toml") is None


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path) -> None:
    for number in range(MAX_ENTRIES + 1):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(TooManyStems, match="load a single file"):
        find_stems(tmp_path)
    (tmp_path / "0.txt").rename(tmp_path / "drums.wav")
    (tmp_path / "1.txt").unlink()
    assert [stem.name for stem in find_stems(tmp_path).stems] == ["drums"]


def test_a_patch_that_would_close_a_circle_changes_nothing() -> None:
    with Player(memory_mb=4) as player:
        player.handle(_patch("bus2", "bus1"))
        player.handle(_patch("bus1", "bus2"))
        assert "close a feedback loop" in player.fails()[0]


def _patch(source: str, destination: str) -> bytes:
    return osc_reference.message("/mix/patch", [("s", source), ("s", destination), ("f", 1.0)])


@pytest.mark.parametrize("text", ["a." * 200_000 + "a = 1", "[" + "a." * 30_000 + "a]\n"])
def test_a_sidecar_of_dots_is_refused_without_parsing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowdstream.system.text.tomllib.loads", lambda text: 1 / 0)
    place = tmp_path / "crowdstream.toml"
    place.write_text(text)
    wanted = "more than (65536 bytes|16 parts)"
    with pytest.raises(GridError, match=wanted):
        read_sidecar(place)
    with pytest.raises(SidecarError, match=wanted):
        read_corrections(str(place))


@pytest.mark.parametrize("start", ["", "["])
def test_blanks_in_a_sidecar_do_not_cause_backtracking(tmp_path: Path, start: str) -> None:
    # Finding the line of an error once took time cubic in the number of blanks.
    place = tmp_path / "crowdstream.toml"
    place.write_text(f"x = '''\n{start}{' ' * 60_000}\n'''\n[nonsense]\n")
    with pytest.raises(SidecarError, match=r"line 1: unknown table or key x"):
        read_corrections(str(place))


def test_unterminated_quotes_are_scanned_once() -> None:
    lines = Lines("[[track]]\n[track.transition]\nmoves = [\n" + '"' + '\\"' * 200_000 + "\n")
    assert lines.rows(0) == []


def test_nested_boxes_count_toward_one_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.stem.mp4"
    inner = struct.pack(">I4s", 8, b"free") * 100
    middle = (struct.pack(">I4s", 8 + len(inner), b"udta") + inner) * 100
    path.write_bytes((struct.pack(">I4s", 8 + len(middle), b"moov") + middle) * 3)
    data = path.read_bytes()
    boxes = _Boxes(lambda count, at: data[at : at + count])
    found = list(boxes.inside(0, path.stat().st_size, ("moov", "udta")))
    assert len(found) == MAX_BOXES - 99 - 1, "the contents of 99 nested boxes count too"
    assert read_stems(path) == []
