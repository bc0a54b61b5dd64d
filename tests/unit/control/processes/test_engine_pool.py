"""The engine pool: when engines start, and which notifications are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from crowdstream.commands.errors import Refused
from crowdstream.control.dispatcher import REST_SECONDS
from crowdstream.control.processes.engine_pool import (
    EARLY_DEATH_SECONDS,
    FIRST_STANDBY_DELAY,
    HANDOVER_TAIL_SECONDS,
    MAX_DEATHS,
    MAX_RESTART_DELAY,
    MAX_SECONDS,
    MIN_RESTART_DELAY,
    STANDSTILL_SECONDS,
    TAKEOVER_SECONDS,
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
        self.ended = self.is_foreign = self.failed = False
        self.pid = 1000 + request["number"]
        self.out = -1
        self.exit_description = "signal 9"
        self.heard: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        """Record a message to the engine."""
        self.heard.append(message)

    def read(self) -> list[dict[str, Any]]:
        """Return messages of the engine."""
        replies, self.messages = self.messages, []
        return replies

    def stop(self, _seconds: float, failed: bool = False) -> None:
        """Stop it."""
        self.ended, self.failed = True, failed


class PoolHarness:
    """An engine pool with a manual clock, and its notifications."""

    def __init__(self, desk: Desk, **settings: Any) -> None:
        self.now = 100.0
        self.children: list[FakeChild] = []
        self.notified: list[Any] = []
        self.engines = EnginePool(
            desk, validate(**settings), self.launch,
            lambda info, why: self.notified.append((info.device, why)),
            self.notified.append, lambda: self.now,
        )  # fmt: skip
        self.engines.launch()
        self.engines.on_first_engine_ready({"ready": asdict(CARD)})

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

    def rest(self, seconds: float) -> None:
        """Let time pass, with as many ticks as an idle server has."""
        for _ in range(round(seconds / REST_SECONDS)):
            self.wait(REST_SECONDS)

    def emit(self, number: int, **message: Any) -> None:
        """Let an engine send a message."""
        self.children[number].messages.append(message)
        self.deliver(number)

    def die(self, number: int) -> None:
        """Let an engine exit."""
        self.children[number].finished = True
        self.deliver(number)

    def deliver(self, number: int) -> None:
        """Let control process an engine's messages."""
        child = self.children[number]
        for engine in list(self.engines._engines):
            if engine.child is child:  # type: ignore[comparison-overlap]
                self.engines._receive(engine)

    def take_over(self, number: int, why: str = "died", info: StreamInfo = CARD) -> None:
        """Let an engine take over where another one stopped."""
        self.emit(number, took=asdict(info), why=why, lost=info is CLOCK)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    yield made
    made.close()


def test_a_standby_comes_after_the_start_and_again_after_each_takeover(desk: Desk) -> None:
    pool = PoolHarness(desk)
    pool.wait(FIRST_STANDBY_DELAY / 2)
    assert pool.roles() == ["first"]
    pool.wait(FIRST_STANDBY_DELAY)
    pool.wait(60.0)
    assert pool.roles() == ["first", "standby"]
    # It opens the device that was found, even if the settings named none.
    assert pool.children[1].request["device"] == "card (ALSA)"
    assert pool.engines.readings()["standby"] == "none"
    pool.emit(1, standby="running")
    assert pool.engines.readings()["standby"] == "running"
    assert pool.engines.pids() == {"engine": 1001, "standby": 1002}
    pool.take_over(1)
    assert pool.children[0].ended and pool.notified == [("card (ALSA)", "died")]
    assert pool.engines.pids() == {"engine": 1002}
    pool.wait(MIN_RESTART_DELAY)
    assert pool.roles() == ["first", "standby", "standby"]


def test_without_a_standby_a_dead_engine_is_replaced_at_once(desk: Desk) -> None:
    pool = PoolHarness(desk, standby="off")
    pool.wait(60.0)
    assert pool.roles() == ["first"]
    pool.die(0)
    pool.wait(0.0)
    assert pool.roles() == ["first", "standby"]
    pool.take_over(1)
    pool.wait(60.0)
    assert pool.roles() == ["first", "standby"]


