"""The buffer size changes while the server plays on a virtual sound card."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import soundfile

from contrib.soundcard import JackDummy, PulseNull
from tests.support.numbered_sound import numbered, runs
from tests.support.offline_server import RATE, write
from tests.support.resizing import PLAIN, await_standby, resize
from tests.support.server import Running, server, until


def play(it: Running, folder: Path) -> None:
    """Deck A plays frames that show their place."""
    track = write(folder / "numbered.wav", numbered(120))
    it.client.request("/deck/A/load", str(track), answer="/done")
    it.client.send("/deck/A/play")
    until(lambda: it.client.status()["deck.A.state"] == "playing")


def test_what_is_heard_of_it(tmp_path: Path, pulse_card: PulseNull) -> None:
    """Each change is a gap of silence at most: what sounds are frames of the track, in order."""
    with (
        server(tmp_path, *PLAIN, "--buffer-size", "256", env=pulse_card.env) as it,
        pulse_card.recorder() as recorder,
    ):
        play(it, tmp_path)
        await_standby(it)
        for frames in (2048, 256, 2048, 256):
            it.client.await_frames(RATE // 2)
            resize(it, frames)
            assert it.client.status()["buffer_size"] == frames
        it.client.await_frames(RATE // 2)
        heard = recorder.stop_after(RATE // 2)
        status = it.client.status()
    assert status["guarded"] == 0
    # Shorter ones are where the last of an engine's sound is mixed with the first of the next.
    found = runs(heard, 256)
    lost = [after.begin - first.end for first, after in pairwise(found)]
    assert len(found) > 1 and found[-1].end - found[0].begin > 2 * RATE
    if not (status["underruns"] or status["underruns_engine"]):  # the machine was never late
        # What an engine had given to the sound server, and no more than that.
        assert all(-256 < frames < 2 * 2048 for frames in lost), lost


def test_on_jack(tmp_path: Path) -> None:
    with (
        JackDummy(frames=256) as card,
        server(tmp_path, *PLAIN, "--buffer-size", "256", env=card.env) as it,
    ):
        play(it, tmp_path)
        it.client.request("/record/start", str(tmp_path / "mix.wav"), answer="/done")
        for frames in (1024, 128):
            resize(it, frames)
            status = it.client.status()
            assert "JACK" in status["device"] and status["buffer_size"] == frames
        it.client.await_frames(RATE)
        it.client.request("/record/stop", answer="/done")
        until(lambda: it.client.status()["recording"] == 0)
        lost = it.client.status()["record_lost"]
    heard, _ = soundfile.read(tmp_path / "mix.wav", always_2d=True)
    assert len(heard) > RATE
    found = runs(heard[:, :2])
    # What a busy machine has not recorded in time is silence in the file, and counted.
    assert all(run.begin - found[0].begin == run.at - found[0].at for run in found)
    missing = sum(after.begin - first.end for first, after in pairwise(found))
    assert missing == lost and found[-1].end - found[0].begin > RATE
