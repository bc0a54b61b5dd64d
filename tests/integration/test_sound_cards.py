"""A server whose sound card is unplugged and replugged, with a fake PortAudio in real time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_portaudio import INT16, INT24, Device
from tests.support.live_portaudio import install, plug
from tests.support.server import server, until

HDA = Device("HDA Intel: ALC (hw:0,0)", default=True)
OTHER = Device("C-Media: USB other (hw:1,0)")
BEFORE = (HDA, Device("Scarlett USB: Audio (hw:1,0)"))
GONE = (HDA, OTHER)
RETURNED = (
    Device("Scarlett USB: Audio (hw:2,0)"),
    Device("Scarlett USB: Audio (hw:3,0)", ch=1, rates=(48000.0,), formats=(INT24, INT16)),
)


@pytest.mark.parametrize("lost", ["play", "wait"])
def test_a_card_replugged_under_another_number_plays_again(
    tmp_path: Path, lost: str
) -> None:
    """First unchanged, then with reduced abilities: 48 kHz, mono and 24 bits."""
    cards, env = install(tmp_path, BEFORE)
    flags = ("--driver", "pyaudio", "--device", "Scarlett", "--buffer-size", "1024")
    with server(tmp_path, *flags, "--device-lost", lost, env=env) as running:
        client = running.client
        assert client.status()["device"] == "Scarlett USB: Audio (hw:1,0) (ALSA)"
        client.request("/notify", 1, answer="/done")
        for returned in RETURNED:
            until(lambda: client.status()["standby"] != "none")
            plug(cards, GONE)
            assert client.receive_until("/device") == [0]
            if lost == "wait":
                running.child_named("control").kill()
                assert client.receive_until("/restarted") == ["control"]
            plug(cards, (*GONE, returned))
            assert client.receive_until("/device") == [1]
            status = client.status()
            assert status["device"] == f"{returned.name} (ALSA)"
            assert status["sample_rate"] == 44100.0
            client.await_frames(4096)
            if returned.ch == 1:
                until(lambda: "plays (L+R)/2" in running.log())
            else:
                assert "plays (L+R)/2" not in running.log()


def test_a_server_reports_a_mono_card_at_start(tmp_path: Path) -> None:
    _, env = install(tmp_path, [Device("Mono thing (hw:0,0)", ch=1)])
    with server(tmp_path, "--driver", "pyaudio", env=env) as running:
        assert running.client.status()["device"] == "Mono thing (hw:0,0) (ALSA)"
        until(lambda: "the device has one output, and plays (L+R)/2 on it" in running.log())
