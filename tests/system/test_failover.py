"""Engines that are killed and sound cards that are unplugged, on virtual sound cards."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from contrib.soundcard import JackDummy, PulseNull
from tests.support.offline_server import RATE, count, level
from tests.support.playing_server import (
    FRAMES,
    MOST_MS,
    await_standby,
    await_takeover,
    engines,
    playing,
)
from tests.support.server import OscClient, until


def test_on_jack_a_killed_and_a_stopped_engine(tmp_path: Path) -> None:
    with JackDummy(frames=FRAMES) as card, playing(tmp_path, card, level(60)) as it:
        for number, how in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
            await_standby(it)
            first = engines(it)[0]
            os.kill(first.pid, how)
            status = await_takeover(it, number)
            assert status["takeover_gap_ms"] < 4 * MOST_MS
            assert status["deck.A.state"] == "playing" and status["guarded"] == 0
            # There are never two of them on the device.
            until(lambda first=first: not first.is_running())
        assert "the engine died" in it.log() and "the engine hung and was ended" in it.log()


def test_a_standby_without_a_stream_of_its_own_opens_the_card_when_its_turn_comes(
    tmp_path: Path, jack_card: JackDummy
) -> None:
    """As on a card that only one program can have."""
    with playing(tmp_path, jack_card, level(60), "--standby", "warm") as it:
        for number, how in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
            await_standby(it, "warm")
            os.kill(engines(it)[0].pid, how)
            status = await_takeover(it, number)
            assert "JACK" in status["device"] and status["device_lost"] == 0
            assert status["deck.A.state"] == "playing"
            assert status["takeover_gap_ms"] < 1000.0


def test_what_is_heard_of_a_kill(tmp_path: Path, pulse_card: PulseNull) -> None:
    """Counting samples: one gap, of zeros alone, and behind it the count goes on, not back."""
    with pulse_card.recorder() as recorder, playing(tmp_path, pulse_card, count(20)) as it:
        await_standby(it)
        time.sleep(0.5)
        mark = recorder.frames()
        engines(it)[0].kill()
        await_takeover(it)
        time.sleep(1.0)
        heard = np.rint(recorder.stop()[mark - RATE // 4 :, 0] * 32768).astype(int)
    sounding = np.flatnonzero(heard)
    sounding = sounding[sounding < len(heard) - RATE // 4]
    breaks = np.flatnonzero(np.diff(sounding) > 1)
    assert len(breaks) >= 1, "the kill was not heard at all"
    begin, end = int(sounding[breaks[0]]), int(sounding[breaks[0] + 1])
    assert 1000.0 * (end - begin) / RATE < 4 * MOST_MS
    lost = (heard[end] - heard[begin] - 1) % 8192
    # What the dead engine had given to the sound server, and no more than that.
    assert 0 <= lost < 16 * FRAMES
    after = heard[end : end + RATE // 2]
    assert np.count_nonzero(np.diff(after) % 8192 != 1) <= 2


@pytest.mark.parametrize("mode", ["play", "wait"])
def test_a_card_that_is_pulled_out_and_plugged_in_again(tmp_path: Path, mode: str) -> None:
    with (
        JackDummy(frames=FRAMES) as card,
        playing(tmp_path, card, level(60), "--device-lost", mode) as it,
    ):
        client = it.client
        listener = OscClient(it.port)
        listener.request("/notify", 1, answer="/done")
        await_standby(it)
        card.pull_out()
        until(lambda: client.status()["device_lost"] == 1, 20)
        first, begin = client.status(), time.monotonic()
        time.sleep(1.0)
        second, end = client.status(), time.monotonic()
        moved = second["deck.A.position"] - first["deck.A.position"]
        if mode == "play":
            assert first["driver"] == "null"
            assert moved == pytest.approx(end - begin, abs=0.1)
        else:
            assert moved == 0.0
        card.plug_in()
        until(lambda: client.status()["device_lost"] == 0, 30)
        third = client.status()
        assert "JACK" in third["device"] and third["deck.A.state"] == "playing"
        until(lambda: client.status()["frame"] > third["frame"])
        await_standby(it)
        heard = []
        with contextlib.suppress(TimeoutError):
            while True:
                heard.append(listener.receive(0.2))
        listener.close()
        told = [values[0] for address, values in heard if address == "/device"]
        assert told == [0, 1]


@pytest.mark.parametrize("allowed", [True, False])
def test_another_card_is_taken_only_where_that_is_allowed(
    tmp_path: Path, pulse_card: PulseNull, allowed: bool
) -> None:
    """ALSA's device `pulse` goes away for good; the system's default is there again."""
    flag = "--device-fallback" if allowed else "--no-device-fallback"
    with playing(tmp_path, pulse_card, level(60), "--device", "pulse", flag) as it:
        client = it.client
        assert client.status()["device"] == "pulse (ALSA)"
        await_standby(it)
        pulse_card.pull_out()
        until(lambda: client.status()["device_lost"] == 1, 20)
        alsa = Path(pulse_card.env["ALSA_CONFIG_PATH"])
        lines = alsa.read_text(encoding="utf-8").splitlines(keepends=True)
        alsa.write_text("".join(line for line in lines if ".default" in line), encoding="utf-8")
        pulse_card.plug_in()
        if allowed:
            until(lambda: client.status()["device_lost"] == 0, 30)
            assert client.status()["device"] == "default (ALSA)"
        else:
            time.sleep(4.0)
            status = client.status()
            assert status["device_lost"] == 1 and status["driver"] == "null"
            assert status["deck.A.state"] == "playing"
