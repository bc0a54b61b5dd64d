"""The short sequencers: each does what it says, on a server that runs."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import child_environment
from tests.support.offline_server import level, write
from tests.support.server import PROJECT, Running, server, until

FOLDER = PROJECT / "examples" / "sequencers"
BPM = 240.0  # what lasts four bars takes 4 s: long enough for a busy machine to look at it


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with server(tmp_path_factory.mktemp("server"), "--driver", "null", "--standby", "off") as made:
        yield made


@pytest.fixture
def running(one: Running) -> Iterator[Running]:
    """The server, with nothing on its decks; no command of the test may fail."""
    before = one.client.status()["failed"]
    yield one
    status = one.client.status()
    one.client.send("/mixer_cleanup")
    until(lambda: "playing" not in {deck(one, letter, "state") for letter in "ABCD"})
    for letter in "ABCD":
        one.client.send(f"/deck/{letter}/eq", 0.0, 0.0, 0.0)
        one.client.send(f"/deck/{letter}/level", 1.0)
    assert status["failed"] == before


@pytest.fixture
def track(tmp_path: Path) -> str:
    return str(write(tmp_path / "a.wav", level(40.0)))


def deck(running: Running, letter: str, name: str) -> Any:
    return running.client.status()[f"deck.{letter}.{name}"]


@contextmanager
def program(running: Running, track: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A sequencer at work, which is told of server and track by its environment."""
    env = child_environment(
        CROWDSTREAM_PORT=str(running.port), CROWDSTREAM_TRACK=track, CROWDSTREAM_BPM=str(BPM),
        QT_QPA_PLATFORM="offscreen", QTWEBENGINE_CHROMIUM_FLAGS="--no-sandbox",
    )  # fmt: skip
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def bass_goes_and_comes(running: Running) -> None:
    until(lambda: deck(running, "A", "state") == "playing")
    until(lambda: deck(running, "A", "low") == 0.0)
    until(lambda: deck(running, "A", "low") == 1.0)
    assert deck(running, "A", "state") == "playing"


def test_python_brings_a_second_track_in_on_the_phrase(running: Running, track: str) -> None:
    options = ("--bpm", str(BPM), "--phrase", "8", "--port", str(running.port))
    script = str(FOLDER / "sequencer.py")
    with program(running, "", sys.executable, script, track, track, *options) as process:
        assert process.wait(60) == 0
        until(lambda: deck(running, "B", "state") == "playing")
        lows = set()

        def left() -> bool:
            status = running.client.status()
            assert status["bpm"] == BPM and status["deck.B.state"] == "playing"
            assert abs(status["deck.B.phase"]) < 1e-3
            lows.add((status["deck.A.low"], status["deck.B.low"]))
            return bool(status["deck.A.state"] != "playing")

        # However late it is looked at: as the bass of one goes the other's comes.
        until(left)
        assert (0.0, 1.0) in lows and all(abs(a + b - 1.0) < 0.1 for a, b in lows)


def first_sequencer(port: int, *tracks: str) -> subprocess.CompletedProcess[str]:
    """Run the sequencer of the tutorial to its end."""
    script = str(FOLDER / "first_sequencer.py")
    options = ("--bpm", str(BPM), "--phrase", "8", "--port", str(port))
    return subprocess.run(
        [sys.executable, script, *tracks, *options], env=child_environment(), timeout=120,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_first_sequencer_waits_for_its_tracks_and_mixes_them(
    running: Running, track: str
) -> None:
    done = first_sequencer(running.port, track, track)
    assert done.returncode == 0, done.stderr
    steps = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert steps[:2] == [f"deck {letter} has loaded {track}" for letter in "AB"]
    assert steps[2:] == ["beat 4", "beat 12", "beat 16", "beat 16", "beat 20", "beat 28"]
    until(lambda: deck(running, "A", "state") != "playing")
    assert deck(running, "A", "level") == 0.0 and deck(running, "A", "low") == 0.0
    assert deck(running, "B", "state") == "playing" and deck(running, "B", "low") == 1.0


def test_the_first_sequencer_reports_what_the_server_refuses(
    one: Running, track: str, tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing.wav")
    done = first_sequencer(one.port, track, missing)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"deck A has loaded {track}"]
    assert "the server refused a command: /deck/B/load: " in done.stderr
    assert "missing.wav" in done.stderr and "Traceback" not in done.stderr


def test_the_first_sequencer_says_that_no_server_answers(track: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = first_sequencer(port, track, track)
    assert done.returncode == 1 and f"no server answers on 127.0.0.1, port {port}" in done.stderr


def test_sections_follow_their_cues(running: Running, tmp_path: Path) -> None:
    for name in ("intro", "verse"):
        write(tmp_path / f"{name}.wav", level(2.0))
    cues = tmp_path / "cues.csv"
    cues.write_text("beat,file,fade\n0,intro.wav,0\n8,verse.wav,4\n", encoding="utf-8")
    with program(running, "", sys.executable, str(FOLDER / "sections.py"), str(tmp_path),
                 str(cues), "--bpm", str(BPM), "--port", str(running.port)) as process:  # fmt: skip
        until(lambda: deck(running, "A", "state") == "playing")
        until(lambda: deck(running, "B", "state") == "playing")
        until(lambda: deck(running, "B", "level") == 1.0 and deck(running, "A", "level") == 0.0)
        until(lambda: deck(running, "A", "state") != "playing")
        assert process.wait(60) == 0


def test_the_one_that_reads_replies_names_what_can_not_be_played(
    one: Running, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.wav", level(1.0))
    (tmp_path / "no audio.wav").write_text("a letter")
    words = [str(tmp_path / name) for name in ("a.wav", "no audio.wav", "gone.wav", "b.wav")]
    failed = one.client.status()["failed"]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "replies.py"), *words, "--port", str(one.port)],
        env=child_environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    named = [line.partition(": ")[0] for line in done.stderr.splitlines()]
    assert named == words[1:3]
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == [
        f"{words[0]} on deck A", f"{words[3]} on deck B",
    ]  # fmt: skip
    assert one.client.status()["failed"] == failed + 2
    one.client.request("/mixer_cleanup", answer="/done")


def test_pure_data_plays_and_takes_the_bass_out(running: Running, track: str) -> None:
    with program(running, track, "pd", "-nogui", "-noaudio", "-nomidi",
                 "-open", str(FOLDER / "sequencer.pd"), "-send", f"port {running.port}",
                 "-send", f"bpm {BPM}", "-send", f"track symbol {track}"):  # fmt: skip
        bass_goes_and_comes(running)
        assert deck(running, "A", "bpm") == BPM


def test_supercollider_plays_and_takes_the_bass_out(running: Running, track: str) -> None:
    with program(running, track, "sclang", str(FOLDER / "sequencer.scd")):
        bass_goes_and_comes(running)


def test_sonic_pi_plays_and_takes_the_bass_out(running: Running, track: str) -> None:
    shim = str(PROJECT / "tests" / "support" / "sonic_pi.rb")
    with program(running, track, "ruby", shim, str(FOLDER / "sequencer.rb")):
        bass_goes_and_comes(running)
        assert deck(running, "A", "sync") == 1.0 and abs(deck(running, "A", "phase")) < 1e-3
