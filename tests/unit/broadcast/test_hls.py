"""HLS: what a player finds in the folder, and what happens when the disk is full."""

from __future__ import annotations

import os
import re
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.broadcast import hls
from crowdstream.broadcast.hls import PLAYLIST, HlsOutput, check_space, open_folder
from crowdstream.broadcast.outputs import OutputError
from crowdstream.broadcast.target import parse
from tests.support.broadcasts import RATE, correlation, decode, music
from tests.support.osc_client import until

BLOCK = 4410
SEGMENTS = 3


def make(folder: Path, format: str = "aac", rate: float = float(RATE)) -> HlsOutput:
    url = f"hls:{folder}?segment=1&segments={SEGMENTS}&format={format}"
    return HlsOutput(1, parse(url), rate, lambda _state: None)


def feed(output: HlsOutput, sound: np.ndarray) -> None:
    """Feed as fast as the output takes it."""
    for begin in range(0, len(sound), BLOCK):
        until(lambda: output.queue.frames < 2 * RATE or output.state()["state"] == "waiting")
        output.queue.put(sound[begin : begin + BLOCK], BLOCK)


def finish(output: HlsOutput) -> None:
    until(lambda: output.queue.frames == 0)
    output.stop()
    output.join(30.0)
    assert not output.alive


def listed(folder: Path) -> list[str]:
    """Files that the playlist names, segments last."""
    text = (folder / PLAYLIST).read_text()
    return re.findall(r'URI="([^"]+)"', text) + re.findall(r"^[^#\s]+", text, re.MULTILINE)


@pytest.mark.parametrize(("format", "limit"), [("aac", 0.97), ("flac", 0.9999)])
def test_a_player_decodes_the_master(tmp_path: Path, format: str, limit: float) -> None:
    sound = music(8.0)
    folder = tmp_path / "live"
    output = make(folder, format)
    output.start()
    until(lambda: output.takes_frames)
    feed(output, sound)
    until(lambda: output.connections == 1)
    finish(output)
    assert all((folder / name).exists() for name in listed(folder))
    heard = decode(str(folder / PLAYLIST))
    level, at = correlation(heard[: 2 * RATE], sound)
    assert level > limit
    assert at > RATE, "the playlist holds the latest segments only"
    assert "#EXT-X-ENDLIST" in (folder / PLAYLIST).read_text()


def test_old_segments_are_removed_also_those_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("stays")
    (tmp_path / "segment-1-1.m4s").write_text("of an earlier run")
    sequences = []
    for _run in range(2):
        output = make(tmp_path)
        output.start()
        until(lambda output=output: output.takes_frames)
        feed(output, music(12.0))
        until(lambda output=output: output.connections == 1)
        finish(output)
        text = (tmp_path / PLAYLIST).read_text()
        (sequence,) = re.findall(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)
        sequences.append(int(sequence))
    assert sequences[0] < sequences[1], "also within one second"
    names = set(os.listdir(tmp_path))
    assert "index.html" in names and "segment-1-1.m4s" not in names
    assert len(names) < 3 + 1 + SEGMENTS + hls.KEPT_SEGMENTS + 3
    assert sum(name.startswith("init") for name in names) == 1
    assert set(listed(tmp_path)) <= names


def dates(folder: Path) -> list[datetime]:
    """When the segments of the playlist begin."""
    text = (folder / PLAYLIST).read_text()
    return [datetime.fromisoformat(one) for one in re.findall(r"DATE-TIME:(.*)", text)]


def test_titles_are_date_ranges(tmp_path: Path) -> None:
    output = make(tmp_path, "flac")
    output.set_title("Artist", 'The "Night"\r\nTrain')
    output.start()
    until(lambda: output.takes_frames)
    feed(output, music(2.5))
    until(lambda: output.queue.frames == 0 and output.connections == 1)
    begin = dates(tmp_path)[0]
    (first,) = re.findall(r"#EXT-X-DATERANGE:(.*)", (tmp_path / PLAYLIST).read_text())
    start = begin.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    assert re.fullmatch(
        r'ID="title-\d+-1",CLASS="crowdstream.title",START-DATE="' + start[:-4]
        + r"""\.\d\d\dZ",X-ARTIST="Artist",X-TITLE="The 'Night'  Train",END-ON-NEXT=YES""",
        first,
    ), first
    output.set_title("", "Second")
    feed(output, music(1.0))
    until(lambda: output.queue.frames == 0)
    # No more than is there: at the end of an unfinished playlist, a player waits for minutes.
    assert decode(str(tmp_path / PLAYLIST), limit=RATE).any(), "players accept the tags"
    feed(output, music(4.0))
    finish(output)
    (second,) = re.findall(r"#EXT-X-DATERANGE:(.*)", (tmp_path / PLAYLIST).read_text())
    assert 'X-TITLE="Second"' in second and "X-ARTIST" not in second
    (at,) = re.findall(r'START-DATE="([^"]+)"', second)
    # Frames of 4096 samples wait in the encoder, and FFmpeg's dates are rounded to milliseconds.
    assert (datetime.fromisoformat(at) - begin).total_seconds() == pytest.approx(2.5, abs=0.15)


def test_a_full_disk_ends_the_stream_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk = namedtuple("Disk", "f_bavail f_frsize")
    room = [1 << 30]
    monkeypatch.setattr(os, "statvfs", lambda _folder: Disk(room[0] // 4096, 4096))
    monkeypatch.setattr(hls, "CHECK_SECONDS", 0.0)
    states: list[dict[str, Any]] = []
    output = HlsOutput(1, parse(f"hls:{tmp_path}?segment=1"), float(RATE), states.append)
    output.start()
    until(lambda: output.takes_frames)
    feed(output, music(4.0))
    until(lambda: output.connections == 1)
    room[0] = 1000
    feed(output, music(1.0))
    until(lambda: states[-1]["state"] == "waiting")
    assert "the disk is almost full" in states[-1]["reason"]
    assert "#EXT-X-ENDLIST" in (tmp_path / PLAYLIST).read_text(), "the playlist is complete"
    room[0] = 1 << 30
    until(lambda: output.takes_frames)
    feed(output, music(4.0))
    until(lambda: states[-1]["state"] == "live")
    finish(output)


def test_space_for_two_more_segments_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk = namedtuple("Disk", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda _folder: Disk(3 << 20, 1))
    check_space(tmp_path)
    (tmp_path / "segment-1-1.m4s").write_bytes(bytes(2 << 20))
    with pytest.raises(OutputError, match="almost full"):
        check_space(tmp_path)


def test_a_folder_outside_is_refused_even_behind_a_new_link(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    target = parse(f"hls:{inside}/live")
    output = HlsOutput(1, target, float(RATE), lambda _state: None, [inside])
    (inside / "live").symlink_to(outside)
    with pytest.raises(OutputError, match="outside the allowed folders"):
        output.session()
    (inside / "live").unlink()
    os.close(open_folder(inside / "live", [inside]))
    assert (inside / "live").is_dir() and os.listdir(outside) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    output = make(tmp_path / "no" / "folder")
    with pytest.raises(OutputError, match="No such file"):
        output.session()


def test_the_rate_is_one_that_players_support() -> None:
    assert make(Path("/tmp"), "aac", 96000.0).encoded_rate == 48000
    assert make(Path("/tmp"), "flac", 96000.0).encoded_rate == 96000
    assert make(Path("/tmp"), "flac", 192000.0).encoded_rate == 48000
