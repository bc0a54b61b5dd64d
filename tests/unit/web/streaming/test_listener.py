"""Adaptive bit rate: lowered for slow listeners, restored later; blocked ones are dropped."""

from __future__ import annotations

import numpy as np
import pytest

from crowdstream.web.streaming.broadcast import (
    FULL_SECONDS,
    GIVE_UP_SECONDS,
    RECOVER_SECONDS,
    Listener,
)
from crowdstream.web.streaming.encoding import LADDERS, Chunk

SIZE, RATE = 882, 44100
SAMPLES = np.zeros((SIZE, 2), np.float32)


class Way:
    """A connection: `through` seconds of sound pass per second; the listener reports at once."""

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


def test_a_fast_listener_receives_everything() -> None:
    way = Way()
    way.pass_time(60, through=1.5)
    assert way.texts == [] and way.listener.skipped == 0
    assert len(way.arrived) == 3000


def test_a_long_delay_does_not_count_as_slow() -> None:
    way = Way()
    way.pass_time(60, through=1.5, delay=35)  # a report takes 0.7 s
    assert way.texts == [] and way.listener.skipped == 0


def stall(way: Way, seconds: float) -> None:
    """Stall the listener's computer: it neither reads nor reports for `seconds`."""
    for _ in range(round(seconds * 50)):
        chunk = Chunk(SAMPLES, way.chunks * SIZE, RATE, 0.0)
        way.listener.offer(chunk, lambda name, _: name.encode(), way.now)
        way.now += 0.02
        way.chunks += 1


def report(way: Way, held: float) -> None:
    """Let the listener read everything and report."""
    way._credit = 1e6
    way._take()
    way.listener.have(way.arrived[-1], held)


def tick(way: Way, seconds: float, held: float) -> None:
    """Let the listener keep up, and report how long it stalled."""
    for _ in range(round(seconds * 5)):
        stall(way, 0.2)
        report(way, held)


@pytest.mark.parametrize("seconds", [0.6, 1.2, 1.8])
def test_a_stalled_computer_does_not_lower_the_bit_rate(seconds: float) -> None:
    way = Way()
    tick(way, 3, 0.0)
    for _ in range(5):
        stall(way, seconds)
        report(way, seconds)
        tick(way, 1, seconds)
    assert way.texts == [] and way.listener.format == "pcm16"


def test_the_bit_rate_is_restored_after_a_long_stall_of_the_computer() -> None:
    way = Way()
    tick(way, 3, 0.0)
    stall(way, 4.0)
    report(way, 4.0)
    way._take()
    assert way.texts == ["mulaw", "pcm16"] and way.listener.format == "pcm16"


def test_a_slow_connection_is_detected_despite_reports_of_stalls() -> None:
    way = Way()
    tick(way, 3, 0.0)
    stall(way, 0.6)
    report(way, 0.0)  # late, but not because of the computer
    stall(way, 0.6)
    way._take()
    assert way.texts == ["mulaw"]


def test_a_short_stall_does_not_excuse_a_slow_connection() -> None:
    way = Way()
    tick(way, 3, 0.0)
    for _ in range(10):
        stall(way, 1.0)
        report(way, 0.2)
    assert way.texts[:1] == ["mulaw"]


def test_a_listener_without_reports_gets_a_lower_bit_rate() -> None:
    way = Way()
    tick(way, 3, 0.0)
    stall(way, 0.4 + 1.5 + 0.4)
    way._credit = 1e6
    way._take()
    assert way.texts == ["mulaw"]


def test_stalls_of_the_server_do_not_lower_the_bit_rate() -> None:
    way = Way()
    way.pass_time(5, through=5.0)
    for _ in range(50):  # a burst of one second of sound
        chunk = Chunk(SAMPLES, way.chunks * SIZE, RATE, 0.0)
        way.listener.offer(chunk, lambda name, _: name.encode(), way.now)
        way.chunks += 1
    way.pass_time(5, through=5.0)
    assert way.texts == [] and way.listener.skipped == 0


def test_the_bit_rate_falls_and_recovers() -> None:
    way = Way()
    way.pass_time(15, through=0.7)
    assert way.texts == ["mulaw"] and way.listener.closing is None
    skipped = way.listener.skipped
    way.pass_time(RECOVER_SECONDS, through=2.0)
    assert way.texts == ["mulaw", "pcm16"]
    assert way.listener.skipped == skipped


def test_failed_recoveries_back_off() -> None:
    way = Way()
    way.pass_time(300, through=0.7)
    tries = way.texts.count("pcm16")
    assert 2 <= tries <= 4  # after 20, 40, 80 s and so on
    assert way.listener.closing is None


def test_a_blocked_listener_is_disconnected_and_its_queue_is_bounded() -> None:
    way = Way()
    way.pass_time(5, through=0.0)
    assert way.listener.outbox.qsize() <= FULL_SECONDS * 50 + 2 * GIVE_UP_SECONDS + 10
    assert way.listener.closing is None
    way.pass_time(GIVE_UP_SECONDS + 2, through=0.0)
    assert way.listener.outbox.qsize() <= FULL_SECONDS * 50 + 2 * GIVE_UP_SECONDS + 10
    assert "too slow" in str(way.listener.closing)


def test_a_full_listener_still_receives_probes() -> None:
    way = Way()
    way.pass_time(3, through=0.0)
    arrived = len(way.arrived)
    way.pass_time(5, through=2.0)
    assert len(way.arrived) > arrived + 200
    assert way.listener.closing is None


@pytest.mark.parametrize("lie", [10**15, -5])
def test_false_reports_do_not_enlarge_the_queue(lie: int) -> None:
    listener = Listener(LADDERS["pcm16"])
    for number in range(2000):
        chunk = Chunk(SAMPLES, number * SIZE, RATE, 0.0)
        listener.offer(chunk, lambda name, _: name.encode(), number / 50)
        listener.have(lie)
    assert listener.outbox.qsize() <= FULL_SECONDS * 50 + 2 * GIVE_UP_SECONDS + 10
    assert listener.closing is not None
