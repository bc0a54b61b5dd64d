"""Capture processes as seen by control: reports, deaths and successors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from crowdstream.control.processes.captures import capture_processes
from crowdstream.control.processes.child import ChildError
from crowdstream.control.processes.supervised import (
    HANG_SECONDS,
    MAX_UNSENT,
    MIN_RESTART_DELAY,
)
from crowdstream.desk.constants import TAP_MUSIC
from crowdstream.desk.inputs import InputWriter
from crowdstream.desk.ramps import RAMP_INPUT_MUTE
from crowdstream.desk.taps import CAPTURES, request_tap
from tests.support.fake_process import FakeProcess
from tests.support.offline_server import Rig, write
from tests.unit.control.handlers.test_inputs import silence

OPENED = {"event": "opened", "device": "Mic", "rate": 48000.0, "latency": 0.01, "note": ""}


class Starter:
    """Starts processes, and keeps them."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.refuses = False

    def __call__(self, number: int, device: str) -> FakeProcess:
        if self.refuses:
            raise ChildError("can't start: no memory")
        assert (number, device) == (0, "Mic")
        self.processes.append(FakeProcess())
        return self.processes[-1]


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server with one input, which carries nothing yet."""
    path = write(tmp_path_factory.mktemp("input") / "input.wav", silence(0.1))
    with Rig(inputs=[path]) as rig:
        rig.send("/notify", 1)
        yield rig


def told(rig: Rig) -> list[Any]:
    return [values[1] for values in rig.heard("/input")]


def kinds(rig: Rig) -> list[str]:
    return [event.kind for event in rig.core.events.latest()]


def test_the_reports_of_a_process_reach_the_subscribers_and_the_event_log(rig: Rig) -> None:
    starter = Starter()
    (capture,) = capture_processes(
        rig.desk, rig.core.live_inputs, ["Mic"], starter, rig.core.monotonic
    )
    capture.tick()
    (process,) = starter.processes
    assert capture.pids == {"input1": 4711}
    process.messages = [{"event": "lost", "reason": "no device"}] * 3
    capture.tick()
    process.messages = [OPENED, OPENED]
    capture.tick()
    assert told(rig) == ["lost", "found"] and kinds(rig) == ["input_lost", "input_found"]
    assert rig.status()["input.1.device"] == "Mic"
    capture.close()
    assert process.stopped and capture.pids == {}


def test_a_process_that_dies_is_started_again_after_a_pause(rig: Rig) -> None:
    starter = Starter()
    now = 1000.0
    (capture,) = capture_processes(rig.desk, rig.core.live_inputs, ["Mic"], starter, lambda: now)
    capture.tick()
    starter.processes[0].messages = [OPENED]
    capture.tick()
    request_tap(rig.desk, TAP_MUSIC, CAPTURES)
    starter.processes[0].finished = True
    capture.tick()
    assert int(rig.desk.taps["on"][TAP_MUSIC]) == 0, "the tap of the dead process stays on"
    assert told(rig) == ["found", "lost"] and capture.pids == {}
    capture.tick()
    assert len(starter.processes) == 1
    now += MIN_RESTART_DELAY
    starter.refuses = True
    capture.tick()
    now += 2 * MIN_RESTART_DELAY
    starter.refuses = False
    capture.tick()
    assert len(starter.processes) == 2


def test_a_successor_of_control_asks_for_the_state(rig: Rig) -> None:
    starter = Starter()
    (capture,) = capture_processes(
        rig.desk, rig.core.live_inputs, ["Mic"], starter, rig.core.monotonic
    )
    process = FakeProcess()
    capture.adopt(process)
    assert process.sent == [{"do": "report"}]
    capture.tick()
    assert starter.processes == []


def test_a_process_that_reads_nothing_is_killed_and_started_again(rig: Rig) -> None:
    starter = Starter()
    now = 1000.0
    (capture,) = capture_processes(rig.desk, rig.core.live_inputs, ["Mic"], starter, lambda: now)
    capture.tick()
    assert capture.due() == math.inf
    starter.processes[0].unsent = MAX_UNSENT + 1
    assert capture.due() == 0.0
    capture.tick()
    assert starter.processes[0].stopped and capture.due() == now + MIN_RESTART_DELAY
    capture.enable(False)
    assert capture.due() == math.inf
    capture.enable(True)
    capture.tick()
    assert len(starter.processes) == 2 and capture.runs


def test_a_process_that_does_not_answer_is_killed_and_started_again(rig: Rig) -> None:
    starter = Starter()
    now = 1000.0
    (capture,) = capture_processes(rig.desk, rig.core.live_inputs, ["Mic"], starter, lambda: now)

    def ticks(seconds: float) -> None:
        nonlocal now
        end = now + seconds
        while now < end:
            now += 0.2
            capture.tick()

    ticks(2.0 * HANG_SECONDS)
    (process,) = starter.processes
    assert process.sent == [], "its device is still being opened"
    process.messages = [OPENED]
    ticks(0.9 * HANG_SECONDS)
    assert process.sent == [{"do": "report"}]
    process.messages = [OPENED]
    ticks(0.9 * HANG_SECONDS)
    assert len(process.sent) == 2
    now += HANG_SECONDS
    capture.tick()
    assert not process.finished, "the machine stood still"
    ticks(0.1 * HANG_SECONDS)
    assert process.stopped and told(rig) == ["found", "lost"]
    ticks(1.0)
    assert len(starter.processes) == 2


def test_feedback_mutes_the_input_until_somebody_opens_it(rig: Rig) -> None:
    inputs = rig.core.live_inputs
    InputWriter(rig.desk, 0).start(48000.0, 480)
    inputs.opened(0, OPENED)
    for _ in range(3):
        inputs.feedback(0, 0.8)
    rig.run(4096)
    assert float(rig.desk.ramps["value"][RAMP_INPUT_MUTE]) == 0.0
    assert rig.status()["input.1.state"] == "feedback"
    assert told(rig) == ["found", "feedback"] and kinds(rig)[-1] == "feedback"
    rig.send("/input/1/mute", 0)
    rig.run(4096)
    assert float(rig.desk.ramps["value"][RAMP_INPUT_MUTE]) == 1.0
    rig.send("/input/1/guard", 0)
    inputs.feedback(0, 0.8)
    rig.run(4096)
    assert float(rig.desk.ramps["value"][RAMP_INPUT_MUTE]) == 1.0
    assert kinds(rig).count("feedback") == 1


def test_feedback_mutes_the_input_at_once(rig: Rig) -> None:
    """The loop of control calls `engine_events` in each turn; a tick may be 0.2 s away."""
    rig.core.live_inputs.feedback(0, 0.8)
    rig.core.engine_events()
    rig.render(512)
    assert float(rig.desk.ramps["target"][RAMP_INPUT_MUTE]) == 0.0


def test_an_input_that_is_muted_already_is_left_alone(rig: Rig) -> None:
    rig.send("/input/1/mute", 1)
    rig.core.live_inputs.feedback(0, 0.8)
    assert "feedback" not in told(rig) and rig.status()["input.1.state"] != "feedback"


def test_a_tone_that_grows_mutes_the_input_until_it_is_judged(rig: Rig) -> None:
    inputs = rig.core.live_inputs
    InputWriter(rig.desk, 0).start(48000.0, 480)
    inputs.opened(0, OPENED)

    def opens() -> float:
        rig.run(4096)
        return float(rig.desk.ramps["value"][RAMP_INPUT_MUTE])

    inputs.howling(0, "howling", 900.0)
    assert opens() == 0.0 and "feedback" not in kinds(rig)
    inputs.howling(0, "whistles", 900.0)
    assert opens() == 1.0 and "feedback" not in kinds(rig)
    inputs.howling(0, "howling", 900.0)
    inputs.howling(0, "howls", 900.0)
    assert opens() == 0.0
    assert told(rig) == ["found", "feedback"] and kinds(rig)[-1] == "feedback"
    assert rig.status()["input.1.state"] == "feedback"
    rig.send("/input/1/mute", 0)
    inputs.howling(0, "howls", 900.0)  # of an earlier suspicion
    assert opens() == 1.0 and kinds(rig).count("feedback") == 1
    inputs.howling(0, "howling", 900.0)
    inputs.lost(0, "its process has died")
    assert opens() == 1.0, "nobody refutes the suspicion any more"


def test_a_muted_or_unguarded_input_is_not_muted_on_suspicion(rig: Rig) -> None:
    inputs = rig.core.live_inputs
    rig.send("/input/1/mute", 1)
    inputs.howling(0, "howling", 900.0)
    inputs.howling(0, "whistles", 900.0)
    rig.run(4096)
    assert float(rig.desk.ramps["value"][RAMP_INPUT_MUTE]) == 0.0, "somebody has muted it"
    rig.send("/input/1/mute", 0)
    rig.send("/input/1/guard", 0)
    inputs.howling(0, "howling", 900.0)
    rig.run(4096)
    assert float(rig.desk.ramps["value"][RAMP_INPUT_MUTE]) == 1.0
