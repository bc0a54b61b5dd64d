"""Lights as seen by control: commands, reports, the process, and the state of a successor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from crowdstream.control.peers.lights import lights_process
from crowdstream.control.processes.supervised import MIN_RESTART_DELAY, SupervisedProcess
from crowdstream.desk.constants import TAP_MASTER
from crowdstream.desk.taps import LIGHTS, request_tap
from tests.support.fake_process import FakeProcess
from tests.support.offline_server import Rig, level, write
from tests.unit.control.state.test_snapshotter import RestartableRig

TARGET, OTHER = "sacn://multicast/1", "os2l://10.0.0.9:9996"


class Starter:
    """Starts processes, and keeps them."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.now = 1000.0

    def __call__(self) -> FakeProcess:
        self.processes.append(FakeProcess())
        return self.processes[-1]

    def supervise(self, rig: Rig) -> SupervisedProcess:
        """Supervise the lights of a server."""
        return lights_process(rig.core.lights, self, lambda: self.now)


def outputs(state: str, reason: str = "", **counts: int) -> dict[str, Any]:
    """A report about the target."""
    counters = {"sent": 0, "lost": 0, "failures": 0, **counts}
    one = {"target": TARGET, "state": state, "reason": reason, **counters}
    return {"event": "outputs", "outputs": [one, {**one, "target": "gone"}]}


def test_a_process_runs_while_there_are_targets() -> None:
    with Rig() as rig:
        starter = Starter()
        process = starter.supervise(rig)
        process.tick()
        assert starter.processes == [] and process.due() == math.inf
        rig.send("/lights/add", TARGET)
        rig.send("/lights/lead", 40.0)
        process.tick()
        (first,) = starter.processes
        assert first.sent == [
            {"do": "targets", "targets": [TARGET], "lead": 0.04},
            {"do": "music", "meter": 4, "tracks": []},
        ]
        rig.send("/lights/add", OTHER)
        rig.send("/lights/add", OTHER)
        assert first.sent[-1] == {"do": "targets", "targets": [TARGET, OTHER], "lead": 0.04}
        rig.send("/lights/remove", OTHER)
        rig.send("/lights/remove")
        assert first.stopped and not process.runs
        assert rig.fails() == []


def test_the_process_learns_which_tracks_play(tmp_path: Path) -> None:
    with Rig(lights=(TARGET,)) as rig:
        starter = Starter()
        starter.supervise(rig).tick()
        path = write(tmp_path / "track.wav", level(4))
        rig.send("/deck/A/load", str(path))
        rig.run(1024)
        rig.send("/deck/A/play")
        rig.run(2048)
        (track,) = rig.core.voice_allocator.sounding()
        sent = starter.processes[0].sent
        rig.core.lights.tick()
        tracks = [[track.voice, track.number, [str(path)]]]
        assert sent[-1] == {"do": "music", "meter": 4, "tracks": tracks}
        count = len(sent)
        rig.run(4096)
        assert len(sent) == count
        rig.send("/clock/meter", 3)
        rig.core.lights.tick()
        assert sent[-1]["meter"] == 3


def test_a_target_that_fails_is_reported_once_and_when_it_is_back() -> None:
    with Rig(lights=(TARGET,)) as rig:
        rig.send("/notify", 1)
        starter = Starter()
        process = starter.supervise(rig)
        process.tick()
        first = starter.processes[0]
        first.messages = [
            outputs("searching"), outputs("failed", "no\nroute"), outputs("failed", "no route"),
            outputs("sending", sent=10, failures=1), {"event": "other"},
        ]
        process.tick()
        assert rig.heard("/lights") == [(TARGET, "lost", "no\\nroute"), (TARGET, "found", "")]
        kinds = [event.kind for event in rig.core.events.latest()]
        assert kinds == ["lights_lost", "lights_found"]
        status = rig.status()
        assert (status["lights_outputs"], status["lights_sending"]) == (1, 1)
        assert (status["lights_sent"], status["lights_failures"]) == (10, 1)
        rig.send("/lights/list")
        assert rig.heard("/lights/list.reply") == [(TARGET, "sending", "", 10, 0, 1)]


def test_a_process_that_dies_is_replaced_and_its_tap_is_released() -> None:
    with Rig(lights=(TARGET,)) as rig:
        starter = Starter()
        process = starter.supervise(rig)
        process.tick()
        starter.processes[0].messages = [outputs("sending", sent=10)]
        process.tick()
        request_tap(rig.desk, TAP_MASTER, LIGHTS)
        starter.processes[0].finished = True
        process.tick()
        assert not rig.desk.taps["on"].any()
        assert rig.core.lights.outputs()[0]["state"] == "failed"
        starter.now += MIN_RESTART_DELAY
        process.tick()
        assert starter.processes[1].sent[0]["targets"] == [TARGET]
        starter.processes[1].messages = [outputs("sending", sent=5)]
        process.tick()
        assert rig.status()["lights_sent"] == 15, "counters never fall"
        rig.send("/lights/remove", TARGET)
        assert rig.status()["lights_sent"] == 15


def test_wrong_targets_are_refused_with_the_reason() -> None:
    with Rig() as rig:
        rig.send("/lights/add", "dmx://1")
        assert "dmx://1: it must begin with os2l" in rig.fails()[-1]
        rig.send("/lights/remove", TARGET)
        assert f"{TARGET} is no target; targets: none" in rig.fails()[-1]
        rig.send("/lights/lead", 5000.0)
        assert "out of range" in rig.fails()[-1]
        for number in range(1, 9):
            rig.send("/lights/add", f"sacn://multicast/{number}")
        assert len(rig.fails()) == 3
        rig.send("/lights/add", OTHER)
        assert "8 targets are the maximum" in rig.fails()[-1]


def test_strangers_cannot_add_targets() -> None:
    with Rig() as rig:
        rig.send("/lights/add", TARGET, sender=("203.0.113.5", 5000))
        assert rig.core.lights.targets == []


def test_a_successor_of_control_continues() -> None:
    rig = RestartableRig()
    with rig:
        rig.send("/lights/add", TARGET)
        rig.send("/lights/lead", -20.0)
        rig.note()
        rig.restart_control()
        assert rig.core.lights.targets == [TARGET] and rig.core.lights.lead == -0.02
        starter = Starter()
        process = starter.supervise(rig)
        adopted = FakeProcess()
        process.adopt(adopted)
        rig.core.lights.tick()
        assert [one["do"] for one in adopted.sent] == ["report", "targets", "music"]
