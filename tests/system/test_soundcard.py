"""The virtual sound cards are what device tests and benchmarks stand on: they are tested first.

Each card is used by a small PyAudio program in a child process, because PortAudio looks for
its devices once, when it is initialised.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contrib.soundcard import JackDummy, PulseNull, Samples, SoundCardError
from tests.support.environment import child_environment

PLAYER = """
import json, math, sys, time
import numpy as np, pyaudio

name, hertz, seconds, frames = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
audio = pyaudio.PyAudio()
host = next(h for h in map(audio.get_host_api_info_by_index, range(audio.get_host_api_count()))
            if h["name"].startswith(name))
names = [audio.get_device_info_by_host_api_device_index(host["index"], i)["name"]
         for i in range(host["deviceCount"])]
default = audio.get_default_output_device_info()["name"]
played = 0
flags = []

def callback(_, count, __, status):
    global played
    index = np.maximum(np.arange(played, played + count) - 8820, 0)
    played += count
    flags.append(status)
    sine = 0.25 * np.sin(2 * math.pi * hertz * index / 44100)
    return np.repeat(sine.astype(np.float32), 2).tobytes(), 0

stream = audio.open(rate=44100, channels=2, format=pyaudio.paFloat32, output=True,
                    output_device_index=host["defaultOutputDevice"], frames_per_buffer=frames,
                    stream_callback=callback)
while played < seconds * 44100:
    time.sleep(0.01)
latency = stream.get_output_latency()
stream.close()
audio.terminate()
print(json.dumps({"devices": names, "default": default, "callbacks": len(flags), "frames": played,
                  "underflows": sum(f != 0 for f in flags), "latency": latency}))
"""


def play(env: dict[str, str], api: str, seconds: float, frames: int = 512) -> dict[str, Any]:
    """Play 0.2 s of silence, then 1 kHz at amplitude 0.25; returns what the child measured.

    It ends when so many seconds of sound have been asked for, however long that takes.
    """
    command = [sys.executable, "-c", PLAYER, api, "1000", str(seconds), str(frames)]
    child = subprocess.run(
        command, env=child_environment(**env), capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


def sine(frames: int) -> Samples:
    """The tone that `play` plays, from its beginning: float32, mono."""
    phase = 2 * np.pi * 1000.0 * np.arange(frames) / 44100
    return (0.25 * np.sin(phase)).astype(np.float32)


def test_portaudio_plays_through_jack(jack_card: JackDummy) -> None:
    heard = play(jack_card.env, "JACK", seconds=1.0)
    assert heard["devices"] == ["system"]
    assert heard["default"] == "system"
    assert heard["frames"] >= 44100
    assert heard["callbacks"] == heard["frames"] // 512


def test_what_is_played_is_recorded(pulse_card: PulseNull) -> None:
    with pulse_card.recorder() as recorder:
        heard = play(pulse_card.env, "ALSA", seconds=1.5, frames=4096)
        recording = recorder.stop_after(22050)
    assert set(heard["devices"]) == {"default", "pulse"}
    assert np.array_equal(recording[:, 0], recording[:, 1])
    whole = sine(heard["frames"])
    assert np.isin(recording[:, 0], whole).all()
    first = np.flatnonzero(recording[:, 0])[0] - 1  # a sine's own first sample is 0
    # A card that gets nothing in time repeats or drops some of it.
    exact = np.equal(recording[first : first + 22050, 0], whole[:22050])
    assert exact.all() if heard["underflows"] == 0 else exact[:441].all()


def test_silence_is_recorded_for_the_time_asked(pulse_card: PulseNull) -> None:
    recording = pulse_card.record(0.5)
    assert recording.shape == (22050, 2)
    assert recording.dtype == np.float32
    assert not recording.any()


def test_two_cards_of_a_kind_do_not_meet() -> None:
    with JackDummy() as one, JackDummy(frames=256) as other:
        assert one.env["JACK_DEFAULT_SERVER"] != other.env["JACK_DEFAULT_SERVER"]
        assert play(other.env, "JACK", seconds=0.3)["callbacks"] > 0
    with PulseNull() as heard, PulseNull() as silent, silent.recorder() as recorder:
        play(heard.env, "ALSA", seconds=0.3)
        assert not recorder.stop().any()


def test_a_jack_card_leaves_nothing_behind() -> None:
    with JackDummy() as card:
        name = card.name
        assert list(Path("/dev/shm").glob(f"jack*_{name}_*"))
    assert not list(Path("/dev/shm").glob(f"jack*{name}*"))
    assert card.env == {}


def test_a_card_ends_when_the_test_fails() -> None:
    with pytest.raises(ZeroDivisionError), JackDummy() as card:
        name = card.name
        raise ZeroDivisionError
    assert not list(Path("/dev/shm").glob(f"jack*{name}*"))


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SoundCardError, match="apt-get install -y jackd2"), JackDummy():
        pass
    with pytest.raises(SoundCardError, match="apt-get install -y pulseaudio"), PulseNull():
        pass


def test_a_server_that_refuses_to_start_is_an_error_with_its_words() -> None:
    with pytest.raises(SoundCardError, match="jackd"), JackDummy(rate=-1, frames=0):
        pass
