"""The processes of another version are replaced in order, and each only when the last one works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from crowdstream.commands.errors import Refused
from crowdstream.control.processes.rollout import (
    INPUT_PEAK,
    RETRY_SECONDS,
    SILENT_SECONDS,
    Rollout,
    SilenceDetector,
    is_audible,
)
from crowdstream.control.processes.supervised import SupervisedProcess
from crowdstream.desk.block import Desk
from crowdstream.desk.effects import IDLE
from crowdstream.desk.opcodes import FREE
from tests.support.fake_process import FakeProcess


class Replaceable:
    """The loader, the web process, or that of a live input."""

    def __init__(self, name: str, log: list[str], foreign: bool = True) -> None:
        self.name, self.log, self.is_foreign = name, log, foreign
        self.answers = self.serves = self.runs = False
        self.enabled = True
        self.child = self

    def renew(self) -> None:
        """Note the request."""
        self.log.append(self.name)

    def works(self) -> None:
        """The new process works."""
        self.is_foreign, self.answers, self.serves, self.runs = False, True, True, True


class Engines:
    """The engine pool, and its handover."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.plays_foreign = self.keeps_guard = True
        self.searching = self.waits = False
        self.others: list[str] = []
        self.resizing = self
        self.refusal = ""
        self.done: Callable[..., None] = lambda *_: None
        self.fail: Callable[[str], None] = lambda _: None
        self.may_reopen: Callable[[], bool] = lambda: True

    def upgrade(
        self, done: Callable[..., None], fail: Callable[[str], None], may_reopen: Callable[[], bool]
    ) -> None:
        """Begin a handover."""
        if self.refusal:
            raise Refused(self.refusal)
        self.log.append("engine")
        self.done, self.fail, self.may_reopen = done, fail, may_reopen

    @property
    def has_foreign(self) -> bool:
        """Whether an engine is another version's."""
        return bool(self.others) or self.plays_foreign

    def remove_foreign(self, at_once: bool = True) -> None:
        """Stop the engines that stand by."""
        self.others = [one for one in self.others if one == "leaves" and not at_once]

    def hands_over(self) -> None:
        """The handover succeeds."""
        self.plays_foreign = False
        self.done(256, 0.0)


class Server:
    """A control process of a new version, with processes of the previous one."""

    def __init__(self, desk: Desk, stage: str = "rollout", page: bool = True, **note: Any) -> None:
        self.now = 100.0
        self.log: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.forks = SimpleNamespace(ready=False)
        self.loader = Replaceable("loader", self.log)
        self.page = Replaceable("web", self.log)
        self.input = Replaceable("input1", self.log)
        self.engines = Engines(self.log)
        about = {"stage": stage, "from": "1", "to": "2", "reason": "", "at_once": False, **note}
        forks: Any = self.forks
        engines: Any = self.engines
        loader: Any = self.loader
        others: Any = [self.input] if page else []
        self.rollout = Rollout(
            about, desk, forks, engines, loader, self.page if page else None, others,
            lambda **report: self.reports.append(report), lambda: self.now,
        )  # fmt: skip

    def turn(self, seconds: float = 0.01) -> bool:
        """Let time pass; whether everything is replaced."""
        self.now += seconds
        return self.rollout.tick()

    @property
    def step(self) -> str:
        """The latest step that was reported."""
        return str([one for one in self.reports if "step" in one][-1]["step"])


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk.create(0)
    yield made
    made.close()


def test_each_process_is_replaced_when_the_one_before_works(desk: Desk) -> None:
    server = Server(desk)
    server.turn()
    assert server.log == [] and "fork server" in server.step
    server.forks.ready = True
    for expected, one in (
        ("loader", server.loader), ("web", server.page), ("input1", server.input)
    ):
        server.turn()
        server.turn()
        assert server.log[-1] == expected and expected in server.step
        one.works()
    server.turn()
    assert server.log == ["loader", "web", "input1", "engine"] and server.engines.keeps_guard
    assert not server.turn()
    server.engines.hands_over()
    assert server.turn(), "reported once"
    assert server.reports[-1] == {"done": True} and not server.turn()
    assert sum("done" in one for one in server.reports) == 1


def test_a_process_that_is_idle_and_not_needed_is_not_started_again(desk: Desk) -> None:
    def start() -> Any:
        raise AssertionError("nothing is broadcast")

    server = Server(desk)
    server.forks.ready, server.engines.plays_foreign = True, False
    server.loader.is_foreign = server.page.is_foreign = False
    idle = SupervisedProcess("broadcast", start, lambda _: None, lambda _: None, enabled=False)
    process: Any = FakeProcess()
    process.is_foreign = True
    idle.adopt(process)
    server.rollout._others = [idle]
    for _ in range(3):
        idle.tick()
        server.turn()
    assert process.stopped and not server.rollout.busy


