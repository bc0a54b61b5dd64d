"""Engines that are killed or stopped, cards that are pulled out: what is heard and told."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil
import pytest

from tests.support.offline_server import level
from tests.support.playing_server import await_standby, await_takeover, engines, playing
from tests.support.server import Client, until


def test_a_killed_engine_is_followed_at_the_next_frame(tmp_path: Path) -> None:
    """Loop, EQ, effect, tempo ramp and a scheduled command go on; nothing is played twice."""
    with playing(tmp_path, None, level(30), "--driver", "null") as it:
        client = it.client
        listener = Client(it.port)
        listener.request("/notify", 1, answer="/done")
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
            heard, values = listener.receive(20)
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
