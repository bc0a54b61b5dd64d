"""Engines that are killed and sound cards that are unplugged, on virtual sound cards."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from contrib.soundcard import JackDummy, PulseNull
from tests.support.numbered_sound import numbered, runs
from tests.support.offline_server import RATE, level
from tests.support.playing_server import (
    FRAMES,
    await_standby,
    await_takeover,
    engines,
    playing,
)
from tests.support.server import OscClient, Running, until


def test_on_jack_a_killed_and_a_stopped_engine(tmp_path: Path) -> None:
    with JackDummy(frames=FRAMES) as card, playing(tmp_path, card, level(60)) as it:
        for how in (signal.SIGKILL, signal.SIGSTOP):
            await_standby(it, "running")
            before = it.client.status()
            first = engines(it)[0]
            os.kill(first.pid, how)
            status = await_takeover(it, before["takeovers"] + 1)
            assert status["underruns_engine"] > before["underruns_engine"]
            assert status["deck.A.state"] == "playing" and status["guarded"] == 0
            # There are never two of them on the device.
            until(lambda first=first: not first.is_running())
        for what in ("the engine died", "the engine hung and was killed"):
            until(lambda what=what: what in it.log())


def test_a_standby_without_a_stream_of_its_own_opens_the_card_when_its_turn_comes(
    tmp_path: Path, jack_card: JackDummy
) -> None:
    """As on a card that only one program can have."""
    with playing(tmp_path, jack_card, level(60), "--standby", "warm") as it:
        for how in (signal.SIGKILL, signal.SIGSTOP):
            await_standby(it, "warm")
            before = it.client.status()
            os.kill(engines(it)[0].pid, how)
            status = await_takeover(it, before["takeovers"] + 1)
            assert "JACK" in status["device"] and status["device_lost"] == 0
            assert status["deck.A.state"] == "playing"
            assert status["underruns_engine"] > before["underruns_engine"]


def test_what_is_heard_of_a_kill(tmp_path: Path, pulse_card: PulseNull) -> None:
    """Counting samples: one gap, of zeros alone, and behind it the count goes on, not back."""
    with pulse_card.recorder() as recorder, playing(tmp_path, pulse_card, numbered(120)) as it:
        await_standby(it, "running")
        it.client.await_frames(RATE // 2)
        mark = recorder.frames() - RATE // 4
        before = it.client.status()
        engines(it)[0].kill()
        status = await_takeover(it)
        it.client.await_frames(RATE)
        heard = recorder.stop_after(RATE)[mark:]
        underruns = it.client.status()["underruns"] - before["underruns"]
    # Shorter ones are what is left of the dead engine's sound while its successor begins.
    found = runs(heard, FRAMES)
    assert len(found) > 1, "the kill was not heard at all"
    assert status["underruns_engine"] > 0
    assert found[-1].end > before["deck.A.position"] * RATE
    lost = [after.begin - first.end for first, after in pairwise(found)]
    assert all(frames >= 0 for frames in lost), lost
    if not underruns:  # the sound server itself was never late
        # What the dead engine had given to the sound server, and no more than that.
        assert all(frames < 16 * FRAMES for frames in lost), lost


def await_searches(it: Running, waits: int = 10) -> None:
    """Wait until the engine that looks for the device has waited so many times.

    It waits between two looks, and within a look for the answer of the sound server.
    """
    until(lambda: it.children_named("engine", '"search"'))
    search = it.children_named("engine", '"search"')[-1]
    end = search.num_ctx_switches().voluntary + waits
    until(lambda: search.num_ctx_switches().voluntary >= end)


@pytest.mark.parametrize("mode", ["play", "wait"])
def test_a_card_that_is_pulled_out_and_plugged_in_again(tmp_path: Path, mode: str) -> None:
    with (
        JackDummy(frames=FRAMES) as card,
        playing(tmp_path, card, level(60), "--device-lost", mode) as it,
    ):
        client = it.client
        listener = OscClient(it.port)
        listener.request("/notify", 1, answer="/done")
        await_standby(it, "running")
        card.pull_out()
        until(lambda: client.status()["device_lost"] == 1)
        first = client.status()
        if mode == "play":
            assert first["driver"] == "null"
            until(lambda: client.status()["deck.A.position"] > first["deck.A.position"] + 1.0)
        else:
            await_searches(it)
            assert client.status()["deck.A.position"] == first["deck.A.position"]
        card.plug_in()
        until(lambda: client.status()["device_lost"] == 0)
        third = client.status()
        assert "JACK" in third["device"] and third["deck.A.state"] == "playing"
        until(lambda: client.status()["frame"] > third["frame"])
        await_standby(it, "running")
        heard = listener.synchronize()
        listener.close()
        told = [values[0] for address, values in heard if address == "/device"]
        assert told == [0, 1], it.log()  # which says why it was lost again


@pytest.mark.parametrize("allowed", [True, False])
def test_another_card_is_taken_only_where_that_is_allowed(
    tmp_path: Path, pulse_card: PulseNull, allowed: bool
) -> None:
    """ALSA's device `pulse` goes away for good; the system's default is there again."""
    flag = "--device-fallback" if allowed else "--no-device-fallback"
    with playing(tmp_path, pulse_card, level(60), "--device", "pulse", flag) as it:
        client = it.client
        assert client.status()["device"] == "pulse (ALSA)"
        await_standby(it, "running")
        pulse_card.pull_out()
        until(lambda: client.status()["device_lost"] == 1)
        alsa = Path(pulse_card.env["ALSA_CONFIG_PATH"])
        lines = alsa.read_text(encoding="utf-8").splitlines(keepends=True)
        alsa.write_text("".join(line for line in lines if ".default" in line), encoding="utf-8")
        pulse_card.plug_in()
        if allowed:
            until(lambda: client.status()["device_lost"] == 0)
            assert client.status()["device"] == "default (ALSA)"
        else:
            await_searches(it)
            status = client.status()
            assert status["device_lost"] == 1 and status["driver"] == "null"
            assert status["deck.A.state"] == "playing"
