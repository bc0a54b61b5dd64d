"""The buffer size changes while the server plays on a virtual sound card."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import soundfile

from contrib.soundcard import JackDummy, PulseNull
from tests.support.offline_server import RATE
from tests.support.resizing import MOST_MS, PLAIN, await_standby, counts_on, play, resize
from tests.support.server import server, until


def test_what_is_heard_of_it(tmp_path: Path, pulse_card: PulseNull) -> None:
    """Counting samples: what is silent between them is shorter than it may be.

    A sink of a busy machine stalls by itself now and then: of each change the best one counts.
    """
    marks = []
    with (
        server(tmp_path, *PLAIN, "--buffer-size", "256", env=pulse_card.env) as it,
        pulse_card.recorder() as recorder,
    ):
        play(it, tmp_path)
        await_standby(it)
        for frames in (2048, 256, 2048, 256):
            time.sleep(0.7)
            marks.append(recorder.frames())
            resize(it, frames)
        time.sleep(0.7)
        heard = np.rint(recorder.stop()[:, 0] * 32768).astype(int)
        assert it.client.status()["guarded"] == 0
    gaps = [
        np.diff(np.flatnonzero(heard[begin:end])).max() * 1000.0 / RATE
        for begin, end in zip(marks, [*marks[1:], len(heard)], strict=True)
    ]
    assert min(gaps[::2]) <= MOST_MS and min(gaps[1::2]) <= MOST_MS, gaps


def test_on_jack(tmp_path: Path) -> None:
    with (
        JackDummy(frames=256) as card,
        server(tmp_path, *PLAIN, "--buffer-size", "256", env=card.env) as it,
    ):
        play(it, tmp_path)
        it.client.request("/record/start", str(tmp_path / "mix.wav"), answer="/done")
        for frames in (1024, 128):
            assert resize(it, frames) <= MOST_MS
            status = it.client.status()
            assert "JACK" in status["device"] and status["buffer_size"] == frames
        time.sleep(0.5)
        it.client.request("/record/stop", answer="/done")
        until(lambda: it.client.status()["recording"] == 0)
    assert counts_on(soundfile.read(tmp_path / "mix.wav", always_2d=True)[0])
