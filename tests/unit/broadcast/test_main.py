"""The broadcast process: what it does with control's messages and with the master."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crowdstream.broadcast.main import SILENCE_SECONDS, Distributor
from crowdstream.broadcast.outputs import Output

RATE = 48000.0
BLOCK = np.full((4800, 2), 0.5, np.float32)


class Idle(Output):
    """An output that connects to nothing."""

    def session(self) -> None:
        """Wait for the end."""
        self.take_frames()
        self._stop.wait()


class Made(Distributor):
    """A distributor with outputs that connect to nothing, and a clock of the test."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.now = 1000.0
        super().__init__(RATE, self.reports.append, lambda: self.now)

    def _make(self, number: int, target: Any, roots: list[Path]) -> Output:
        made = Idle(number, target, self.rate, self._report)
        made.takes_frames = True
        return made

    @property
    def outputs(self) -> dict[int, Output]:
        """The outputs by number."""
        return self._outputs


@pytest.fixture
def made() -> Iterator[Made]:
    distributor = Made()
    distributor.handle({"do": "start", "id": 1, "url": "snapcast://127.0.0.1:1"})
    yield distributor
    distributor.finish()


def queued(distributor: Made) -> np.ndarray:
    output = distributor.outputs[1]
    parts = []
    while (block := output.queue.get(0.0)) is not None:
        parts.append(block)
    return np.concatenate(parts) if parts else np.empty((0, 2))


def test_lost_frames_become_silence_of_the_same_length(made: Made) -> None:
    queued(made)
    made.feed(0, BLOCK)
    made.feed(1000, BLOCK)
    frames = queued(made)
    assert len(frames) == 2 * len(BLOCK) + 1000 and made.lost == 1000
    assert not frames[len(BLOCK) : len(BLOCK) + 1000].any()


def test_silence_replaces_an_engine_that_delivers_nothing(made: Made) -> None:
    queued(made)
    nothing = BLOCK[:0]
    made.feed(0, BLOCK)
    made.now += SILENCE_SECONDS / 2
    made.feed(0, nothing)
    assert len(queued(made)) == len(BLOCK), "a block that is late is not replaced"
    made.now += SILENCE_SECONDS
    made.feed(0, nothing)
    assert len(queued(made)) == round(1.5 * SILENCE_SECONDS * RATE)
    made.resume()
    made.feed(0, nothing)
    assert len(queued(made)) == 0


def test_all_replaces_what_control_does_not_know(made: Made) -> None:
    first = made.outputs[1]
    wanted = [{"id": 1, "url": "snapcast://127.0.0.1:1"}, {"id": 3, "url": "pipe:/run/none"}]
    made.handle({"do": "start", "id": 2, "url": "snapcast://127.0.0.1:2"})
    made.handle({"do": "all", "broadcasts": wanted})
    assert set(made.outputs) == {1, 3} and made.outputs[1] is first
    made.handle({"do": "all", "broadcasts": []})
    assert made.idle


def test_a_title_reaches_present_and_later_outputs(made: Made) -> None:
    made.handle({"do": "title", "artist": "A", "title": "T"})
    made.handle({"do": "start", "id": 2, "url": "snapcast://127.0.0.1:2"})
    assert [one.title for one in made.outputs.values()] == [("A", "T")] * 2


def test_states_are_reported_when_they_change_or_control_asks(made: Made) -> None:
    made.report_counters()
    made.report_counters()
    assert len(made.reports) == 1
    made.handle({"do": "report"})
    made.report_counters()
    assert made.reports[0] == made.reports[1]


def test_hls_names_the_package_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    reports: list[dict[str, Any]] = []
    Distributor(RATE, reports.append).handle({"do": "start", "id": 1, "url": f"hls:{tmp_path}"})
    assert reports[0]["state"] == "failed" and "HLS needs PyAV: install it" in reports[0]["reason"]


def test_an_output_that_cannot_be_made_has_failed(tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    distributor = Distributor(RATE, reports.append)
    distributor.handle({"do": "start", "id": 4, "url": "nonsense:/x"})
    assert reports[0]["state"] == "failed" and reports[0]["id"] == 4
    assert distributor.idle
