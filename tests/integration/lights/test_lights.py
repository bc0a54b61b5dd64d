"""A server that sends to lights: what listeners receive, and when, and what outlives whom."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sacn.messages.data_packet import DataPacket

from crowdstream.library import default_path
from tests.support.analysed_folder import analyse
from tests.support.osc_client import OscClient
from tests.support.server import Running, server, until
from tests.support.track_analyses import click_track

BPM, FIRST = 125.0, 0.1
TOLERANCE = 0.03  # s between the position in the status and a beat: loaded test machines


@contextlib.contextmanager
def universe() -> Iterator[tuple[socket.socket, str]]:
    """A receiver of sACN on loopback, and its target."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(60.0)
        yield made, f"sacn://127.0.0.1:{made.getsockname()[1]}/1"


def frame(receiver: socket.socket) -> list[int]:
    """The 16 values of the next DMX frame."""
    return list(DataPacket.make_data_packet(receiver.recv(2000)).dmxData[:16])


def play(client: OscClient, path: str) -> None:
    """Play a track of 125 BPM on deck A."""
    client.send("/deck/A/load", path)
    until(lambda: client.status()["deck.A.state"] == "ready")
    client.send("/deck/A/grid", BPM, FIRST)
    client.send("/deck/A/play")


def kill(running: Running, name: str) -> None:
    """Kill a process of the server."""
    running.child_named(name).kill()


def test_os2l_beats_come_on_the_beat_and_the_lead_moves_them(tmp_path: Path) -> None:
    click_track(tmp_path, "clicks", BPM, FIRST, 200)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60.0)
        target = f"os2l://127.0.0.1:{listener.getsockname()[1]}"
        with server(tmp_path, "--lights", target) as running:
            program, _ = listener.accept()
            with program, program.makefile() as lines:
                play(running.client, str(tmp_path / "clicks"))

                def beat() -> dict[str, Any]:
                    while True:
                        message: dict[str, Any] = json.loads(lines.readline())
                        if message["evt"] == "beat":
                            return message

                def distance() -> float:
                    # Seconds from the playhead to the beat, when its message arrives.
                    number, now = beat()["pos"], running.client.status()
                    latency = now["latency_ms"] / 1000.0
                    return float(FIRST + number * 60.0 / BPM - (now["deck.A.position"] - latency))

                first = beat()
                assert first["change"] is True and first["bpm"] == BPM
                following = [beat() for _ in range(4)]
                assert [one["pos"] for one in following] == [
                    first["pos"] + number for number in range(1, 5)
                ]
                assert not any(one["change"] for one in following)
                plain = sorted(distance() for _ in range(5))[2]
                running.client.send("/lights/lead", 200.0)
                until(lambda: running.client.status()["lights_lead_ms"] == 200.0)
                beat(), beat()
                ahead = sorted(distance() for _ in range(5))[2]
                assert abs(ahead - plain - 0.2) < TOLERANCE
            status = running.client.status()
            assert status["lights_outputs"] == 1


def test_sections_of_the_library_reach_the_universe(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    click_track(music, "clicks", BPM, FIRST, 100)
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    library = tmp_path / "data" / "crowdstream" / default_path().name
    library.parent.mkdir(parents=True)
    analyse(library, music, bpm=BPM)
    with universe() as (receiver, target), server(tmp_path, env=env) as running:
        client = running.client
        client.send("/lights/add", target)
        assert frame(receiver)[:11] == [0] * 11
        play(client, str(music / "clicks"))
        until(lambda: frame(receiver)[7] == 20)
        values = frame(receiver)
        assert values[15] == 125 and values[10] == 102  # tempo; energy of the intro: 0.4
        pulses = {frame(receiver)[0] for _ in range(200)}
        assert max(pulses) > 240 and 0 in pulses
        until(lambda: frame(receiver)[7] == 40)
        client.send("/lights/remove", target)
        until(lambda: not running.children_named("lights"))


def test_lights_outlive_control_and_the_engine_and_are_restarted(tmp_path: Path) -> None:
    click_track(tmp_path, "clicks", BPM, FIRST, 400)
    with universe() as (receiver, target), server(tmp_path, "--lights", target) as running:
        client = running.client
        client.request("/notify", 1, answer="/done")
        play(client, str(tmp_path / "clicks"))
        until(lambda: frame(receiver)[15] == 125)
        client.await_noted()
        before = running.child_named("lights").pid
        kill(running, "control")
        assert client.receive_until("/restarted") == ["control"]
        assert running.child_named("lights").pid == before
        until(lambda: client.status()["lights_sending"] == 1)
        until(lambda: client.status()["standby"] != "none")
        running.processes()["engine"].kill()
        assert client.receive_until("/engine")[0] == "died"
        until(lambda: frame(receiver)[0] > 200)
        kill(running, "lights")
        assert client.receive_until("/lights")[1] == "lost"
        assert client.receive_until("/lights")[1] == "found"
        until(lambda: frame(receiver)[0] > 200)
        assert client.status()["deck.A.state"] == "playing"


def test_a_target_that_hangs_delays_neither_others_nor_the_music(tmp_path: Path) -> None:
    click_track(tmp_path, "clicks", BPM, FIRST, 200)
    with socket.create_server(("127.0.0.1", 0)) as dead, universe() as (receiver, target):
        # A program that accepts nothing: the connection stays in the backlog, unread.
        hanging = f"os2l://127.0.0.1:{dead.getsockname()[1]}"
        nobody = "os2l://127.0.0.1:9"
        with server(tmp_path) as running:
            client = running.client
            client.request("/notify", 1, answer="/done")
            for one in (hanging, nobody, target):
                client.send("/lights/add", one)
            lost = client.receive_until("/lights")
            assert lost[:2] == [nobody, "lost"] and "nothing receives" in lost[2]
            play(client, str(tmp_path / "clicks"))
            begin, frames = time.monotonic(), 0
            while time.monotonic() < begin + 2.0:
                frame(receiver)
                frames += 1
            assert frames > 20
            assert client.status()["deck.A.state"] == "playing"
            events = [one for one in running.log().splitlines() if "receives nothing" in one]
            assert len(events) == 1, "it is reported once, although it is tried again"