def test_a_lost_device_is_searched_for_until_it_is_found(desk: Desk) -> None:
    pool = PoolHarness(desk)
    pool.wait(FIRST_STANDBY_DELAY)
    pool.take_over(1, "device", CLOCK)
    assert pool.engines.searching and pool.notified == [("built-in clock", "device")]
    assert not pool.engines.waits_for_device
    pool.wait(MIN_RESTART_DELAY)
    assert pool.roles()[-1] == "search"
    assert pool.children[2].request["device"] == "card (ALSA)"
    pool.take_over(2, "found")
    assert not pool.engines.searching and pool.children[1].ended
    pool.wait(MIN_RESTART_DELAY)
    assert pool.roles()[-1] == "standby"


def test_no_engine_plays_while_waiting_for_the_device(desk: Desk) -> None:
    pool = PoolHarness(desk, device_lost="wait")
    pool.wait(FIRST_STANDBY_DELAY)
    pool.emit(1, lost="device")
    assert pool.notified == ["device"] and pool.engines.pids() == {}
    assert pool.engines.waits_for_device
    pool.wait(0.0)
    pool.wait(60.0)
    assert pool.roles() == ["first", "standby", "search"]


def test_the_device_is_searched_for_after_a_standby_reports_its_loss_and_exits(
    desk: Desk,
) -> None:
    pool = PoolHarness(desk, device_lost="wait")
    pool.wait(FIRST_STANDBY_DELAY)
    pool.children[0].finished = pool.children[1].finished = True
    pool.emit(1, lost="device")
    pool.deliver(0)
    assert pool.notified == ["device"] and pool.engines.pids() == {}
    pool.wait(0.0)
    assert pool.roles() == ["first", "standby", "search"]
    pool.take_over(2, "found")
    assert pool.notified == ["device", ("card (ALSA)", "found")]


def test_control_notices_a_stalled_device_when_there_is_no_standby(desk: Desk) -> None:
    pool = PoolHarness(desk, standby="off")
    desk.clock["callback_ns"] = round(pool.now * 1e9)
    pool.rest(STANDSTILL_SECONDS)
    assert not pool.engines.searching
    pool.rest(2 * REST_SECONDS)
    assert pool.engines.searching and pool.children[0].ended
    assert not pool.engines.waits_for_device, "it should play: a restart may help"
    assert pool.roles() == ["first", "search"]


def test_control_that_stood_still_as_well_has_not_noticed_a_stalled_device(desk: Desk) -> None:
    pool = PoolHarness(desk, standby="off")
    desk.clock["callback_ns"] = round(pool.now * 1e9)
    pool.rest(1.0)
    pool.wait(3600.0)
    assert not pool.engines.searching, "control may be the first process that continues"
    desk.clock["callback_ns"] = round(pool.now * 1e9)
    pool.rest(STANDSTILL_SECONDS)
    assert pool.engines.readings()["device_lost"] == 0 and not pool.children[0].ended


def test_an_engine_that_took_long_to_start_has_time_for_its_first_block(desk: Desk) -> None:
    pool = PoolHarness(desk, standby="off")
    desk.clock["callback_ns"] = round(pool.now * 1e9)
    pool.rest(1.0)
    pool.die(0)
    pool.rest(2 * STANDSTILL_SECONDS)
    pool.take_over(1)
    pool.rest(STANDSTILL_SECONDS - REST_SECONDS)
    assert not pool.children[1].ended, "its device is still starting"
    pool.rest(3 * REST_SECONDS)
    assert pool.children[1].ended and pool.engines.searching