def test_on_the_way_back_the_engine_is_first(desk: Desk) -> None:
    server = Server(desk, "rollback")
    server.turn()
    assert server.log == ["engine"] and not server.engines.keeps_guard
    server.engines.hands_over()
    server.forks.ready = True
    server.turn()
    server.turn()
    assert server.log == ["engine", "loader"]
    server.loader.works()
    server.turn()
    server.page.works()
    assert not server.turn()
    server.input.works()
    assert server.turn() and server.log == ["engine", "loader", "web", "input1"]


def test_the_way_back_ends_with_the_last_engine_of_the_other_version(desk: Desk) -> None:
    server = Server(desk, "rollback", page=False)
    server.forks.ready, server.engines.plays_foreign = True, False
    server.loader.is_foreign = False
    server.engines.others = ["standby", "leaves"]
    assert not server.turn() and not server.turn() and "engines of the other" in server.step
    assert server.engines.others == ["leaves"], "its last blocks still play"
    server.engines.others = []
    assert server.turn() and server.reports[-1] == {"done": True}


def test_an_engine_of_the_failed_version_that_takes_over_late_is_replaced(desk: Desk) -> None:
    server = Server(desk, "rollback", page=False)
    server.forks.ready, server.engines.plays_foreign = True, False
    server.turn()
    assert server.log == ["loader"]
    server.engines.plays_foreign = True  # it stood by, and the one that played has died
    server.loader.works()
    assert not server.turn() and server.log == ["loader", "engine"]
    server.engines.hands_over()
    assert not server.turn() and server.turn() and server.reports[-1] == {"done": True}


def test_what_is_of_this_version_already_stays(desk: Desk) -> None:
    server = Server(desk, page=False)
    server.forks.ready, server.engines.plays_foreign = True, False
    server.loader.is_foreign = False
    assert server.turn() and server.log == []


def test_a_handover_that_fails_is_repeated(desk: Desk) -> None:
    server = Server(desk, page=False)
    server.forks.ready, server.loader.is_foreign = True, False
    server.engines.refusal = "the buffer size is being changed"
    server.turn()
    server.turn()
    assert server.log == [] and "later: the buffer size is being changed" in server.step
    server.engines.refusal = ""
    server.turn(0.5 * RETRY_SECONDS)
    assert server.log == []
    server.turn(0.6 * RETRY_SECONDS)
    assert server.log == ["engine"]
    server.engines.fail("no engine was ready")
    server.turn()
    server.turn(1.1 * RETRY_SECONDS)
    assert server.log == ["engine", "engine"]
    server.engines.hands_over()
    assert server.turn()


def test_a_device_with_one_stream_waits_for_silence_and_says_so(desk: Desk) -> None:
    server = Server(desk, page=False)
    server.forks.ready, server.loader.is_foreign = True, False
    server.engines.waits = True
    desk.voices[0]["state"] = FREE + 1
    for _ in range(3):
        server.turn()
    assert "as soon as nothing is audible" in server.step and server.reports[-1]["waits"]
    assert not server.engines.may_reopen()
    desk.voices[0]["state"] = FREE
    assert not server.engines.may_reopen(), "not at once: the next track may follow"
    server.now += SILENT_SECONDS
    assert server.engines.may_reopen()


def test_it_does_not_wait_if_told_so(desk: Desk) -> None:
    server = Server(desk, page=False, at_once=True)
    server.forks.ready, server.loader.is_foreign = True, False
    desk.voices[0]["state"] = FREE + 1
    server.turn()
    assert server.log == ["engine"] and server.engines.may_reopen()


def test_everything_that_sounds_is_audible(desk: Desk) -> None:
    def check(record: Any, field: str, value: Any) -> None:
        usual = record[field]
        assert not is_audible(desk)
        record[field] = value
        assert is_audible(desk)
        record[field] = usual

    check(desk.voices[-1], "state", FREE + 1)
    check(desk.effects[0], "state", IDLE + 1)
    check(desk.master, "tone_left", 1)
    check(desk.master, "pending", 1)
    desk.effects[0]["state"], desk.effects[0]["asleep"] = IDLE + 1, 1
    assert not is_audible(desk), "its tail has ended"


def test_a_live_input_is_audible_behind_its_fader(desk: Desk) -> None:
    desk.header["block_frames"] = 128
    desk.input_out[1, 127, 0] = -0.5 * INPUT_PEAK
    assert not is_audible(desk), "the noise of an open microphone"
    desk.input_out[1, 127, 0] = -2.0 * INPUT_PEAK
    assert is_audible(desk)
    desk.input_out[1, 127, 0] = 0.0
    desk.input_out[0, 128, 1] = 1.0
    assert not is_audible(desk), "left from before the buffer size was changed"


def test_silence_has_to_last(desk: Desk) -> None:
    now = 5.0
    detector = SilenceDetector(desk, lambda: now)
    assert not detector.check()
    now += 0.9 * SILENT_SECONDS
    desk.master["pending"] = 1
    assert not detector.check()
    desk.master["pending"] = 0
    assert not detector.check()
    now += SILENT_SECONDS
    assert detector.check()
