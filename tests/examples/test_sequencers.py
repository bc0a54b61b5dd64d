"""The short sequencers: each does what it says, on a server that runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import PROJECT, Running, server, until
from tests.support_control import level, write

FOLDER = PROJECT / "examples" / "sequencers"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with server(tmp_path, "--driver", "null", "--bpm", "120") as one:
        yield one


def track(folder: Path, name: str, seconds: float = 40.0) -> str:
    return str(write(folder / f"{name}.wav", level(seconds)))


def deck(running: Running, letter: str, name: str) -> Any:
    return running.client.status()[f"deck.{letter}.{name}"]


def run(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(FOLDER / script), *arguments])


def test_python_brings_a_second_track_in_on_the_phrase(running: Running, tmp_path: Path) -> None:
    tracks = [track(tmp_path, "a"), track(tmp_path, "b")]
    process = run("sequencer.py", *tracks, "--bpm", "240", "--port", str(running.port))
    assert process.wait(60) == 0
    until(lambda: deck(running, "B", "state") == "playing")
    status = running.client.status()
    assert status["deck.A.state"] == "playing" and status["bpm"] == 240.0
    assert status["deck.B.low"] == 0.0 and abs(status["deck.B.phase"]) < 1e-3
    until(lambda: deck(running, "A", "low") == 0.0 and deck(running, "B", "low") == 1.0)
    until(lambda: deck(running, "A", "state") != "playing")
    assert deck(running, "B", "state") == "playing"


def test_sections_follow_their_cues(running: Running, tmp_path: Path) -> None:
    for name in ("intro", "verse"):
        track(tmp_path, name, 3.0)
    cues = tmp_path / "cues.csv"
    cues.write_text("beat,file,fade\n0,intro.wav,0\n12,verse.wav,4\n", encoding="utf-8")
    process = run("sections.py", str(tmp_path), str(cues), "--bpm", "240", "--port",
                  str(running.port))  # fmt: skip
    until(lambda: deck(running, "A", "state") == "playing")
    until(lambda: deck(running, "B", "state") == "playing")
    until(lambda: deck(running, "B", "level") == 1.0 and deck(running, "A", "level") == 0.0)
    until(lambda: deck(running, "A", "state") != "playing")
    assert process.wait(60) == 0
    assert running.client.status()["failed"] == 0


def test_pure_data_plays_and_takes_the_bass_out(running: Running, tmp_path: Path) -> None:
    path = track(tmp_path, "a")
    process = subprocess.Popen(
        ["pd", "-nogui", "-noaudio", "-nomidi", "-open", str(FOLDER / "sequencer.pd"),
         "-send", f"port {running.port}", "-send", f"track symbol {path}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: deck(running, "A", "state") == "playing")
        assert deck(running, "A", "bpm") == 120.0
        until(lambda: deck(running, "A", "low") == 0.0)
        until(lambda: deck(running, "A", "low") == 1.0)
        assert running.client.status()["failed"] == 0
    finally:
        process.kill()
        process.wait()