def test_a_standby_that_does_not_take_over_is_replaced(desk: Desk) -> None:
    pool = PoolHarness(desk)
    pool.wait(FIRST_STANDBY_DELAY)
    pool.emit(1, standby="warm")
    desk.clock["callback_ns"] = round(pool.now * 1e9)
    pool.rest(1.0)
    pool.die(0)
    pool.rest(TAKEOVER_SECONDS - 1.0)
    assert not pool.children[1].ended, "it may be opening the device"
    pool.rest(4 * REST_SECONDS)
    assert pool.children[1].ended and pool.roles()[2:] == ["standby"]
    pool.rest(60.0)
    assert len(pool.children) == 3, "a start may take long"
    pool.take_over(2)
    assert pool.engines.pids() == {"engine": 1003}


def test_a_built_in_clock_that_stands_still_is_replaced_and_not_searched_for(desk: Desk) -> None:
    pool = PoolHarness(desk, standby="off", driver="null")
    pool.engines.on_first_engine_ready({"ready": asdict(CLOCK)})
    desk.clock["callback_ns"] = round(pool.now * 1e9)
    pool.rest(STANDSTILL_SECONDS + 2 * REST_SECONDS)
    assert pool.children[0].ended and not pool.engines.searching
    assert pool.roles() == ["first", "standby"] and pool.notified == []
    pool.emit(1, took=asdict(CLOCK), why="died", lost=False)
    assert pool.engines.pids() == {"engine": 1002}


def test_engines_that_keep_dying_early_end_the_server(desk: Desk) -> None:
    pool = PoolHarness(desk)
    pool.wait(FIRST_STANDBY_DELAY)
    for number in range(1, MAX_DEATHS + 2):
        assert not pool.engines.failed
        pool.take_over(number)
        pool.wait(EARLY_DEATH_SECONDS / 2)  # too short for a standby
        pool.die(number)
        pool.wait(0.0)
    assert "in a row" in pool.engines.failed


def test_an_engine_that_has_lived_longer_resets_the_death_count(desk: Desk) -> None:
    pool = PoolHarness(desk)
    pool.wait(FIRST_STANDBY_DELAY)
    for number in range(1, 4 * MAX_DEATHS):
        pool.take_over(number)
        pool.wait(EARLY_DEATH_SECONDS * (2 if number % MAX_DEATHS == 0 else 0.5))
        pool.die(number)
        pool.wait(0.0)
    assert not pool.engines.failed


def test_failing_standbys_are_restarted_with_back_off(desk: Desk) -> None:
    pool = PoolHarness(desk)
    pool.wait(FIRST_STANDBY_DELAY)
    pauses = []
    for number in range(1, 9):
        pool.die(number)
        begin = pool.now
        while len(pool.children) == number + 1:
            pool.wait(0.25)
        pauses.append(pool.now - begin)
    assert pauses[:4] == pytest.approx([0.5, 1.0, 2.0, 4.0])
    assert pauses[-1] == MAX_RESTART_DELAY
    # A standby that was ready once resets the back-off.
    pool.emit(9, standby="running")
    pool.die(9)
    pool.wait(MIN_RESTART_DELAY)
    assert len(pool.children) == 11


def test_a_device_that_cannot_be_opened_raises_an_error(desk: Desk) -> None:
    pool = PoolHarness(desk)
    with pytest.raises(DeviceError, match="no such card"):
        pool.engines.on_first_engine_ready({"error": "no such card"})


class ResizeRequest:
    """A request for another buffer size, in a pool with a standby."""

    def __init__(self, desk: Desk) -> None:
        self.pool = PoolHarness(desk)
        self.pool.wait(FIRST_STANDBY_DELAY)
        self.pool.emit(1, standby="running")
        self.replies: list[Any] = []
        resizing = self.pool.engines.resizing
        resizing.announce = lambda frames, ms: self.replies.append(("soon", frames, ms > 0))
        resizing.begin(
            1024, lambda frames, ms: self.replies.append((frames, ms)), self.replies.append
        )

    def prepared(self, info: StreamInfo | None) -> None:
        """The new engine is ready."""
        self.pool.emit(2, prepared=asdict(info) if info else None)


