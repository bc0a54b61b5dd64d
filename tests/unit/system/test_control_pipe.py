"""The pipe from control to the process of an optional part."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from crowdstream.system.control_pipe import Ended, is_asked, serve


@pytest.fixture
def control() -> Iterator[int]:
    """The writing end of standard input; closing it is the test's."""
    kept = os.dup(0)
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    yield writer
    os.dup2(kept, 0)
    os.close(kept)


class Counter:
    """Keeps its messages; closes the pipe in a later turn."""

    def __init__(self, control: int) -> None:
        self.control = control
        self.messages: list[dict[str, Any]] = []
        self.turns = 0
        self.closed = False
        self.wake_fd, self.wake = os.pipe()

    def handle(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def turn(self) -> float:
        self.turns += 1
        if self.turns == 3:
            os.close(self.control)
        return time.monotonic()

    def close(self) -> None:
        self.closed = True
        os.close(self.wake_fd)
        os.close(self.wake)


def test_a_worker_outlives_a_control_that_died_in_the_middle_of_a_line(control: int) -> None:
    os.write(control, b'{"do": 1}\n{"do": \n\n[1]\n{"do": 2}\n{"do')
    worker = Counter(control)
    serve(worker)
    assert worker.messages == [{"do": 1}, {"do": 2}]
    assert worker.turns >= 3 and worker.closed


def test_a_request_is_noticed_and_so_is_the_end(control: int) -> None:
    assert not is_asked(0.0)
    os.write(control, b"\n")
    assert not is_asked(0.0), "another control ends the line of its predecessor"
    os.write(control, b'{"do": "report"}\n')
    assert is_asked(60.0)
    os.close(control)
    with pytest.raises(Ended):
        is_asked(60.0)
