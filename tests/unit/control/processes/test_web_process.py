"""The web process as seen by control, with fake processes."""

from __future__ import annotations

from typing import Any

from crowdstream.control.processes.web_process import HANG_SECONDS, START_DELAY, WebProcess
from tests.support.offline_server import Rig


class FakeChild:
    """A fake web process."""

    def __init__(self, foreign: bool = False) -> None:
        self.is_foreign = foreign
        self.messages: list[dict[str, Any]] = []
        self.finished = self.asked_to_exit = self.killed = False
        self.pid, self.out, self.unsent = 1, -1, 0
        self.exit_description = "status 0"

    def send(self, message: dict[str, Any]) -> None:
        """Discard a message."""

    def push(self) -> None:
        """Nothing is queued."""

    def read(self) -> list[dict[str, Any]]:
        """Return messages of the process."""
        messages, self.messages = self.messages, []
        return messages

    def request_exit(self) -> None:
        """Note the request."""
        self.asked_to_exit = True

    def kill(self) -> None:
        """Note it."""
        self.killed = True

    def stop(self, _seconds: float) -> None:
        """It has ended already."""


def test_a_page_that_is_being_replaced_serves_only_when_the_new_process_does(rig: Rig) -> None:
    now, made = 100.0, [FakeChild(foreign=True)]

    def start(_port: int) -> Any:
        made.append(FakeChild())
        return made[-1]

    web = WebProcess(rig.core, 57120, start, made[0], lambda: now)  # type: ignore[arg-type]
    ready = {"ready": 8000, "url": "http://localhost:8000", "invitation": "", "qr": ""}
    made[0].messages.append(ready)
    web._receive()
    assert web.serves and web.is_foreign
    web.renew()
    made[0].finished = True
    web._receive()
    assert made[0].asked_to_exit and not web.is_foreign and not web.serves
    now += START_DELAY
    web.tick()
    assert len(made) == 2 and not web.serves
    made[1].messages.append(ready)
    web._receive()
    assert web.serves


def test_a_web_process_without_heartbeats_is_killed_and_restarted(rig: Rig) -> None:
    now, made = 100.0, [FakeChild()]

    def start(_port: int) -> Any:
        made.append(FakeChild())
        return made[-1]

    web = WebProcess(rig.core, 57120, start, made[0], lambda: now)  # type: ignore[arg-type]

    def ticks(seconds: float) -> None:
        nonlocal now
        end = now + seconds
        while now < end:
            now += 0.2
            web.tick()

    ticks(2.0 * HANG_SECONDS)
    assert not made[0].killed, "it is still starting, or is an earlier version's"
    for _ in range(2):
        made[0].messages.append({"alive": True})
        web._receive()
        ticks(0.9 * HANG_SECONDS)
    now += HANG_SECONDS
    web.tick()
    assert not made[0].killed, "the machine stood still"
    ticks(0.1 * HANG_SECONDS)
    assert made[0].killed
    made[0].finished = True
    web._receive()
    ticks(1.0)
    assert len(made) == 2
    ticks(2.0 * HANG_SECONDS)
    assert not made[1].killed