BIG = StreamInfo("pyaudio", "card (ALSA)", 44100.0, 1024, 0.02)


@pytest.mark.parametrize("beside", [BIG, None])
def test_a_new_buffer_size_applies_to_all_later_engines(
    desk: Desk, beside: StreamInfo | None
) -> None:
    resize = ResizeRequest(desk)
    pool = resize.pool
    assert pool.roles()[2] == "resize" and pool.children[2].request["buffer_size"] == 1024
    with pytest.raises(Refused, match="being changed to 1024"):
        pool.engines.resizing.begin(64, lambda *_: None, lambda _: None)
    assert not pool.children[1].ended and resize.replies == []
    resize.prepared(beside)
    # The change is announced beforehand; the standby is gone, as it would take this for a crash.
    assert resize.replies == [("soon", 1024, True)] and pool.children[1].ended
    assert pool.children[2].heard == [{"go": 1}] and not pool.children[0].ended
    if beside is None:
        pool.die(0)
    desk.lease["silence_ns"] = 3_000_000
    pool.take_over(2, "resized", BIG)
    assert resize.replies[1:] == [(1024, 3.0)] and pool.notified == [("card (ALSA)", "resized")]
    assert pool.engines.pids() == {"engine": 1003}
    # The device still plays the last blocks of the old engine.
    assert pool.children[0].ended == (beside is None)
    pool.wait(MIN_RESTART_DELAY)
    assert pool.roles()[3:] == ["standby"] and pool.children[3].request["buffer_size"] == 1024
    pool.wait(HANDOVER_TAIL_SECONDS)
    assert pool.children[0].ended
    assert pool.engines.to_state()["info"]["buffer_size"] == 1024


def test_a_refused_buffer_size_leaves_the_old_one(desk: Desk) -> None:
    resize = ResizeRequest(desk)
    resize.prepared(None)
    resize.pool.take_over(2, "resized", CARD)
    assert "does not take blocks of 1024 frames: 256 stay" in resize.replies[1]
    assert resize.pool.engines.frames == 256


@pytest.mark.parametrize("how", ["dies", "hangs", "device"])
def test_playback_continues_when_a_buffer_size_change_fails(desk: Desk, how: str) -> None:
    resize = ResizeRequest(desk)
    pool = resize.pool
    if how == "dies":
        pool.die(2)
        pool.wait(0.0)
        assert "has died" in resize.replies[0]
    elif how == "hangs":
        pool.wait(MAX_SECONDS + 1.0)
        assert f"within {MAX_SECONDS:g} s" in resize.replies[0]
    else:
        pool.take_over(1, "device", CLOCK)
        pool.wait(0.0)
        assert "device is gone" in resize.replies[0]
    assert pool.children[2].ended
    pool.wait(MAX_RESTART_DELAY)
    assert pool.roles()[3:] == ([] if how != "device" else ["search"])
    assert resize.replies[1:] == [] and pool.engines.frames == 256


def test_an_engine_that_dies_right_after_taking_over_is_replaced(desk: Desk) -> None:
    resize = ResizeRequest(desk)
    resize.prepared(BIG)
    desk.lease["owner"] = 3
    resize.pool.die(2)
    resize.pool.wait(0.0)
    assert resize.pool.children[0].ended and resize.pool.roles()[3:] == ["standby"]
    resize.pool.take_over(3)
    assert resize.pool.engines.pids() == {"engine": 1004}


def test_a_removed_engine_does_not_take_over(desk: Desk) -> None:
    resize = ResizeRequest(desk)
    resize.prepared(BIG)
    desk.lease["wanted"] = 3
    resize.pool.die(2)
    assert int(desk.lease["wanted"]) == 0 and not resize.pool.children[0].ended


