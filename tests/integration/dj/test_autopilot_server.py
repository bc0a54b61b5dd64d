"""The DJ on a server that runs: people give it orders; both die, and the mix continues."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from crowdstream.dj.autopilot import player
from crowdstream.dj.autopilot.crowd import CrowdInput
from crowdstream.dj.autopilot.server_link import ServerLink, connect
from crowdstream.dj.autopilot.session import Session
from crowdstream.dj.autopilot.timing import place_of
from crowdstream.dj.autopilot.track_selector import SetFileSelector
from crowdstream.dj.setfile.model import Set
from tests.support.server import Running, SharedServer, ended, server, until
from tests.support.simulated_dj import made, plays

BPM = 400.0  # a beat is 0.15 s: a night passes quickly
BEATS, LEAVE = 2400, 2392.0  # six minutes: longer than any step of a test takes
OPTIONS = ("--driver", "null", "--base-bpm", str(BPM), "--standby", "off")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with SharedServer(tmp_path_factory.mktemp("server"), *OPTIONS) as one:
        yield one


@pytest.fixture
def running(shared: SharedServer) -> Running:
    return shared.get()


class At:
    """A DJ at work in a thread of its own, until it is left."""

    def __init__(self, port: int, mix: Set) -> None:
        self.session = Session(
            ServerLink(connect("127.0.0.1", port)), SetFileSelector(mix), CrowdInput(None)
        )
        self.player = self.session.player
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.session.run, args=(self._ended.is_set,))

    def __enter__(self) -> At:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def plays(self) -> str:
        return plays(self.session)


def meeting(running: Running, out: str, into: str) -> float:
    """The beat of the grid of deck `out` at which deck `into` begins, at its own beat 0."""
    found: dict[str, object] = {}

    def begun() -> bool:
        found.update(running.client.status())
        return found[f"deck.{into}.state"] == "playing"

    until(begun)
    return float(str(found[f"deck.{out}.beat"])) - float(str(found[f"deck.{into}.beat"]))


def coming(at: At) -> str:
    mix = at.player.state.mix
    return "".join(Path(entry.path).stem for entry in mix.entries[1:]) if mix else ""


def test_what_people_say_comes_to_it_and_decks_stay_theirs(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "GRACE_SECONDS", 0.0)
    mix = made(tmp_path, "abcd", beats=BEATS, leave=LEAVE, bpm=BPM, rate=8000)
    with At(running.port, mix) as at:
        person = running.client
        until(lambda: at.plays() == "a" and at.player.state.stage == "ready")

        def say(word: str, *arguments: object) -> None:
            assert person.request(f"/dj/{word}", *arguments, answer="/done") == [f"/dj/{word}"]

        say("hold", 1)
        assert at.player.state.holding
        say("hold", 0)
        say("energy", 0.7)
        assert at.player.state.energy == pytest.approx(0.7)
        say("skip")  # b
        until(lambda: at.player.state.stage == "ready")
        say("ban", "c.wav")
        say("queue", "b.wav")
        until(lambda: coming(at) == "bd" and at.player.state.stage == "ready")
        assert "no such track" in person.request("/dj/queue", "e.wav", answer="/fail")[1]
        person.send("/deck/A/eq/mid", 0.5)
        until(lambda: "A" in at.player.hands)
        say("give", "A")
        assert "A" not in at.player.hands
        say("next")
        until(lambda: at.player.state.stage == "going")
        beat = meeting(running, "A", at.player.state.decks[1])
        assert (beat + 8.0) % 16.0 == pytest.approx(8.0, abs=0.01)
        until(lambda: at.plays() == "b")
        assert person.status()["deck.A.mid"] == 0.5


def deck_of(running: Running, track: str) -> str:
    """The deck that plays a track, once one does."""
    found: list[str] = []

    def plays_it() -> bool:
        status = running.client.status()
        found[:] = [deck for deck in "ABCD" if status[f"deck.{deck}.track"] == track
                    and status[f"deck.{deck}.state"] == "playing"]  # fmt: skip
        return bool(found)

    until(plays_it)
    return found[0]


@contextlib.contextmanager
def control_replaced(shared: SharedServer, folder: Path) -> Iterator[tuple[Running, At]]:
    """A DJ that plays track `b`, as planned, though control died while it played `a`.

    The plan is kept where there is time for it: a machine that has much to do takes longer to
    start a control, so it gets more time before the next track.
    """
    mix = made(folder, "abcd", beats=BEATS, leave=LEAVE, bpm=BPM, rate=8000)
    for leave in (64.0, 160.0, 464.0):
        running = shared.get()
        entries = (replace(mix.entries[0], leave=leave), *mix.entries[1:])
        with At(running.port, replace(mix, entries=entries)) as at:
            until(lambda at=at: at.plays() == "a" and at.player.state.stage == "ready")
            running.child_named("control").kill()
            deck = deck_of(running, "b")
            if deck == "B" and meeting(running, "A", "B") == pytest.approx(leave - 8.0, abs=0.01):
                yield running, at
                return
    raise AssertionError("the next track never came when it was planned")


def test_control_dies_and_then_the_whole_server_and_the_mix_goes_on(
    shared: SharedServer, tmp_path: Path
) -> None:
    with control_replaced(shared, tmp_path) as (running, at):
        # The engine has played on, and the DJ has gone on with the new control.
        assert not at.session.link.anew
        until(lambda: at.plays() == "b" and at.player.state.stage == "ready")
        until(lambda: float(at.session.link.deck("B", "beat")) > 33.0)
        everything = [psutil.Process(running.process.pid), *running.children()]
        earliest = float(at.session.link.deck("B", "beat"))
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended with its parent
                process.kill()
        running.process.wait()
        until(lambda: all(ended(process) for process in everything))
        latest = float(at.session.link.deck("B", "beat"))
        with server(tmp_path, *OPTIONS, "--port", str(running.port)) as other:
            until(lambda: other.client.status()["deck.A.state"] == "playing")
            # With the track that was heard, from the phrase in which it was heard.
            until(lambda: at.plays() == "b")
            status = other.client.status()
            assert status["deck.A.track"] == "b" and status["bpm"] == pytest.approx(BPM)
            assert abs(status["deck.A.phase"]) < 1e-3
            # And the set from there on.
            heard = at.player.state.mix
            assert heard is not None
            enter = heard.entries[0].enter
            assert enter % 16.0 == 0.0 and earliest - 32.0 < enter <= latest
            assert status["deck.A.beat"] >= enter
            place = place_of(heard, 0)
            left = place.going + at.player.state.offset - float(status["beat"])
            assert LEAVE - 8.0 - float(status["deck.A.beat"]) == pytest.approx(left, abs=0.01)
            assert coming(at) == "cd"
            until(lambda: at.player.state.stage == "ready")
            assert other.client.status()["deck.A.state"] == "playing"
