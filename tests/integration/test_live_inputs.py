"""A server whose input device is unplugged and replugged, with a fake PortAudio in real time."""

from __future__ import annotations

from pathlib import Path

from tests.support.fake_portaudio import Device
from tests.support.live_portaudio import install, plug
from tests.support.osc_client import OscClient
from tests.support.server import server, until

CARD = Device("HDA Intel: ALC (hw:0,0)", default=True)
MICROPHONE = Device("USB Microphone: Audio (hw:1,0)", ch=0, inputs=1, rates=(48000.0,))
REPLUGGED = Device("USB Microphone: Audio (hw:2,0)", ch=0, inputs=1, rates=(48000.0,))
FLAGS = ("--driver", "pyaudio", "--device", "HDA", "--input", "Microphone")


def sounds(client: OscClient) -> bool:
    """Whether the master carries the microphone's tone, at -12 dB."""
    return bool(0.2 < client.status()["master.peak"] < 0.3)


def test_a_microphone_is_heard_goes_and_returns(tmp_path: Path) -> None:
    cards, env = install(tmp_path, (CARD, MICROPHONE))
    with server(tmp_path, *FLAGS, env=env) as running:
        client = running.client
        client.request("/notify", 1, answer="/done")
        until(lambda: client.status()["input.1.state"] == "playing")
        until(lambda: sounds(client))
        status = client.status()
        assert status["input.1.device"] == "USB Microphone: Audio (hw:1,0) (ALSA)"
        # The block of the device and of the card, and what the device itself reports.
        assert 12.0 < status["input.1.latency_ms"] < 200.0
        assert status["input.2.state"] == "off"
        assert "48000 Hz (one channel, on both sides, resampled)" in running.log()
        plug(cards, (CARD,))
        assert client.receive_until("/input")[:2] == [1, "lost"]
        assert client.receive_until("/event")[1:3] == ["warning", "input_lost"]
        until(lambda: client.status()["master.peak"] == 0.0)
        assert client.status()["input.1.state"] == "searching"
        plug(cards, (CARD, REPLUGGED))
        assert client.receive_until("/input") == [1, "found", f"{REPLUGGED.name} (ALSA)"]
        assert client.receive_until("/event")[1:3] == ["info", "input_found"]
        until(lambda: sounds(client))


def test_the_input_outlives_control_and_its_own_process(tmp_path: Path) -> None:
    _cards, env = install(tmp_path, (CARD, MICROPHONE))
    with server(tmp_path, *FLAGS, env=env) as running:
        client = running.client
        client.request("/notify", 1, answer="/done")
        until(lambda: sounds(client))
        client.send("/input/1/mute", 1)
        until(lambda: client.status()["input.1.state"] == "muted")
        client.await_noted()
        before = running.child_named("capture").pid
        running.child_named("control").kill()
        assert client.receive_until("/restarted") == ["control"]
        assert running.child_named("capture").pid == before
        until(lambda: client.status()["input.1.state"] == "muted")
        assert client.status()["input.1.device"] == f"{MICROPHONE.name} (ALSA)"
        client.send("/input/1/mute", 0)
        until(lambda: sounds(client))
        running.child_named("capture").kill()
        assert client.receive_until("/input")[:2] == [1, "lost"]
        assert client.receive_until("/input")[:2] == [1, "found"]
        until(lambda: sounds(client))


def test_another_engine_continues_with_the_input(tmp_path: Path) -> None:
    _cards, env = install(tmp_path, (CARD, MICROPHONE))
    with server(tmp_path, *FLAGS, env=env) as running:
        client = running.client
        client.request("/notify", 1, answer="/done")
        client.send("/input/1/level", 0.5)
        until(lambda: 0.1 < client.status()["master.peak"] < 0.15)
        until(lambda: client.status()["standby"] == "running")
        running.processes()["engine"].kill()
        assert client.receive_until("/engine")[0] == "died"
        client.await_frames(4096)
        until(lambda: 0.1 < client.status()["master.peak"] < 0.15)
        assert client.status()["input.1.state"] == "playing"


def test_a_server_without_the_device_starts_and_searches_for_it(tmp_path: Path) -> None:
    cards, env = install(tmp_path, (CARD,))
    with server(tmp_path, *FLAGS, env=env) as running:
        client = running.client
        until(lambda: "input 1 is silent: no input device found: plug one in" in running.log())
        assert client.request("/input/2/level", 0.5, answer="/fail")[1].startswith(
            "there is no input 2: it needs a second --input"
        )
        plug(cards, (CARD, MICROPHONE))
        until(lambda: sounds(client))