def test_a_standby_that_is_still_starting_does_not_see_a_handover_either(desk: Desk) -> None:
    pool = PoolHarness(desk)
    replies: list[Any] = []
    pool.wait(FIRST_STANDBY_DELAY)
    pool.engines.resizing.begin(1024, lambda *done: replies.append(done), replies.append)
    pool.emit(2, prepared=asdict(BIG))
    assert pool.children[2].heard == [{"go": 1}]
    assert pool.children[1].ended, "it would watch the engine that hands over, and replace it"
    pool.take_over(2, "resized", BIG)
    pool.wait(MIN_RESTART_DELAY)
    assert [done[0] for done in replies] == [1024] and pool.roles()[3:] == ["standby"]


def test_requesting_the_current_buffer_size_starts_no_engine(desk: Desk) -> None:
    pool, replies = PoolHarness(desk), []
    pool.engines.resizing.begin(256, lambda *done: replies.append(done), lambda _: None)
    assert replies == [(256, 0.0)] and pool.roles() == ["first"]
    pool.engines.searching = True
    with pytest.raises(Refused, match="device is gone"):
        pool.engines.resizing.begin(64, lambda *_: None, lambda _: None)


class UpgradeRequest:
    """A control process of a new version, whose engine and standby are the previous one's."""

    def __init__(self, desk: Desk, exclusive: bool = False) -> None:
        self.pool = PoolHarness(desk)
        self.pool.wait(FIRST_STANDBY_DELAY)
        self.pool.emit(1, standby="running")
        for child in self.pool.children:
            child.is_foreign = True
        self.replies: list[Any] = []
        self.silent = False
        self.begin()
        self.pool.emit(2, prepared=None if exclusive else asdict(CARD))

    def begin(self) -> None:
        """Request a handover to this version."""
        self.pool.engines.resizing.upgrade(
            lambda _frames, _ms: self.replies.append("done"), self.replies.append,
            lambda: self.silent,
        )

    def hands_over(self) -> None:
        """The new engine plays."""
        self.pool.take_over(2, "upgraded")


def test_the_engine_of_the_previous_version_stands_by_until_the_trial_is_over(desk: Desk) -> None:
    upgrade = UpgradeRequest(desk)
    pool, engines = upgrade.pool, upgrade.pool.engines
    assert pool.roles()[2] == "upgrade" and engines.plays_foreign
    assert pool.children[1].ended and pool.children[2].heard == [{"go": 1}]
    upgrade.hands_over()
    assert upgrade.replies == ["done"] and not engines.plays_foreign
    assert pool.children[0].heard == [{"guard": 1}] and not pool.children[0].ended
    pool.emit(0, standby="running")
    pool.wait(60.0)
    assert pool.roles()[3:] == [] and engines.readings()["standby"] == "running"
    engines.remove_foreign()
    assert pool.children[0].ended and not pool.children[2].ended
    pool.wait(MIN_RESTART_DELAY)
    assert pool.roles()[3:] == ["standby"]


@pytest.mark.parametrize("why", ["died", "hung"])
def test_an_engine_that_another_one_replaces_has_failed_before_it_has_ended(
    desk: Desk, why: str
) -> None:
    upgrade = UpgradeRequest(desk)
    upgrade.hands_over()
    upgrade.pool.emit(0, standby="running")
    upgrade.pool.take_over(0, why)
    assert upgrade.pool.children[2].failed and not upgrade.pool.children[1].failed


def test_the_way_back_hands_over_to_the_engine_that_stands_by(desk: Desk) -> None:
    upgrade = UpgradeRequest(desk)
    pool, engines = upgrade.pool, upgrade.pool.engines
    upgrade.hands_over()
    pool.emit(0, standby="running")
    # Control is now the previous version's.
    for child in pool.children:
        child.is_foreign = not child.is_foreign
    engines.keeps_guard = False
    assert engines.plays_foreign
    upgrade.begin()
    assert pool.roles()[3:] == [] and pool.children[0].heard[-1] == {"go": 1}
    pool.take_over(0, "upgraded")
    assert upgrade.replies == ["done", "done"] and not engines.plays_foreign
    engines.remove_foreign(at_once=False)
    assert not pool.children[2].ended, "the device still plays its last blocks"
    assert engines.has_foreign
    pool.wait(HANDOVER_TAIL_SECONDS + 0.1)
    assert pool.children[2].ended and not pool.children[0].ended
    assert not engines.has_foreign


