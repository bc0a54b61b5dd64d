"""Live inputs on a virtual sound card: real PortAudio streams, one of which carries the output."""

from __future__ import annotations

from pathlib import Path

import soundfile

from contrib.soundcard import PulseNull
from tests.support.noise import RATE, noise
from tests.support.server import server, until


def test_the_monitor_of_the_output_is_captured_and_muted_when_music_plays(
    tmp_path: Path, pulse_card: PulseNull
) -> None:
    """PulseAudio's default source is the monitor of its only sink: the input is the output."""
    soundfile.write(tmp_path / "music.wav", noise(60.0, 1) // 4, RATE, subtype="PCM_16")
    flags = ("--driver", "pyaudio", "--input", "pulse")
    with server(tmp_path, *flags, env=pulse_card.env) as it:
        client = it.client
        client.request("/notify", 1, answer="/done")
        until(lambda: client.status()["input.1.state"] == "playing")
        status = client.status()
        assert status["input.1.device"] == "pulse (ALSA)"
        assert status["input.1.latency_ms"] > status["input.1.fill_ms"] > 10.0
        client.request("/deck/A/load", str(tmp_path / "music.wav"), answer="/done")
        client.send("/deck/A/play")
        until(lambda: client.status()["input.1.state"] == "feedback")
        assert "/input/1/mute 0 when the cause is gone" in it.log()
        client.send("/deck/A/stop")
        until(lambda: client.status()["deck.A.state"] == "ready")
        client.send("/input/1/mute", 0)
        until(lambda: client.status()["input.1.state"] == "playing")
