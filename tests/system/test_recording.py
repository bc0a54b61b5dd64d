"""On a sound card: what is recorded is what is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from contrib.soundcard import PulseNull
from tests.support.noise import frames_of, longest_run, noise
from tests.support.offline_server import RATE, write
from tests.support.server import server, until


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
        # All that sounds is recorded: the recording begins before it and ends after it.
        until(lambda: client.status()["deck.A.position"] >= 5.0)
        client.send("/deck/A/stop")
        until(lambda: client.status()["deck.A.state"] != "playing")
        client.await_frames(RATE // 2)
        client.request("/record/stop", answer="/done")
        until(lambda: client.status()["recording"] == 0)
        heard = recorder.stop_after(RATE // 2)
        status = client.status()
    recorded, _ = soundfile.read(tmp_path / "mix.wav", dtype="float32")
    assert len(recorded) > 4 * RATE
    sounding = np.flatnonzero(recorded.any(axis=1))
    if status["record_lost"]:
        # What a busy machine has not recorded in time is silence in the file.
        assert np.count_nonzero(~recorded.any(axis=1)) >= status["record_lost"]
        return
    # Every frame that was heard is one of the recording, block after block. Now and then a null
    # sink that is late repeats or drops a fragment.
    place = frames_of(heard, recorded)
    assert longest_run(place) > RATE // 4
    assert place.min() < sounding[0] + RATE // 2 and place.max() > sounding[-1] - RATE // 2
