"""The server's part in an upgrade, without its processes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from crowdstream.control.server import Server
from tests.support.offline_server import Rig


class Engines:
    """An engine pool that only counts."""

    def __init__(self) -> None:
        self.foreign = 1

    def remove_foreign(self) -> None:
        """Stop the engines of another version."""
        self.foreign = 0


@pytest.fixture
def server(rig: Rig) -> Server:
    """A server whose processes are all replaced, during the trial."""
    made = Server.__new__(Server)
    made.core = rig.core
    store: Any = SimpleNamespace(upgrade={"stage": "rollout"}, deaths=0, sent=[], connected=False)
    store.messages = lambda: store.sent
    engines: Any = Engines()
    rollout: Any = SimpleNamespace(note={"from": "1", "to": "2"})
    made._store, made._engines, made._rollout = store, engines, rollout
    return made


def test_a_version_that_has_passed_its_trial_is_not_on_trial_any_more(server: Server) -> None:
    """If its engines keep dying later, it ends the server, and is not replaced."""
    store: Any = server._store
    store.sent = [{"trial_passed": True}]
    server._handle_supervisor()
    assert store.upgrade is None and server._rollout is None
    assert server._engines.foreign == 0  # type: ignore[attr-defined]


def test_control_that_dies_at_the_end_of_a_trial_leaves_no_engine_of_the_other_version(
    server: Server,
) -> None:
    store: Any = server._store
    store.upgrade, store.deaths, server._rollout = None, 1, None
    server._begin_rollout()
    assert server._rollout is None
    assert server._engines.foreign == 0  # type: ignore[attr-defined]


def test_control_that_has_yielded_changes_nothing_more(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor continues from the state that was saved: a tick would be done twice."""
    store: Any = server._store
    store.sent, store.send_heartbeat = [{"yield": True}], lambda: None
    ticks: list[str] = []
    monkeypatch.setattr(server.core, "tick", lambda: ticks.append("tick"))
    parts: dict[str, Any] = {
        "_event_loop": SimpleNamespace(wait=lambda _seconds: None), "_stopping": False,
        "osc": SimpleNamespace(ready=False, take=lambda _limit: []), "yielded": False,
        "_loader": SimpleNamespace(waiting=True), "_web": None, "_supervised": [],
        "_silence": None, "_rollout": None,
        "_engines": SimpleNamespace(failed=""),
    }  # fmt: skip
    for name, part in parts.items():
        setattr(server, name, part)
    server._loop()
    assert server.yielded and not ticks


def test_a_start_without_any_sound_device_is_an_error_in_the_event_log(server: Server) -> None:
    def kinds() -> list[str]:
        return [event.kind for event in server.core.events.latest()]

    server.port = 57120
    server._report_start()
    assert kinds() == ["started"], "the built-in clock was chosen"
    note = "no sound output, running on the built-in clock: no output device found"
    server.core.info = replace(server.core.info, driver="null", note=note)
    server._report_start()
    latest = list(server.core.events.latest())[-1]
    assert kinds() == ["started", "started", "device_lost"]
    assert (latest.level, latest.text) == ("error", note)


def test_only_a_version_on_trial_may_fail_to_take_over(server: Server) -> None:
    notes: Any = SimpleNamespace(values={"osc": []})
    store: Any = server._store
    assert not server._must_take_over(None)
    assert not server._must_take_over(SimpleNamespace(values={}))  # type: ignore[arg-type]
    for upgrade, must in (
        (None, True), ({"stage": "waiting"}, True), ({"stage": "rollback"}, True),
        ({"stage": "rollout"}, False),
    ):
        store.upgrade = upgrade
        assert server._must_take_over(notes) == must
