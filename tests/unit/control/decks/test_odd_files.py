"""Oddities of a file are reported to the sender, in the log and in the deck's state."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.audiofile.containers.mp3 import parse_header
from tests.support.offline_server import RATE, Rig, level, write


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def cut(path: Path) -> Path:
    """Write a WAV file whose header claims twice its length."""
    data = bytearray(write(path, level(2.0)).read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 2 * (len(data) - at - 4))
    path.write_bytes(data)
    return path


def test_a_deck_names_the_seconds_that_are_missing(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = "2.0 s to 4.0 s are missing"
    with caplog.at_level(logging.WARNING):
        rig.send("/deck/A/load", str(cut(tmp_path / "a.wav")))
        rig.run(512)
    assert rig.status()["deck.A.state"] == "ready"
    assert rig.status()["deck.A.length"] == 2.0
    [(_buffer, text)] = rig.heard("/file/warning")
    assert wanted in text
    assert wanted in caplog.text
    assert [track.warning for track in rig.core.track_table.tracks()] == [text]


def test_a_stem_is_named_where_there_are_several(rig: Rig, tmp_path: Path) -> None:
    write(tmp_path / "drums.wav", level(2.0))
    cut(tmp_path / "bass.wav")
    rig.send("/deck/A/load", str(tmp_path))
    rig.run(512)
    [(_buffer, text)] = rig.heard("/file/warning")
    assert text.startswith("bass.wav: its header claims")


def test_mp3_stems_without_a_tag_are_in_time_with_wav_stems(rig: Rig, tmp_path: Path) -> None:
    tone = 0.25 * np.sin(np.arange(RATE) / 15.0)[:, None] * np.ones((1, 2))
    tone[: RATE // 2] = 0.0
    write(tmp_path / "drums.wav", tone.astype(np.float32))
    with soundfile.SoundFile(
        tmp_path / "bass.mp3", "w", RATE, 2, "MPEG_LAYER_III", format="MP3"
    ) as file:
        for at in range(0, RATE, 4096):
            file.write(-tone[at : at + 4096])
    tagged = (tmp_path / "bass.mp3").read_bytes()
    header = parse_header(tagged)
    assert header is not None
    rest = []
    for data in (tagged, tagged[header.length :]):
        (tmp_path / "bass.mp3").write_bytes(data)
        rig.send("/deck/A/load", str(tmp_path))
        rig.run(512)
        rig.send("/deck/A/play")
        begin = len(rig.out)
        rig.run(RATE - 4096)
        rest.append(float(np.abs(rig.out[begin + RATE // 2 + 4096 :]).max()))
        rig.send("/deck/A/stop")
        rig.run(4096)
    assert rest[0] < 0.03, "aligned signals of opposite sign cancel"
    assert rest[1] < 0.03
    [(_buffer, text)] = rig.heard("/file/warning")
    assert "bass.mp3: it does not declare its encoder's delay; 13 ms are skipped" in text


def test_damage_found_while_reading_is_reported(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(3).uniform(-0.3, 0.3, (3 * RATE, 2))
    soundfile.write(path, noise, RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50_000] = bytes(50_000)
    path.write_bytes(data)
    rig.send("/deck/A/load", str(path))
    rig.run(2048)
    assert rig.status()["deck.A.state"] == "ready"
    [(_buffer, text)] = rig.heard("/file/warning")
    assert text.startswith("a.flac: 1.5 s to 1.9 s of it are damaged and play as silence")
    assert rig.heard("/broken") == []
