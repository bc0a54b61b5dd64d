"""A listener who is slow gets fewer bits, is told, gets them back, or is let go; nobody waits."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.web.streaming.chunks import Chunk
from crowdstream.web.streaming.formats import LADDERS
from crowdstream.web.streaming.listener import (
    FULL_SECONDS,
    GIVE_UP_SECONDS,
    RECOVER_SECONDS,
    Listener,
)

SIZE, RATE = 882, 44100
SAMPLES = np.zeros((SIZE, 2), np.float32)


class Way:
    """The way to a listener: `seconds` of sound get through in a second; they report at once."""

    def __init__(self) -> None:
        self.listener = Listener(LADDERS["pcm16"])
        self.chunks = 0
        self.texts: list[str] = []
        self.arrived: list[int] = []
        self._credit = 0.0
        self.now = 0.0

    def pass_time(self, seconds: float, through: float, delay: int = 2) -> None:
        for _ in range(round(seconds * 50)):
            chunk = Chunk(SAMPLES, self.chunks * SIZE, RATE, 0.0)
            self.listener.offer(chunk, lambda name, _: name.encode(), self.now)
            self.now += 0.02
            self.chunks += 1
            self._credit = min(5.0, self._credit + through)
            self._take()
            if self.chunks % 10 == 0 and len(self.arrived) > delay:
                self.listener.have(self.arrived[-delay])

    def _take(self) -> None:
        outbox = self.listener.outbox
        while not outbox.empty():
            if self._credit < 1.0:
                return
            item = outbox.get_nowait()
            if isinstance(item, dict):
                self.texts.append(str(item["format"]))
            else:
                self._credit -= {b"pcm16": 1.0, b"mulaw": 0.5, b"mulaw-mono": 0.25}[item[0]]
                self.listener.handed_over = item[1]
                self.arrived.append(item[1])


def test_one_who_keeps_up_gets_everything() -> None:
    way = Way()
    way.pass_time(60, through=1.5)
    assert way.texts == [] and way.listener.skipped == 0
    assert len(way.arrived) == 3000


def test_a_long_way_is_not_a_slow_one() -> None:
    way = Way()
    way.pass_time(60, through=1.5, delay=35)  # 0.7 s until a report
    assert way.texts == [] and way.listener.skipped == 0


def stall(way: Way, seconds: float) -> None:
    """Their computer does nothing for so long: it reads nothing, and reports nothing."""
    for _ in range(round(seconds * 50)):
        chunk = Chunk(SAMPLES, way.chunks * SIZE, RATE, 0.0)
        way.listener.offer(chunk, lambda name, _: name.encode(), way.now)
        way.now += 0.02
        way.chunks += 1


def report(way: Way, held: float) -> None:
    """They read what is there, and report."""
    way._credit = 1e6
    way._take()
    way.listener.have(way.arrived[-1], held)


def tick(way: Way, seconds: float, held: float) -> None:
    """They keep up, and say what they were held up by."""
    for _ in range(round(seconds * 5)):
        stall(way, 0.2)
        report(way, held)


@pytest.mark.parametrize("seconds", [0.6, 1.2, 1.8])
def test_a_slow_computer_is_not_a_slow_connection(seconds: float) -> None:
    way = Way()
    tick(way, 3, 0.0)
    for _ in range(5):
        stall(way, seconds)
        report(way, seconds)
        tick(way, 1, seconds)
    assert way.texts == [] and way.listener.format == "pcm16"


def test_one_who_was_held_up_for_long_gets_back_what_was_taken() -> None:
    way = Way()
    tick(way, 3, 0.0)
    stall(way, 4.0)
    report(way, 4.0)
    way._take()
    assert way.texts == ["mulaw", "pcm16"] and way.listener.format == "pcm16"


def test_a_slow_connection_is_found_though_they_say_what_holds_them_up() -> None:
    way = Way()
    tick(way, 3, 0.0)
    stall(way, 0.6)
    report(way, 0.0)  # late, and not by their computer
    stall(way, 0.6)
    way._take()
    assert way.texts == ["mulaw"]


def test_being_held_up_a_little_excuses_no_slow_connection() -> None:
    way = Way()
    tick(way, 3, 0.0)
    for _ in range(10):
        stall(way, 1.0)
        report(way, 0.2)
    assert way.texts[:1] == ["mulaw"]


def test_one_who_says_nothing_any_more_gets_fewer_bits_even_so() -> None:
    way = Way()
    tick(way, 3, 0.0)
    stall(way, 0.4 + 1.5 + 0.4)
    way._credit = 1e6
    way._take()
    assert way.texts == ["mulaw"]


def test_a_server_that_stalls_does_not_blame_its_listeners() -> None:
    way = Way()
    way.pass_time(5, through=5.0)
    for _ in range(50):  # a second of sound at once
        chunk = Chunk(SAMPLES, way.chunks * SIZE, RATE, 0.0)
        way.listener.offer(chunk, lambda name, _: name.encode(), way.now)
        way.chunks += 1
    way.pass_time(5, through=5.0)
    assert way.texts == [] and way.listener.skipped == 0


def test_fewer_bits_and_later_more_again() -> None:
    way = Way()
    way.pass_time(15, through=0.7)
    assert way.texts == ["mulaw"] and way.listener.closing is None
    skipped = way.listener.skipped
    way.pass_time(RECOVER_SECONDS, through=2.0)
    assert way.texts == ["mulaw", "pcm16"]
    assert way.listener.skipped == skipped


def test_tries_that_fail_become_rarer() -> None:
    way = Way()
    way.pass_time(300, through=0.7)
    tries = way.texts.count("pcm16")
    assert 2 <= tries <= 4  # after 20, 40, 80 s and so on
    assert way.listener.closing is None


def test_one_who_gets_nothing_is_let_go_and_what_waits_is_bounded() -> None:
    way = Way()
    way.pass_time(5, through=0.0)
    assert way.listener.outbox.qsize() <= FULL_SECONDS * 50 + 2 * GIVE_UP_SECONDS + 10
    assert way.listener.closing is None
    way.pass_time(GIVE_UP_SECONDS + 2, through=0.0)
    assert way.listener.outbox.qsize() <= FULL_SECONDS * 50 + 2 * GIVE_UP_SECONDS + 10
    assert "too slow" in str(way.listener.closing)


def test_one_who_reports_only_what_comes_is_not_waited_for_in_vain() -> None:
    way = Way()
    way.pass_time(3, through=0.0)
    arrived = len(way.arrived)
    way.pass_time(5, through=2.0)
    assert len(way.arrived) > arrived + 200
    assert way.listener.closing is None


@pytest.mark.parametrize("lie", [10**15, -5])
def test_who_lies_about_what_has_arrived_gains_nothing(lie: int) -> None:
    listener = Listener(LADDERS["pcm16"])
    for number in range(2000):
        chunk = Chunk(SAMPLES, number * SIZE, RATE, 0.0)
        listener.offer(chunk, lambda name, _: name.encode(), number / 50)
        listener.have(lie)
    assert listener.outbox.qsize() <= FULL_SECONDS * 50 + 2 * GIVE_UP_SECONDS + 10
    assert listener.closing is not None
