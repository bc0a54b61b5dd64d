"""The DJ on a real server: it plays on through bad files, people's hands, deaths of both."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.dj.live.chooser import Fixed
from crowdstream.dj.live.floor import Floor
from crowdstream.dj.live.link import Link
from crowdstream.dj.live.session import Session
from crowdstream.dj.sets import Entry, Row, Set, Transition
from tests.server import Running, server, until
from tests.support_control import RATE, write

BPM = 360.0  # a beat is a sixth of a second: a night passes quickly
BEATS = 64
WAY = Transition(
    "bass swap", 2, (Row(0, "in", "low", 0.0), Row(4, "out", "low", 0.0), Row(4, "in", "low", 1.0))
)


def made(folder: Path, names: str) -> Set:
    """A set of tracks of 64 beats; each is left after 48."""
    entries = []
    for number, name in enumerate(names):
        path = folder / f"{name}.wav"
        seconds = BEATS * 60.0 / BPM
        when = np.arange(round(seconds * RATE)) / RATE
        tone = 0.2 * np.sin(2 * np.pi * (220 + 110 * number) * when)
        write(path, np.stack([tone, tone], 1).astype(np.float32))
        anchors = ((0.0, 0.0), (1.0, 60.0 / BPM))
        last = number == len(names) - 1
        entries.append(Entry(str(path), anchors, 0.0, 48.0, transition=None if last else WAY))
    return Set(BPM, tuple(entries))


class At:
    """A DJ at work in a thread of its own."""

    def __init__(self, port: int, mix: Set) -> None:
        self.session = Session(Link("127.0.0.1", port), Fixed(mix), Floor(None))
        self.player = self.session.player
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.session.run, args=(self._ended.is_set,))
        self._thread.start()

    def end(self, goodbye: bool = True) -> None:
        if not goodbye:
            self.session.link.there = False  # nothing is sent any more
        self._ended.set()
        self._thread.join()

    def plays(self) -> str:
        """The track that has the floor."""
        player = self.player
        if player.mix is None or player.index < 0:
            return ""
        return Path(player.mix.entries[player.index].path).stem


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with server(tmp_path, "--driver", "null", "--base-bpm", str(BPM)) as one:
        yield one


def deck(running: Running, letter: str) -> dict[str, Any]:
    status = running.client.status()
    return {name: status[f"deck.{letter}.{name}"] for name in ("state", "track", "beat", "loop")}


def test_it_mixes_on_the_beat_and_leaves_a_bad_file_out(running: Running, tmp_path: Path) -> None:
    mix = made(tmp_path, "abc")
    Path(mix.entries[1].path).write_bytes(b"no sound at all")
    at = At(running.port, mix)
    try:
        until(lambda: at.plays() == "a")
        until(lambda: at.plays() == "c")
        assert mix.entries[1].path in at.player.banned
        status = running.client.status()
        assert status["deck.B.phase"] == pytest.approx(0.0, abs=1e-3)
        assert status["underruns_engine"] == 0
        until(lambda: at.player.finished)
    finally:
        at.end()


def test_a_person_has_a_deck_until_it_is_given_back(running: Running, tmp_path: Path) -> None:
    at = At(running.port, made(tmp_path, "ab"))
    try:
        until(lambda: at.plays() == "a" and at.player.stage == "ready")
        time.sleep(3.1)  # its own first seconds: what another DJ had sent may still act
        running.client.send("/deck/A/eq/mid", 0.5)
        until(lambda: "A" in at.player.hands)
        until(lambda: "person" in at.player.note)
        assert deck(running, "A")["state"] == "playing" and at.plays() == "a"
        assert running.client.status()["deck.A.mid"] == 0.5
        assert running.client.ask("/dj/give", "A", answer="/done") == ["/dj/give"]
        until(lambda: at.plays() == "b")
    finally:
        at.end()


def test_the_server_dies_and_the_mix_goes_on(tmp_path: Path) -> None:
    mix = made(tmp_path, "ab")
    with server(tmp_path, "--driver", "null", "--base-bpm", str(BPM)) as first:
        port = first.port
        at = At(port, mix)
        until(lambda: at.plays() == "a" and at.player.stage == "ready")
        first.process.kill()
        first.process.wait()
    try:
        until(lambda: not at.session.link.there)
        again = tmp_path / "again"
        again.mkdir()
        with server(again, "--driver", "null", "--base-bpm", str(BPM), "--port", str(port)) as two:
            # With the track that played, or the next one, had it been about to come.
            until(lambda: at.session.link.there and at.plays() != "")
            until(lambda: "playing" in {deck(two, letter)["state"] for letter in "ABCD"})
            until(lambda: at.player.finished)
    finally:
        at.end()


def test_a_dj_that_dies_is_followed_by_another(running: Running, tmp_path: Path) -> None:
    mix = made(tmp_path, "abc")
    one = At(running.port, mix)
    until(lambda: one.plays() == "a" and one.player.stage == "ready")
    time.sleep(1.0)  # it has said so
    one.player.holding = True
    one.end(goodbye=False)
    # Nobody is there: the phrase goes round.
    time.sleep(8.0)
    found = deck(running, "A")
    assert found["state"] == "playing" and found["loop"]
    two = At(running.port, mix)
    try:
        until(lambda: two.plays() != "")
        assert two.plays() == "a" and "goes on" in two.player.note
        until(lambda: two.plays() == "b")
        assert running.client.status()["deck.B.phase"] == pytest.approx(0.0, abs=1e-3)
    finally:
        two.end()
