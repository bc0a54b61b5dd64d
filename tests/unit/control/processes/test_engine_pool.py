"""The engine pool: when engines start, and which notifications are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from crowdstream.commands.errors import Refused
from crowdstream.control.processes.buffer_resize import MAX_SECONDS
from crowdstream.control.processes.engine_pool import (
    AGAIN_PAUSE,
    FIRST_PAUSE,
    LEAVE_SECONDS,
    MAX_DEATHS,
    MAX_PAUSE,
    SHORT_SECONDS,
    STANDSTILL_SECONDS,
    EnginePool,
)
from crowdstream.desk.block import Desk
from crowdstream.desk.stream_info import DeviceError, StreamInfo
from crowdstream.settings import validate

CARD = StreamInfo("pyaudio", "card (ALSA)", 44100.0, 256, 0.01)
CLOCK = StreamInfo("null", "built-in clock", 44100.0, 256, 0.01)


class FakeChild:
    """A fake engine process that sends messages on demand."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.messages: list[dict[str, Any]] = []
        self.finished = False
        self.ended = False
        self.pid = 1000 + request["number"]
        self.out = -1
        self.last_words = "signal 9"
        self.heard: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        """Record a message to the engine."""
        self.heard.append(message)

    def read(self) -> list[dict[str, Any]]:
        """Return messages of the engine."""
        said, self.messages = self.messages, []
        return said

    def end(self, _seconds: float) -> None:
        """Stop it."""
        self.ended = True


class Stage:
    """An engine pool with a manual clock, and its notifications."""

    def __init__(self, desk: Desk, **settings: Any) -> None:
        self.now = 100.0
        self.children: list[FakeChild] = []
        self.told: list[Any] = []
        self.engines = EnginePool(
            desk, validate(**settings), lambda info, why: self.told.append((info.device, why)),
            self.told.append, self.launch, lambda: self.now,
        )  # fmt: skip
        self.engines.launch()
        self.engines.started({"ready": asdict(CARD)})

    def launch(self, request: dict[str, Any], _desk: Desk) -> Any:
        """Replace the start of a process."""
        self.children.append(FakeChild(request))
        return self.children[-1]

    def roles(self) -> list[str]:
        """Roles of the started engines, in order."""
        return [child.request["role"] for child in self.children]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.engines.tick()

    def says(self, number: int, **message: Any) -> None:
        """Let an engine send a message."""
        self.children[number].messages.append(message)
        self.hear(number)

    def dies(self, number: int) -> None:
        """Let an engine exit."""
        self.children[number].finished = True
        self.hear(number)

    def hear(self, number: int) -> None:
        """Let control process an engine's messages."""
        child = self.children[number]
        for engine in list(self.engines._engines):
            if engine.child is child:  # type: ignore[comparison-overlap]
                self.engines._receive(engine)

    def takes(self, number: int, why: str = "died", info: StreamInfo = CARD) -> None:
        """Let an engine take over where another one stopped."""
        self.says(number, took=asdict(info), why=why, lost=info is CLOCK)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    yield made
    made.close()


def test_a_standby_comes_after_the_start_and_again_after_each_takeover(desk: Desk) -> None:
    stage = Stage(desk)
    stage.wait(FIRST_PAUSE / 2)
    assert stage.roles() == ["first"]
    stage.wait(FIRST_PAUSE)
    stage.wait(60.0)
    assert stage.roles() == ["first", "standby"]
    # It opens the device that was found, even if the settings named none.
    assert stage.children[1].request["device"] == "card (ALSA)"
    assert stage.engines.readings()["standby"] == "none"
    stage.says(1, standby="running")
    assert stage.engines.readings()["standby"] == "running"
    assert stage.engines.pids() == {"engine": 1001, "standby": 1002}
    stage.takes(1)
    assert stage.children[0].ended and stage.told == [("card (ALSA)", "died")]
    assert stage.engines.pids() == {"engine": 1002}
    stage.wait(AGAIN_PAUSE)
    assert stage.roles() == ["first", "standby", "standby"]


def test_without_a_standby_a_dead_engine_is_replaced_at_once(desk: Desk) -> None:
    stage = Stage(desk, standby="off")
    stage.wait(60.0)
    assert stage.roles() == ["first"]
    stage.dies(0)
    stage.wait(0.0)
    assert stage.roles() == ["first", "standby"]
    stage.takes(1)
    stage.wait(60.0)
    assert stage.roles() == ["first", "standby"]


