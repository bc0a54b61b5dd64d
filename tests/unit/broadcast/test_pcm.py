"""Raw audio over TCP and through named pipes."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from crowdstream.broadcast.outputs import OutputError
from crowdstream.broadcast.pcm import CUSHION_SECONDS, PcmOutput, open_pipe, to_pcm
from crowdstream.broadcast.target import parse
from tests.support.broadcasts import correlation, music
from tests.support.osc_client import until

RATE = 48000
BLOCK = 4800


def feed(output: PcmOutput, sound: np.ndarray) -> None:
    for begin in range(0, len(sound), BLOCK):
        output.queue.put(sound[begin : begin + BLOCK], BLOCK)


def fed(output: PcmOutput, sound: np.ndarray, condition: bool) -> bool:
    """Feed, and return what is true by now: for conditions that need more sound."""
    feed(output, sound)
    return condition


def frames(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").reshape(-1, 2) / np.float32(32768)


def test_frames_are_rounded_and_limited() -> None:
    sound = np.array([[0.0, 1.0], [-1.0, 0.5 / 32768], [2.0, -3.0]], np.float32)
    assert np.frombuffer(to_pcm(sound), "<i2").tolist() == [0, 32767, -32768, 0, 32767, -32768]


def test_a_receiver_gets_the_music_behind_a_cushion_of_silence() -> None:
    sound = music(4.0, rate=RATE)
    reports: list[dict[str, Any]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = parse(f"snapcast://127.0.0.1:{server.getsockname()[1]}")
        output = PcmOutput(1, target, float(RATE), reports.append)
        output.start()
        with server.accept()[0] as connection:
            until(lambda: reports and reports[-1]["state"] == "live")
            feed(output, sound)
            received = b""
            while len(received) < 4 * (len(sound) + round(CUSHION_SECONDS * RATE)):
                received += connection.recv(1 << 16)
        heard = frames(received)
        cushion = round(CUSHION_SECONDS * RATE)
        assert not heard[:cushion].any()
        assert np.abs(heard[cushion:] - sound).max() <= 2**-15
        # The connection has ended: it is reported, and another one is made.
        until(lambda: fed(output, sound, reports[-1]["state"] == "waiting"))
        with server.accept()[0]:
            until(lambda: reports[-1]["state"] == "live")
            assert reports[-1]["connections"] == 2
        output.stop()
        output.join(10.0)
        assert not output.alive


def test_another_sample_rate_is_converted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = parse(f"snapcast://127.0.0.1:{server.getsockname()[1]}?rate=44100")
        output = PcmOutput(1, target, float(RATE), lambda _state: None)
        output.start()
        sound = music(4.0, rate=RATE)
        with server.accept()[0] as connection:
            until(lambda: output.connections == 1)
            feed(output, sound)
            received = b""
            while len(received) < 4 * 44100 * 3:
                received += connection.recv(1 << 16)
        output.stop()
    heard = frames(received[: 4 * 44100 * 3])
    converted = soxr.resample(sound, RATE, 44100)
    level, _at = correlation(heard[44100 : 2 * 44100], converted)
    assert level > 0.9999


def test_a_slow_receiver_loses_the_oldest_audio() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = parse(f"snapcast://127.0.0.1:{server.getsockname()[1]}")
        output = PcmOutput(1, target, float(RATE), lambda _state: None)
        output.start()
        with server.accept()[0]:
            until(lambda: output.connections == 1)
            sound = music(2.0, rate=RATE)
            until(lambda: fed(output, sound, output.queue.dropped > 0))
            assert output.queue.frames <= 5 * RATE
            assert output.state()["dropped"] > 0
            output.stop()
            output.join(10.0)
            assert not output.alive, "it does not wait for the receiver"


def test_a_pipe_is_live_when_something_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    output = PcmOutput(1, parse(f"pipe:{path}"), float(RATE), lambda _state: None)
    with pytest.raises(OutputError, match="there is no such pipe"):
        open_pipe(str(path))
    os.mkfifo(path)
    output.start()
    sound = music(3.0, rate=RATE)
    until(lambda: output.takes_frames)
    feed(output, sound)
    reader = os.open(path, os.O_RDONLY)
    received = b""
    assert output.connections == 0, "a pipe takes some data without a reader"
    while len(received) < 4 * 2 * RATE:
        received += os.read(reader, 1 << 16)
    until(lambda: output.connections == 1)
    output.stop()
    os.close(reader)
    level, _at = correlation(frames(received)[RATE // 2 : RATE], sound)
    assert level > 0.99


def test_nothing_but_a_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OutputError, match="this is no named pipe"):
        open_pipe(str(path))
    assert path.read_text() == "precious"
    with pytest.raises(OutputError):
        open_pipe(str(tmp_path))