def test_the_way_back_survives_an_engine_that_dies_right_after_taking_over(desk: Desk) -> None:
    upgrade = UpgradeRequest(desk)
    pool, engines = upgrade.pool, upgrade.pool.engines
    upgrade.hands_over()
    pool.emit(0, standby="running")
    for child in pool.children:
        child.is_foreign = not child.is_foreign
    engines.keeps_guard = False
    upgrade.begin()
    desk.lease["owner"] = 1
    pool.die(0)
    pool.wait(0.0)
    assert pool.children[2].ended, "it has handed over for good"
    assert pool.roles()[3:] == ["standby"] and "has died" in upgrade.replies[-1]


def test_a_device_that_accepts_one_stream_is_interrupted_only_when_allowed(desk: Desk) -> None:
    upgrade = UpgradeRequest(desk, exclusive=True)
    pool, resizing = upgrade.pool, upgrade.pool.engines.resizing
    pool.wait(2.0 * MAX_SECONDS)
    assert resizing.waits and pool.children[2].heard == [] and upgrade.replies == []
    assert not pool.children[1].ended, "the standby still protects the engine"
    with pytest.raises(Refused, match="an upgrade replaces the engine"):
        resizing.begin(1024, lambda *_: None, lambda _: None)
    upgrade.silent = True
    pool.wait(0.1)
    assert not resizing.waits and pool.children[2].heard == [{"go": 1}]
    assert pool.children[1].ended and resizing.reopens
    pool.die(0)
    upgrade.hands_over()
    assert upgrade.replies == ["done"] and pool.engines.pids() == {"engine": 1003}


def test_an_engine_that_waits_for_silence_does_not_stand_by(desk: Desk) -> None:
    upgrade = UpgradeRequest(desk, exclusive=True)
    pool = upgrade.pool
    pool.take_over(1)
    pool.wait(MIN_RESTART_DELAY)
    assert pool.roles()[3:] == ["standby"], "the engine that plays has another standby"
    pool.die(1)
    pool.die(3)
    pool.wait(0.0)
    assert pool.roles()[4:] == ["standby"], "and one that plays at once if there is none"
    pool.take_over(4)
    pool.wait(MIN_RESTART_DELAY)
    pool.emit(5, standby="warm")
    assert pool.children[2].heard == [] and upgrade.replies == []
    upgrade.silent = True
    pool.wait(0.1)
    assert pool.children[2].heard == [{"go": 1}] and pool.children[5].ended
    pool.wait(MIN_RESTART_DELAY)
    assert len(pool.children) == 6, "a standby would take the handover for a crash"
    pool.take_over(2, "upgraded")
    assert upgrade.replies == ["done"]


def test_an_engine_that_waits_for_silence_does_not_watch_the_device(desk: Desk) -> None:
    pool = PoolHarness(desk, standby="off")
    pool.engines.resizing.upgrade(lambda *_: None, lambda _: None, lambda: False)
    pool.emit(1, prepared=None)
    desk.clock["callback_ns"] = round(pool.now * 1e9)
    pool.rest(STANDSTILL_SECONDS + 2 * REST_SECONDS)
    assert pool.engines.searching and pool.children[0].ended and pool.children[1].ended
    pool.wait(0.0)
    assert pool.roles()[2:] == ["search"]


def test_an_upgrade_is_refused_while_the_device_is_gone(desk: Desk) -> None:
    pool = PoolHarness(desk)
    pool.engines.searching = True
    with pytest.raises(Refused, match="the sound device is gone"):
        pool.engines.resizing.upgrade(lambda *_: None, lambda _: None, lambda: True)