def test_a_lost_device_is_searched_for_until_it_is_found(desk: Desk) -> None:
    stage = Stage(desk)
    stage.wait(FIRST_PAUSE)
    stage.takes(1, "device", CLOCK)
    assert stage.engines.searching and stage.told == [("built-in clock", "device")]
    stage.wait(AGAIN_PAUSE)
    assert stage.roles()[-1] == "search"
    assert stage.children[2].request["device"] == "card (ALSA)"
    stage.takes(2, "found")
    assert not stage.engines.searching and stage.children[1].ended
    stage.wait(AGAIN_PAUSE)
    assert stage.roles()[-1] == "standby"


def test_no_engine_plays_while_waiting_for_the_device(desk: Desk) -> None:
    stage = Stage(desk, device_lost="wait")
    stage.wait(FIRST_PAUSE)
    stage.says(1, lost="device")
    assert stage.told == ["device"] and stage.engines.pids() == {}
    stage.wait(0.0)
    stage.wait(60.0)
    assert stage.roles() == ["first", "standby", "search"]


def test_the_device_is_searched_for_after_a_standby_reports_its_loss_and_exits(
    desk: Desk,
) -> None:
    stage = Stage(desk, device_lost="wait")
    stage.wait(FIRST_PAUSE)
    stage.children[0].finished = stage.children[1].finished = True
    stage.says(1, lost="device")
    stage.hear(0)
    assert stage.told == ["device"] and stage.engines.pids() == {}
    stage.wait(0.0)
    assert stage.roles() == ["first", "standby", "search"]
    stage.takes(2, "found")
    assert stage.told == ["device", ("card (ALSA)", "found")]


def test_control_notices_a_stalled_device_when_there_is_no_standby(desk: Desk) -> None:
    stage = Stage(desk, standby="off")
    desk.clock["callback_ns"] = round(stage.now * 1e9)
    stage.wait(STANDSTILL_SECONDS - 0.1)
    assert not stage.engines.searching
    stage.wait(0.2)
    assert stage.engines.searching and stage.children[0].ended
    assert stage.roles() == ["first", "search"]


def test_engines_that_keep_dying_early_end_the_server(desk: Desk) -> None:
    stage = Stage(desk)
    stage.wait(FIRST_PAUSE)
    for number in range(1, MAX_DEATHS + 2):
        assert not stage.engines.failed
        stage.takes(number)
        stage.wait(SHORT_SECONDS / 2)  # too short for a standby
        stage.dies(number)
        stage.wait(0.0)
    assert "in a row" in stage.engines.failed


def test_an_engine_that_has_lived_longer_resets_the_death_count(desk: Desk) -> None:
    stage = Stage(desk)
    stage.wait(FIRST_PAUSE)
    for number in range(1, 4 * MAX_DEATHS):
        stage.takes(number)
        stage.wait(SHORT_SECONDS * (2 if number % MAX_DEATHS == 0 else 0.5))
        stage.dies(number)
        stage.wait(0.0)
    assert not stage.engines.failed


def test_failing_standbys_are_restarted_with_back_off(desk: Desk) -> None:
    stage = Stage(desk)
    stage.wait(FIRST_PAUSE)
    pauses = []
    for number in range(1, 9):
        stage.dies(number)
        begin = stage.now
        while len(stage.children) == number + 1:
            stage.wait(0.25)
        pauses.append(stage.now - begin)
    assert pauses[:4] == pytest.approx([0.5, 1.0, 2.0, 4.0])
    assert pauses[-1] == MAX_PAUSE
    # A standby that was ready once resets the back-off.
    stage.says(9, standby="running")
    stage.dies(9)
    stage.wait(AGAIN_PAUSE)
    assert len(stage.children) == 11


def test_a_device_that_cannot_be_opened_raises_an_error(desk: Desk) -> None:
    stage = Stage(desk)
    with pytest.raises(DeviceError, match="no such card"):
        stage.engines.started({"error": "no such card"})


class Asked:
    """A request for another buffer size, in a pool with a standby."""

    def __init__(self, desk: Desk) -> None:
        self.stage = Stage(desk)
        self.stage.wait(FIRST_PAUSE)
        self.stage.says(1, standby="running")
        self.said: list[Any] = []
        resizing = self.stage.engines.resizing
        resizing.announce = lambda frames, ms: self.said.append(("soon", frames, ms > 0))
        resizing.begin(1024, lambda frames, ms: self.said.append((frames, ms)), self.said.append)

    def prepared(self, info: StreamInfo | None) -> None:
        """The new engine is ready."""
        self.stage.says(2, prepared=asdict(info) if info else None)


