"""The JACK process as seen by control."""

from __future__ import annotations

from typing import Any

import pytest

from crowdstream.desk.constants import TAP_MASTER
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.desk.taps import JACK, request_tap
from tests.support.fake_process import FakeProcess
from tests.support.offline_server import Rig, count, write

OPENED = {"event": "opened", "name": "crowdstream", "rate": 44100.0, "frames": 256, "ports": 2}


class Processes:
    """Starts JACK processes, and keeps them and their requests."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.requests: list[dict[str, Any]] = []
        self.processes: list[FakeProcess] = []
        self.device = "built-in clock"
        self.one = rig.core.jack.supervise(self.start, self.info)

    def start(self, request: dict[str, Any]) -> FakeProcess:
        self.requests.append(request)
        self.processes.append(FakeProcess())
        return self.processes[-1]

    def info(self) -> StreamInfo:
        return StreamInfo("pyaudio", self.device, 44100.0, 256, 0.01)

    def report(self, *messages: dict[str, Any]) -> None:
        self.processes[-1].messages = list(messages)
        self.one.tick()

    def jack(self, name: str = "jack") -> Any:
        return self.rig.status()[name]


@pytest.fixture
def jack(rig: Rig) -> Processes:
    return Processes(rig)


def test_nothing_runs_until_ports_are_offered(jack: Processes) -> None:
    jack.one.tick()
    assert jack.processes == [] and jack.jack() == "off"
    jack.rig.send("/jack/ports", "decks", "cue", "decks")
    jack.one.tick()
    assert jack.requests[0]["groups"] == ("decks", "cue") and jack.jack() == "searching"
    jack.report(OPENED, {"event": "counters", "connected": 3, "gaps": 1, "ppm": 12.5})
    assert (jack.jack(), jack.jack("jack_ports"), jack.jack("jack_connected")) == ("running", 2, 3)
    assert (jack.jack("jack_gaps"), jack.jack("jack_drift_ppm")) == (1, 12.5)
    jack.rig.send("/jack/ports")
    assert jack.processes[0].stopped and jack.jack() == "off" and jack.jack("jack_ports") == 0
    jack.rig.send("/jack/ports", "kazoo")
    assert "kazoo" in jack.rig.heard("/fail")[-1][1]


def test_connections_survive_other_ports_and_the_process(jack: Processes) -> None:
    jack.rig.send("/jack/ports", "decks")
    jack.one.tick()
    held = {"deck_A_1": ["ardour:in 1"]}
    jack.report(OPENED, {"event": "connections", "connections": held})
    jack.rig.send("/jack/ports", "decks", "stems")
    jack.one.tick()
    assert jack.requests[1]["connections"] == held
    request_tap(jack.rig.desk, TAP_MASTER, JACK)
    jack.processes[1].finished = True
    jack.one.tick()
    assert int(jack.rig.desk.taps["on"][TAP_MASTER]) == 0
    assert jack.jack() == "searching"


def test_a_server_that_ends_is_reported_once(jack: Processes) -> None:
    jack.rig.send("/jack/ports", "cue")
    jack.one.tick()
    jack.report(OPENED)
    jack.report(*[{"event": "lost", "reason": "the JACK server has ended"}] * 3)
    jack.report({"event": "lost", "reason": "no JACK server is running"})
    events = [event for event in jack.rig.core.events.latest() if event.kind == "jack"]
    assert len(events) == 1 and "has ended" in events[0].text


def test_the_clock_of_the_engine_decides_whether_frames_are_copied(jack: Processes) -> None:
    jack.rig.send("/jack/ports", "cue")
    jack.one.tick()
    assert jack.requests[-1]["locked"] is False
    jack.device = "system (JACK Audio Connection Kit)"
    jack.rig.core.jack.stream_changed(jack.info())
    jack.one.tick()
    assert jack.requests[-1]["locked"] is True
    jack.rig.core.jack.stream_changed(jack.info())
    jack.one.tick()
    assert len(jack.requests) == 2


def test_decks_and_tempo_follow_the_transport(jack: Processes, tmp_path: Any) -> None:
    rig = jack.rig
    rig.send("/deck/A/load", str(write(tmp_path / "track.wav", count(20))))
    rig.run(2048)

    def transport(rolling: bool, bpm: float = 0.0) -> None:
        jack.report({"event": "transport", "rolling": rolling, "bpm": bpm})
        rig.run(8192)

    rig.send("/jack/transport", 1)
    jack.one.tick()
    assert jack.requests[-1]["transport"] is True
    transport(True)  # it rolled before this server joined
    assert rig.status()["deck.A.state"] == "ready"
    transport(False)
    transport(True, 93.0)
    assert rig.status()["deck.A.state"] == "playing" and rig.status()["bpm_target"] == 93.0
    assert jack.jack("jack_transport") == "rolling"
    rig.send("/clock/tempo", 100.0)
    transport(True, 93.0)  # nothing new
    assert rig.status()["bpm_target"] == 100.0
    transport(False, 93.0)
    assert rig.status()["deck.A.state"] == "ready"


def test_a_successor_of_control_knows_what_is_offered(jack: Processes) -> None:
    jack.rig.send("/jack/ports", "stems")
    jack.one.tick()
    jack.report(OPENED, {"event": "connections", "connections": {"stem_A1_1": ["x:y"]}})
    state = jack.rig.core.jack.to_state()
    jack.rig.send("/jack/ports")
    jack.rig.core.jack.restore(state)
    assert jack.rig.core.jack.groups == ("stems",) and jack.jack() == "running"
