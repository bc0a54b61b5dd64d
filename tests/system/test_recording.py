"""On a sound card: what is recorded is what is heard."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import soundfile

from contrib.soundcard import PulseNull
from tests.support.noise import noise, place_of
from tests.support.offline_server import RATE, write
from tests.support.server import server


def test_the_recording_is_what_the_cards_monitor_heard(
    tmp_path: Path, pulse_card: PulseNull
) -> None:
    track = write(tmp_path / "noise.wav", noise(6.0, 1) / 32768)
    with (
        server(tmp_path, "--driver", "pyaudio", "--buffer-size", "512", env=pulse_card.env) as it,
        pulse_card.recorder() as recorder,
    ):
        client = it.client
        client.request("/deck/A/load", str(track), answer="/done")
        client.send("/deck/A/rate", 1.06)  # samples that are in no file
        client.send("/deck/A/eq/low", 0.5)
        client.request("/record/start", str(tmp_path / "mix.wav"), "float", answer="/done")
        client.send("/deck/A/play")
        time.sleep(5.0)
        client.request("/record/stop", answer="/done")
        time.sleep(0.5)
        heard = recorder.stop()
        status = client.status()
    recorded, _ = soundfile.read(tmp_path / "mix.wav", dtype="float32")
    assert len(recorded) > 4 * RATE
    begin = 2 * RATE
    place = place_of(recorded[begin : begin + RATE // 2, 0], heard[:, 0]) - begin
    first = max(begin, -place)
    length = min(len(recorded), len(heard) - place)
    assert length > 4 * RATE
    same = np.abs(heard[place + first : place + length] - recorded[first:length]).max(axis=1) == 0
    # A null sink that is late repeats or drops whole fragments; everything else is exact.
    assert same.all() or status["underruns"] > 0, f"only {same.mean():.1%} of the frames are equal"
    assert same.mean() > 0.5
