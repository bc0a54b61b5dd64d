"""Rate-limited logging: a repeated line is written a few times, and then counted."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from typing import Any

import pytest

from crowdstream.logs.async_handler import AsyncHandler
from crowdstream.logs.throttle import MAX_KINDS, LogThrottle, print_line


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Target:
    """A throttle, the lines that it admits and its reports, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.throttle = LogThrottle(self.clock)
        self.lines: list[str] = []
        self.reports: list[logging.LogRecord] = []

    def log(self, text: str, *values: Any, level: int = logging.WARNING, name: str = "a") -> None:
        self.collect()
        record = logging.LogRecord(name, level, "", 0, text, values, None)
        if self.throttle.allows(record):
            self.lines.append(record.getMessage())

    def collect(self, all_of_them: bool = False) -> None:
        found = self.throttle.reports(all_of_them)
        self.reports += found
        self.lines += [record.getMessage() for record in found]

    def left_out(self) -> int:
        return sum(record.__dict__["data"]["left_out"] for record in self.reports)


@pytest.fixture
def target() -> Target:
    return Target()


def test_a_line_logged_thirty_times_a_second_is_throttled_and_counted(target: Target) -> None:
    for tick in range(96 * 30):
        target.clock.now = 100.0 + tick / 30
        port = 50000 + tick % 7
        target.log("%s from 127.0.0.1:%d: %s", "/dance/x", port, "unknown address")
    target.collect(all_of_them=True)
    written = len(target.lines) - len(target.reports)
    assert written == 5 + 3, "five, and then one in each window of 20, 40 and 80 s"
    assert len(target.reports) == 4
    assert written + target.left_out() == 96 * 30


def test_two_kinds_of_lines_do_not_limit_each_other(target: Target) -> None:
    for _ in range(100):
        target.log("%s: unknown address", "/a")
        target.log("%s: unknown address", "/b")
    assert target.lines.count("/a: unknown address") == 5
    assert target.lines.count("/b: unknown address") == 5
    target.log("%s: unknown address", "/a", name="b")
    target.log("%s: unknown address", "/a", level=logging.ERROR)
    assert len(target.lines) == 12


def test_a_flood_of_different_messages_from_one_place_is_limited(target: Target) -> None:
    for number in range(96 * 50):
        target.clock.now = 100.0 + number / 50
        target.log("%s: unknown address", "/" + "abcdefghij"[number % 10] * (number // 10 % 97))
    assert len(target.lines) - len(target.reports) <= 100 + 3 * 10


def test_infrequent_lines_are_always_written(target: Target) -> None:
    for number in range(200):
        target.clock.now += 10.0
        target.log("A: 0.5, B: 1.0", level=logging.INFO)
        target.log("the disk has %d MB left", number)
    assert len(target.lines) == 400
    assert not target.reports


def test_numbers_distinguish_lines_below_warnings(target: Target) -> None:
    for number in range(100):
        target.log("buffer %d is loaded", number, level=logging.INFO)
    assert len(target.lines) == 100
    for _ in range(100):
        target.log("buffer %d is loaded", 7, level=logging.INFO)
    assert len(target.lines) == 104


def test_after_a_flood_its_last_lines_are_reported_and_new_lines_written(
    target: Target,
) -> None:
    for _ in range(50):
        target.log("the disk is slow")
    assert target.throttle.due() == pytest.approx(10.0)
    target.clock.now += 10.0
    target.collect()
    [report] = target.reports
    assert report.getMessage() == "45 more lines like this in 10 s: the disk is slow"
    assert (report.levelno, report.name) == (logging.WARNING, "a")
    assert target.throttle.due() is None
    target.clock.now += 21.0
    target.collect()
    target.lines.clear()
    for _ in range(50):
        target.log("the disk is slow")
    assert len(target.lines) == 5


def test_memory_is_bounded_and_dropped_kinds_are_reported(target: Target) -> None:
    for _ in range(9):
        target.log("again", level=logging.INFO)
    for number in range(3 * MAX_KINDS):
        target.log("buffer %d", number, level=logging.INFO)
    assert len(target.throttle._windows) <= MAX_KINDS
    target.clock.now += 1.0
    target.collect()
    assert target.left_out() == 4


def test_a_handler_reports_dropped_lines_on_close_and_without_a_further_line() -> None:
    clock = Clock()
    lines: list[bytes] = []
    handler = AsyncHandler(lines.append, throttle=LogThrottle(clock))
    log = logging.Logger("flooded")
    log.addHandler(handler)
    for _ in range(20):
        log.warning("no such file")
    clock.now += 10.0
    log.info("later")
    for _ in range(20):
        log.warning("no such file")
    handler.close()
    assert lines == [
        *[b"no such file\n"] * 5,
        b"15 more lines like this in 10 s: no such file\n",
        b"later\n",
        b"no such file\n",
        b"19 more lines like this in 0 s: no such file\n",
    ]


def test_an_output_that_is_not_read_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as pipe, open(writer, "w", encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", output)
        print_line("beat 1")
        assert pipe.read(100) == b"beat 1\n"
        os.set_blocking(writer, False)
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        printing = threading.Thread(target=print_line, args=("beat 2",))
        printing.start()
        printing.join(5.0)
        stuck = printing.is_alive()
        while filled:  # which lets a stuck thread end
            filled -= len(pipe.read(filled))
        printing.join()
        assert not stuck
        print_line("beat 3")
        assert pipe.read(100) == b"beat 3\n"
