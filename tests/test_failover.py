"""Engines that are killed or stopped, cards that are pulled out: what is heard and told."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from contrib.soundcard import JackDummy, PulseNull
from tests.server import Client, Running, server, until
from tests.support_control import RATE, count, level, write

FRAMES = 256
OPTIONS = ("--buffer-size", str(FRAMES), "--stats-interval", "0")
MOST_MS = 50.0  # that may be lost; how much it is usually is the benchmark's business


def engines(it: Running) -> list[psutil.Process]:
    """The engine processes, the oldest first."""
    return it.all_named("engine")


def await_standby(it: Running, state: str = "running") -> None:
    """Wait until a standby is ready."""
    until(lambda: it.client.status()["standby"] == state, 60)


def await_takeover(it: Running, number: int = 1) -> dict[str, Any]:
    """Wait until so many engines have taken over; the status then."""
    until(lambda: it.client.status()["takeovers"] == number, 20)
    until(lambda: it.client.status()["standby"] == "none" or len(engines(it)) == 2, 20)
    return it.client.status()


@contextlib.contextmanager
def playing(folder: Path, card: Any, samples: np.ndarray, *options: str) -> Iterator[Running]:
    """A server on a card whose deck A plays."""
    track = str(write(folder / "track.wav", samples))
    with server(folder, *OPTIONS, *options, env=card.env if card else {}) as it:
        it.client.ask("/deck/A/load", track, answer="/done")
        it.client.send("/deck/A/play", 0.0, 1)
        until(lambda: it.client.status()["deck.A.state"] == "playing")
        yield it


def test_a_killed_engine_is_followed_at_the_next_frame(tmp_path: Path) -> None:
    """Loop, EQ, effect, tempo ramp and a scheduled command go on; nothing is played twice."""
    with playing(tmp_path, None, level(30), "--driver", "null") as it:
        client = it.client
        listener = Client(it.port)
        listener.ask("/notify", 1, answer="/done")
        client.send("/deck/A/grid", 120.0, 0.0)
        client.send("/deck/A/eq/low", 0.5)
        client.send("/deck/A/fx/insert", 1, "echo")
        client.send("/deck/A/loop/set", 1.0, 3.0)
        await_standby(it)
        client.send("/clock/tempo", 140.0, 32.0)
        later = time.time() + 3.0
        client.bundle(later, ("/deck/B/level", 0.25))
        before = client.status()
        killed = engines(it)[0]
        killed.kill()
        heard = ""
        while heard != "/engine":
            heard, values = listener.hear(20)
        listener.close()
        after = await_takeover(it)
        assert values[0] == "died" and 0.0 <= values[1] < 1000.0
        assert before["frame"] < after["frame"]
        assert after["underruns_engine"] == 1 and after["takeover_gap_ms"] == pytest.approx(
            values[1], abs=0.01
        )
        for name in ("deck.A.loop", "deck.A.fx", "deck.A.low", "deck.A.state", "bpm_target"):
            assert after[name] == before[name], name
        until(lambda: before["bpm"] < client.status()["bpm"] < 140.0)
        assert after["late_commands"] == before["late_commands"]
        until(lambda: client.status()["deck.B.level"] == pytest.approx(0.25))
        assert time.time() == pytest.approx(later, abs=0.3)
        # And again: there is a new standby within seconds.
        await_standby(it)
        engines(it)[0].kill()
        assert await_takeover(it, 2)["deck.A.state"] == "playing"
        assert not killed.is_running()


def test_without_a_standby_an_engine_is_started_when_one_has_died(tmp_path: Path) -> None:
    with playing(tmp_path, None, level(30), "--driver", "null", "--standby", "off") as it:
        before = it.client.status()
        time.sleep(1.0)
        assert it.client.status()["standby"] == "none" and len(engines(it)) == 1
        engines(it)[0].kill()
        after = await_takeover(it)
        assert after["deck.A.state"] == "playing" and after["frame"] > before["frame"]


def test_a_standby_that_dies_is_replaced_and_not_heard(tmp_path: Path) -> None:
    with playing(tmp_path, None, level(30), "--driver", "null") as it:
        await_standby(it)
        standby = engines(it)[1]
        standby.kill()
        until(lambda: it.client.status()["standby"] == "none")
        await_standby(it)
        assert it.client.status()["takeovers"] == 0
        assert "the standby engine has died (signal 9)" in it.log()


def test_engines_that_die_one_after_another_end_the_server(tmp_path: Path) -> None:
    """It is for whoever watches over the server to start it anew; it is not there for ever."""
    with playing(tmp_path, None, level(30), "--driver", "null", "--standby", "off") as it:
        deadline = time.monotonic() + 60
        while it.process.poll() is None and time.monotonic() < deadline:
            for process in engines(it):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.02)
        assert it.process.wait(5) == 1
        assert "engines in a row have died: the server ends" in it.log()


@pytest.mark.device
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


@pytest.mark.device
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


@pytest.mark.device
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


@pytest.mark.device
@pytest.mark.parametrize("mode", ["play", "wait"])
def test_a_card_that_is_pulled_out_and_plugged_in_again(tmp_path: Path, mode: str) -> None:
    with (
        JackDummy(frames=FRAMES) as card,
        playing(tmp_path, card, level(60), "--device-lost", mode) as it,
    ):
        client = it.client
        listener = Client(it.port)
        listener.ask("/notify", 1, answer="/done")
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
                heard.append(listener.hear(0.2))
        listener.close()
        told = [values[0] for address, values in heard if address == "/device"]
        assert told == [0, 1]


@pytest.mark.device
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
