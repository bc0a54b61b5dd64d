"""The DJ on a running server: it obeys commands, and the mix survives crashes of the server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from crowdstream.client.poller import connect
from crowdstream.dj.autopilot import player
from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.timing import place_of
from crowdstream.dj.autopilot.track_selector import SetFileSelector
from crowdstream.dj.setfile.model import Set
from tests.support.server import Running, SharedServer, ended, server, until
from tests.support.simulated_dj import current_track, tone_set

BPM = 400.0  # a beat is 0.15 s, so that phrases pass quickly
BEATS, LEAVE = 2400, 2392.0  # six minutes, longer than any step of a test
OPTIONS = ("--driver", "null", "--base-bpm", str(BPM), "--standby", "off")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *OPTIONS) as one:
        yield one


@pytest.fixture
def running(shared: SharedServer) -> Running:
    return shared.get()


class RunningDj:
    """A DJ session in its own thread, for the duration of a `with` block."""

    def __init__(self, port: int, mix: Set) -> None:
        self.session = Session(
            ServerLink(connect("127.0.0.1", port)), SetFileSelector(mix), CrowdInput(None)
        )
        self.player = self.session.player
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.session.run, args=(self._ended.is_set,))

    def __enter__(self) -> RunningDj:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def current_track(self) -> str:
        return current_track(self.session)


def start_beat(running: Running, out: str, into: str) -> float:
    """Return the beat of deck `out` at which deck `into` starts, at its own beat 0."""
    found: dict[str, object] = {}

    def begun() -> bool:
        found.update(running.client.status())
        return found[f"deck.{into}.state"] == "playing"

    until(begun)
    return float(str(found[f"deck.{out}.beat"])) - float(str(found[f"deck.{into}.beat"]))


def upcoming(dj: RunningDj) -> str:
    mix = dj.player.state.mix
    return "".join(Path(entry.path).stem for entry in mix.entries[1:]) if mix else ""


def test_commands_reach_the_dj_and_touched_decks_are_left_alone(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "GRACE_SECONDS", 0.0)
    mix = tone_set(tmp_path, "abcd", beats=BEATS, leave=LEAVE, bpm=BPM, rate=8000)
    with RunningDj(running.port, mix) as dj:
        person = running.client
        until(lambda: dj.current_track() == "a" and dj.player.state.stage == "ready")

        def command(name: str, *arguments: object) -> None:
            assert person.request(f"/dj/{name}", *arguments, answer="/done") == [f"/dj/{name}"]

        command("hold", 1)
        assert dj.player.state.holding
        command("hold", 0)
        command("energy", 0.7)
        assert dj.player.state.energy == pytest.approx(0.7)
        command("skip")  # b
        until(lambda: dj.player.state.stage == "ready")
        command("ban", "c.wav")
        command("queue", "b.wav")
        until(lambda: upcoming(dj) == "bd" and dj.player.state.stage == "ready")
        assert "no such track" in person.request("/dj/queue", "e.wav", answer="/fail")[1]
        person.send("/deck/A/eq/mid", 0.5)
        until(lambda: "A" in dj.player.override)
        command("give", "A")
        assert "A" not in dj.player.override
        command("next")
        until(lambda: dj.player.state.stage == "going")
        beat = start_beat(running, "A", dj.player.state.decks[1])
        assert (beat + 8.0) % 16.0 == pytest.approx(8.0, abs=0.01)
        until(lambda: dj.current_track() == "b")
        assert person.status()["deck.A.mid"] == 0.5


def deck_of(running: Running, track: str) -> str:
    """Wait until a deck plays the track; return the deck."""
    found: list[str] = []

    def is_playing() -> bool:
        status = running.client.status()
        found[:] = [deck for deck in "ABCD" if status[f"deck.{deck}.track"] == track
                    and status[f"deck.{deck}.state"] == "playing"]  # fmt: skip
        return bool(found)

    until(is_playing)
    return found[0]


@contextlib.contextmanager
def control_replaced(shared: SharedServer, folder: Path) -> Iterator[tuple[Running, RunningDj]]:
    """Yield a DJ that plays track `b` as planned after control was killed during track `a`.

    A busy machine takes longer to start a control process. If the transition into `b` is late,
    the test is repeated with more time before it.
    """
    mix = tone_set(folder, "abcd", beats=BEATS, leave=LEAVE, bpm=BPM, rate=8000)
    seen = []  # beat at which the next track was to start, its deck, and the beat of its start
    for leave in (64.0, 160.0, 464.0):
        running = shared.get()
        entries = (replace(mix.entries[0], leave=leave), *mix.entries[1:])
        with RunningDj(running.port, replace(mix, entries=entries)) as dj:
            until(lambda dj=dj: dj.current_track() == "a" and dj.player.state.stage == "ready")
            running.child_named("control").kill()
            deck = deck_of(running, "b")
            begun = start_beat(running, "A", "B") if deck == "B" else None
            seen.append((leave - 8.0, deck, begun))
            if begun == pytest.approx(leave - 8.0, abs=0.01):
                yield running, dj
                return
    raise AssertionError(f"the next track never started when it was planned: {seen}")


def test_the_mix_survives_a_control_crash_and_a_server_restart(
    shared: SharedServer, tmp_path: Path
) -> None:
    with control_replaced(shared, tmp_path) as (running, dj):
        # The engine has kept playing, and the DJ uses the new control process.
        assert not dj.session.link.restarted
        until(lambda: dj.current_track() == "b" and dj.player.state.stage == "ready")
        until(lambda: float(dj.session.link.deck("B", "beat")) > 33.0)
        everything = [psutil.Process(running.process.pid), *running.children()]
        earliest = float(dj.session.link.deck("B", "beat"))
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended with its parent
                process.kill()
        running.process.wait()
        until(lambda: all(ended(process) for process in everything))
        latest = float(dj.session.link.deck("B", "beat"))
        with server(tmp_path, *OPTIONS, "--port", str(running.port)) as other:
            until(lambda: other.client.status()["deck.A.state"] == "playing")
            # The audible track restarts at its current phrase.
            until(lambda: dj.current_track() == "b")
            status = other.client.status()
            assert status["deck.A.track"] == "b" and status["bpm"] == pytest.approx(BPM)
            assert abs(status["deck.A.phase"]) < 1e-3
            # The rest of the set follows.
            mix = dj.player.state.mix
            assert mix is not None
            enter = mix.entries[0].enter
            assert enter % 16.0 == 0.0 and earliest - 32.0 < enter <= latest
            assert status["deck.A.beat"] >= enter
            place = place_of(mix, 0)
            left = place.mix_out + dj.player.state.offset - float(status["beat"])
            assert LEAVE - 8.0 - float(status["deck.A.beat"]) == pytest.approx(left, abs=0.01)
            assert upcoming(dj) == "cd"
            until(lambda: dj.player.state.stage == "ready")
            assert other.client.status()["deck.A.state"] == "playing"
