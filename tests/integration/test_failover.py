"""Engines are killed or stopped, cards unplugged: effects on playback and notifications."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from crowdstream.desk.opcodes import CAUSES
from tests.support.offline_server import RATE, level, write
from tests.support.playing_server import OPTIONS, await_standby, await_takeover, engines, play
from tests.support.server import WAIT_SECONDS, OscClient, Running, SharedServer, ended, until

RIVALS = 4
_RIVAL = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
print("runs", flush=True)
while True:
    pass
"""
LATE_NS = 120_000_000  # of a block, after which an engine that hangs is replaced
NULL = (*OPTIONS, "--driver", "null")


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("track") / "track.wav", level(30))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *NULL) as made:
        yield made


@pytest.fixture(scope="module")
def shared_without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    folder = tmp_path_factory.mktemp("without")
    with SharedServer(folder, *NULL, "--standby", "off") as made:
        yield made


@pytest.fixture
def playing(shared: SharedServer, track: Path) -> Running:
    """A server with a standby whose deck A plays."""
    it = shared.get()
    play(it, track)
    await_standby(it)
    return it


@pytest.fixture
def playing_without(shared_without: SharedServer, track: Path) -> Running:
    """A server without a standby whose deck A plays."""
    it = shared_without.get()
    play(it, track)
    return it


def test_the_standby_continues_a_killed_engine_at_the_next_frame(playing: Running) -> None:
    """Loop, EQ, effect, tempo ramp and a scheduled command continue; nothing is played twice."""
    it, client = playing, playing.client
    listener = OscClient(it.port)
    listener.request("/notify", 1, answer="/done")
    client.send("/deck/A/grid", 120.0, 0.0)
    client.send("/deck/A/eq/low", 0.5)
    client.send("/deck/A/fx/insert", 1, "echo")
    client.send("/deck/A/loop/set", 1.0, 3.0)
    client.send("/clock/tempo", 140.0, 32.0)
    later = time.time() + 2.0
    client.bundle(later, ("/deck/B/level", 0.25))
    client.synchronize()
    until(lambda: client.status()["deck.A.low"] == 0.5)  # the end of its ramp
    before = client.status()
    killed = engines(it)[0]
    killed.kill()
    values = listener.receive_until("/engine")
    listener.close()
    after = await_takeover(it, before["takeovers"] + 1)
    in_time = time.time() < later
    assert values[0] == "died" and values[1] >= 0.0
    assert before["frame"] < after["frame"]
    assert after["underruns_engine"] == before["underruns_engine"] + 1
    assert after["takeover_gap_ms"] == pytest.approx(values[1], abs=0.01)
    for name in ("deck.A.loop", "deck.A.fx", "deck.A.low", "deck.A.state", "bpm_target"):
        assert after[name] == before[name], name
    until(lambda: client.status()["bpm"] > before["bpm"])
    until(lambda: client.status()["deck.B.level"] == pytest.approx(0.25))
    assert time.time() > later - 0.1  # minus the correction of the clock by the takeover
    after = client.status()
    # If replacing the engine took longer than the time left, the command must be late.
    assert after["late_commands"] == before["late_commands"] or not in_time
    assert after["bpm"] <= 140.0
    # Once more, with the new standby.
    await_standby(it)
    engines(it)[0].kill()
    assert await_takeover(it, after["takeovers"] + 1)["deck.A.state"] == "playing"
    until(lambda: ended(killed))


def test_an_engine_that_hangs_on_the_built_in_clock_is_replaced(playing: Running) -> None:
    it = playing
    before = it.client.status()
    listener = OscClient(it.port)
    listener.request("/notify", 1, answer="/done")
    stopped = engines(it)[0]
    stopped.suspend()
    values = listener.receive_until("/engine")
    listener.close()
    after = await_takeover(it, before["takeovers"] + 1)
    assert values[0] == "hung"
    assert after["deck.A.state"] == "playing" and after["frame"] > before["frame"]
    until(lambda: ended(stopped))
    # The new engine has rendered what the stopped one had missed, as a clock does not wait.
    it.client.await_frames(RATE)
    assert it.client.status()["late_commands"] == before["late_commands"]


@contextlib.contextmanager
def starved(process: psutil.Process) -> Iterator[None]:
    """Withhold the processor from all threads of a process, during the `with` block."""
    core = min(os.sched_getaffinity(0))
    threads = [thread.id for thread in process.threads()]
    rivals = [
        subprocess.Popen([sys.executable, "-c", _RIVAL, str(core)], stdout=subprocess.PIPE)
        for _ in range(RIVALS)
    ]
    try:
        for rival in rivals:
            assert rival.stdout and rival.stdout.readline()
        for thread in threads:
            os.sched_setaffinity(thread, {core})
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        yield
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):  # a failed test: it was replaced
                os.sched_setaffinity(thread, os.sched_getaffinity(0))


def test_an_engine_without_a_processor_is_not_replaced(playing: Running) -> None:
    it = playing
    before = it.client.status()
    engine = engines(it)[0]
    with it.desk() as desk:

        def is_late() -> bool:
            known = desk.gaps[: min(int(desk.ledger["gap_count"]), len(desk.gaps))]
            late = known["cause"] == CAUSES.index("late_callback")
            return bool((known["excess_ns"][late] > LATE_NS).any())

        with starved(engine):
            until(lambda: is_late() or int(desk.lease["takeovers"]) > before["takeovers"])
    # It continues by itself, long after the time at which an engine that hangs is replaced.
    after = it.client.status()
    assert after["takeovers"] == before["takeovers"]
    assert engines(it)[0].pid == engine.pid
    it.client.await_frames(RATE)
    engine.kill()  # of lower priority now, which other tests do not expect
    await_takeover(it, after["takeovers"] + 1)


def test_a_dead_standby_is_replaced_without_interruption(playing: Running) -> None:
    before = playing.client.status()
    first, standby = engines(playing)
    standby.kill()
    until(lambda: "the standby engine has died (signal 9)" in playing.log())
    until(lambda: len(engines(playing)) == 2 and engines(playing)[1].pid != standby.pid)
    await_standby(playing)
    after = playing.client.status()
    assert after["takeovers"] == before["takeovers"] and engines(playing)[0].pid == first.pid
    assert after["underruns_engine"] == before["underruns_engine"]


def test_without_a_standby_a_dead_engine_is_restarted(playing_without: Running) -> None:
    it, client = playing_without, playing_without.client
    client.await_frames(RATE)
    before = client.status()
    assert before["standby"] == "none" and len(engines(it)) == 1
    engines(it)[0].kill()
    after = await_takeover(it, before["takeovers"] + 1)
    assert after["deck.A.state"] == "playing" and after["frame"] > before["frame"]


def test_engines_that_keep_dying_end_the_server(playing_without: Running) -> None:
    """The service manager restarts the server, which does not retry indefinitely itself."""
    it = playing_without

    def over() -> bool:
        with contextlib.suppress(psutil.Error):
            for process in engines(it):
                process.kill()
        return it.process.poll() is not None

    until(over)
    assert it.process.wait(WAIT_SECONDS) == 1
    assert "engines in a row have died: the server is shutting down" in it.log()
