"""Recordings leave free space on the disk: they stop, with the reason, before the disk is full."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from crowdstream.recorder import recording
from crowdstream.recorder.main import Recorder
from crowdstream.recorder.recording import DiskAlmostFull, Recording, check_free_space
from crowdstream.system.medium import free_bytes
from tests.support.offline_server import Rig

RESERVE = 512 << 20
FRAMES = np.full((2205, 2), 0.25, np.float32)


def test_free_space_is_the_space_available_to_this_user(tmp_path: Path) -> None:
    free = free_bytes(tmp_path)
    assert free > 0
    check_free_space(tmp_path / "mix.wav", 0)
    with pytest.raises(DiskAlmostFull) as caught:
        check_free_space(tmp_path / "mix.wav", 1 << 60)
    assert caught.value.errno == errno.ENOSPC
    assert "--record-reserve" in str(caught.value) and str(tmp_path) in str(caught.value)


def test_no_recording_starts_without_the_reserved_space(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "free_bytes", lambda _folder: RESERVE - 1)
    with pytest.raises(DiskAlmostFull):
        Recording(tmp_path / "mix.wav", 44100, "wav24", lambda _said: None, reserve=RESERVE)
    assert not list(tmp_path.iterdir()), "and no file is left"
    events: list[dict[str, Any]] = []
    Recorder(rig.desk, events.append).handle({
        "do": "start", "id": 1, "frame": 0, "format": "wav24", "roots": [], "reserve": RESERVE,
        "files": [(0, str(tmp_path / "mix.wav"))],
    })  # fmt: skip
    assert [one["event"] for one in events] == ["refused"]
    assert "512 MB free" in events[0]["reason"]


@pytest.mark.parametrize(("form", "name"), [("wav24", "mix.wav"), ("flac", "mix.flac")])
def test_a_running_recording_stops_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, name: str
) -> None:
    running: list[Recording] = []

    def free(_folder: Path) -> int:
        written = running and running[0]._writer.frames >= 2 * len(FRAMES)
        return RESERVE - 1 if written else RESERVE

    monkeypatch.setattr(recording, "free_bytes", free)
    monkeypatch.setattr(recording, "SAVE_SECONDS", 0.0)
    events: list[dict[str, Any]] = []
    made = Recording(tmp_path / name, 44100, form, events.append, reserve=RESERVE)
    running.append(made)
    count = 0
    while made.open:
        made.put(0, FRAMES)
        count += 1
        made._thread.join(0.01)
    [failed] = events
    assert failed["event"] == "failed" and "--record-reserve" in failed["reason"]
    samples, _rate = soundfile.read(tmp_path / name)
    assert 0 < len(samples) == failed["frames"] <= count * len(FRAMES)
    assert np.allclose(samples, 0.25, atol=1e-4)


def test_without_a_reserve_the_disk_may_be_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "free_bytes", lambda _folder: 0)
    events: list[dict[str, Any]] = []
    made = Recording(tmp_path / "mix.wav", 44100, "wav24", events.append)
    made.put(0, FRAMES)
    made.finish()
    made.join(60.0)
    assert [one["event"] for one in events] == ["closed"]