BIG = StreamInfo("pyaudio", "card (ALSA)", 44100.0, 1024, 0.02)


@pytest.mark.parametrize("beside", [BIG, None])
def test_a_new_buffer_size_applies_to_all_later_engines(
    desk: Desk, beside: StreamInfo | None
) -> None:
    asked = Asked(desk)
    stage = asked.stage
    assert stage.roles()[2] == "resize" and stage.children[2].request["buffer_size"] == 1024
    with pytest.raises(Refused, match="being changed to 1024"):
        stage.engines.resizing.begin(64, lambda *_: None, lambda _: None)
    assert not stage.children[1].ended and asked.said == []
    asked.prepared(beside)
    # The change is announced beforehand; the standby is gone, as it would take this for a crash.
    assert asked.said == [("soon", 1024, True)] and stage.children[1].ended
    assert stage.children[2].heard == [{"go": 1}] and not stage.children[0].ended
    if beside is None:
        stage.dies(0)
    desk.lease["silence_ns"] = 3_000_000
    stage.takes(2, "resized", BIG)
    assert asked.said[1:] == [(1024, 3.0)] and stage.told == [("card (ALSA)", "resized")]
    assert stage.engines.pids() == {"engine": 1003}
    # The device still plays the last blocks of the old engine.
    assert stage.children[0].ended == (beside is None)
    stage.wait(AGAIN_PAUSE)
    assert stage.roles()[3:] == ["standby"] and stage.children[3].request["buffer_size"] == 1024
    stage.wait(LEAVE_SECONDS)
    assert stage.children[0].ended
    assert stage.engines.to_state()["info"]["buffer_size"] == 1024


def test_a_refused_buffer_size_leaves_the_old_one(desk: Desk) -> None:
    asked = Asked(desk)
    asked.prepared(None)
    asked.stage.takes(2, "resized", CARD)
    assert "does not take blocks of 1024 frames: 256 stay" in asked.said[1]
    assert asked.stage.engines.frames == 256


@pytest.mark.parametrize("how", ["dies", "hangs", "device"])
def test_playback_continues_when_a_buffer_size_change_fails(desk: Desk, how: str) -> None:
    asked = Asked(desk)
    stage = asked.stage
    if how == "dies":
        stage.dies(2)
        stage.wait(0.0)
        assert "has died" in asked.said[0]
    elif how == "hangs":
        stage.wait(MAX_SECONDS + 1.0)
        assert "within 30 s" in asked.said[0]
    else:
        stage.takes(1, "device", CLOCK)
        stage.wait(0.0)
        assert "device is gone" in asked.said[0]
    assert stage.children[2].ended
    stage.wait(MAX_PAUSE)
    assert stage.roles()[3:] == ([] if how != "device" else ["search"])
    assert asked.said[1:] == [] and stage.engines.frames == 256


def test_an_engine_that_dies_right_after_taking_over_is_replaced(desk: Desk) -> None:
    asked = Asked(desk)
    asked.prepared(BIG)
    desk.lease["owner"] = 3
    asked.stage.dies(2)
    asked.stage.wait(0.0)
    assert asked.stage.children[0].ended and asked.stage.roles()[3:] == ["standby"]
    asked.stage.takes(3)
    assert asked.stage.engines.pids() == {"engine": 1004}


def test_a_removed_engine_does_not_take_over(desk: Desk) -> None:
    asked = Asked(desk)
    asked.prepared(BIG)
    desk.lease["wanted"] = 3
    asked.stage.dies(2)
    assert int(desk.lease["wanted"]) == 0 and not asked.stage.children[0].ended


def test_requesting_the_current_buffer_size_starts_no_engine(desk: Desk) -> None:
    stage, said = Stage(desk), []
    stage.engines.resizing.begin(256, lambda *done: said.append(done), lambda _: None)
    assert said == [(256, 0.0)] and stage.roles() == ["first"]
    stage.engines.searching = True
    with pytest.raises(Refused, match="device is gone"):
        stage.engines.resizing.begin(64, lambda *_: None, lambda _: None)
