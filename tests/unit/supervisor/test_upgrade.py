"""The supervisor's decisions during an upgrade, with a control process that the test plays."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from crowdstream.supervisor import upgrade
from crowdstream.supervisor.upgrade import (
    MAX_CLIENTS,
    PROTOCOL,
    ROLLOUT_SECONDS,
    STANDSTILL_SECONDS,
    STARVED_SECONDS,
    TRIAL_SECONDS,
    YIELD_SECONDS,
    FrameCounter,
    Kept,
    Upgrades,
    address_of,
)
from crowdstream.system.installation import Installation
from crowdstream.system.starvation import StarvationMonitor

PORT = 100_000 + os.getpid()  # no UDP port has this number
NEW = Installation("/new/bin/python", "/new", "9.0.0")
FRAME_AT = 4096 * 3 + 320


class Observer(StarvationMonitor):
    """Reports what the test says of the engines."""

    def __init__(self, server: Server) -> None:
        super().__init__(0)
        self._server = server

    def begin(self) -> None:
        """Nothing has to be read."""

    def is_starved(self, budget: float) -> bool:
        """Whether the test starves them."""
        return self._server.starved


class Server:
    """The supervisor's upgrades, with a desk whose frame advances, and a manual clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sent: list[dict[str, Any]] = []
        self._killed = 0
        self.desk = os.memfd_create("desk")
        os.ftruncate(self.desk, 1 << 16)
        self.frame = 0
        self.advances = True
        self.starved = False
        self.upgrades = Upgrades(
            self.sent.append, self._kill, lambda: self.now, lambda _pid: Observer(self)
        )
        self.kept: Kept = {"desk": (b"{}", [self.desk])}
        self.clients: list[socket.socket] = []
        self.lifelines: list[int] = []
        self.ready()

    def _kill(self) -> None:
        self._killed += 1

    def killed(self) -> bool:
        """Whether control was killed."""
        return self._killed > 0

    def ready(self) -> None:
        """Control is ready."""
        about = {"port": PORT, "layout": "abc", "frame_at": FRAME_AT}
        self.upgrades.control_ready(about, self.kept)

    def turn(self, seconds: float = 0.05) -> None:
        """Let time pass."""
        self.now += seconds
        if self.advances:
            self.frame += 256
            os.pwrite(self.desk, struct.pack("<q", self.frame), FRAME_AT)
        self.upgrades.receive()
        self.upgrades.tick(self.kept)

    def pass_time(self, seconds: float) -> None:
        """Let much time pass."""
        end = self.now + seconds
        while self.now < end:
            self.turn(0.25)

    def connect(self) -> socket.socket:
        """Connect as `crowdstream upgrade` does."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(address_of(PORT))
        client.setblocking(False)
        self.clients.append(client)
        self.turn()
        return client

    def request(self, client: socket.socket, **changes: Any) -> None:
        """Request an upgrade to `NEW`."""
        asked = {"installation": NEW, "live": True, "now": False, "trial": TRIAL_SECONDS}
        client.send(json.dumps({"upgrade": {**asked, **changes}}).encode())
        self.turn()

    def child(self, name: str, root: str) -> int:
        """Store a process of an installation; return a descriptor whose closing ends it."""
        reader, writer = os.pipe()
        self.kept[name] = (json.dumps({"pid": 1, "root": root}).encode(), [reader])
        self.lifelines.append(writer)
        return writer

    def end(self, lifeline: int) -> None:
        """A process ends."""
        self.lifelines.remove(lifeline)
        os.close(lifeline)

    def until_trial(self) -> socket.socket:
        """Begin an upgrade, up to its trial; return its client."""
        client = self.connect()
        self.request(client)
        assert self.upgrades.control_ended("status 0")
        self.ready()
        self.turn()
        self.upgrades.control_reports({"done": True})
        return client


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.upgrades.close()
    for client in made.clients:
        client.close()
    for fd in made.lifelines:
        os.close(fd)
    for _note, fds in made.kept.values():
        for fd in fds:
            os.close(fd)


def received(client: socket.socket) -> list[dict[str, Any]]:
    """All messages that have arrived."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            data = client.recv(1 << 16)
        except BlockingIOError:
            return found
        if not data:
            return [*found, {"closed": True}]
        found.append(json.loads(data))


def test_a_client_learns_what_is_running(server: Server) -> None:
    [hello] = received(server.connect())
    assert hello["running"] == list(Installation.own()) == hello["started"]
    assert (hello["layout"], hello["protocol"], hello["busy"]) == ("abc", PROTOCOL, "")
    assert hello["pid"] == os.getpid()


def test_a_new_version_that_works_becomes_current_after_its_trial(server: Server) -> None:
    client = server.connect()
    server.request(client)
    assert server.sent == [{"yield": True}] and server.upgrades.current == Installation.own()
    assert server.upgrades.control_ended("status 0"), "it was planned, so it is no death"
    assert server.upgrades.current == NEW and not server.upgrades.fresh
    note = server.upgrades.note()
    assert note is not None and (note["stage"], note["to"]) == ("rollout", "9.0.0")
    server.upgrades.control_reports({"step": "the loader is being replaced", "waits": False})
    server.pass_time(0.5 * ROLLOUT_SECONDS)
    server.upgrades.control_reports({"done": True})
    server.pass_time(TRIAL_SECONDS - 1.0)
    assert server.upgrades.rollout is not None and not server.killed()
    server.pass_time(2.0)
    assert server.upgrades.rollout is None and server.upgrades.current == NEW
    assert server.sent[1:] == [{"trial_passed": True}]
    texts = [one.get("text", one) for one in received(client)]
    assert "the loader is being replaced" in texts and texts[-1]["done"] is True
    assert not server.upgrades.control_ended("signal 9"), "a later death is an ordinary one"


def test_control_that_does_not_yield_is_killed(server: Server) -> None:
    server.now += 86400.0  # without an upgrade
    server.request(server.connect())
    server.pass_time(YIELD_SECONDS - 1.0)
    assert not server.killed()
    server.pass_time(1.5)
    assert server.killed() and server.upgrades.control_ended("signal 9")
    assert server.upgrades.current == NEW


@pytest.mark.parametrize("stage", ["rollout", "trial"])
def test_control_that_dies_returns_the_previous_version(server: Server, stage: str) -> None:
    client = server.until_trial()
    if stage == "rollout":
        assert server.upgrades.rollout is not None
        server.upgrades.rollout.stage = "rollout"
    server.pass_time(5.0)
    assert server.upgrades.control_ended("signal 11")
    assert server.upgrades.current == Installation.own()
    note = server.upgrades.note()
    assert note is not None and note["stage"] == "rollback"
    assert note["reason"] == "its control process has died (signal 11)"
    assert not server.upgrades.control_ended("signal 9"), "the old one's death is an ordinary one"
    server.upgrades.control_reports({"done": True})
    assert server.upgrades.rollout is None
    last = received(client)[-1]
    assert last["failed"] == note["reason"] and last["running"] == list(Installation.own())


def test_frames_that_do_not_advance_return_the_previous_version(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, _n: engines.append(fd))
    server.until_trial()
    server.child("engine/1", Installation.own().root)
    server.child("engine/2", NEW.root)
    server.advances = False
    server.pass_time(STANDSTILL_SECONDS - 0.5)
    assert not server.killed()
    server.pass_time(1.0)
    assert server.killed() and server.upgrades.control_ended("signal 9")
    note = server.upgrades.note()
    assert note is not None and "no frame was rendered" in note["reason"]
    # The previous version's engine stands by, and takes over from the one that is killed.
    assert set(engines) == set(server.kept["engine/2"][1])


def test_frames_need_not_advance_while_playback_waits_for_its_device(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    server.upgrades.waits_for_device, server.advances = True, False
    server.until_trial()
    server.pass_time(STANDSTILL_SECONDS + 1.0)
    assert not server.killed()
    server.upgrades.waits_for_device = False  # the device is back: the engine has to play
    server.pass_time(STANDSTILL_SECONDS - 0.5)
    assert not server.killed()
    server.pass_time(1.0)
    assert server.killed()


def test_control_reports_a_consequence_and_the_cause_stays_the_reason(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    server.until_trial()
    server.child("engine/2", NEW.root)
    server.advances = False
    server.pass_time(STANDSTILL_SECONDS + 0.5)
    assert server.killed()
    # Control saw the killed engine end before it was killed itself.
    server.upgrades.child_died("engine/2", server.kept["engine/2"][0])
    assert server.upgrades.control_ended("signal 9")
    note = server.upgrades.note()
    assert note is not None and "no frame was rendered" in note["reason"]


def test_engines_without_a_processor_get_more_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    server.until_trial()
    server.child("engine/2", NEW.root)
    server.advances, server.starved = False, True
    server.pass_time(STARVED_SECONDS - 1.0)
    assert not server.killed()
    server.advances = True
    server.pass_time(1.0)
    server.advances = False
    server.pass_time(STARVED_SECONDS - 1.0)
    assert not server.killed()
    server.pass_time(2.0)
    assert server.killed() and server.upgrades.control_ended("signal 9")


def test_a_dead_process_of_the_new_version_returns_the_previous_one(server: Server) -> None:
    old = server.child("engine/1", Installation.own().root)
    new = server.child("loader", NEW.root)
    server.until_trial()
    server.end(old)  # the previous version's may end
    server.pass_time(1.0)
    assert not server.killed()
    server.end(new)
    server.turn()
    assert not server.killed(), "control may be about to report that it has ended this process"
    server.turn()
    assert server.killed()
    assert server.upgrades.control_ended("signal 9")
    note = server.upgrades.note()
    assert note is not None and note["reason"] == "its loader process has died"


def test_a_death_that_control_reports_counts(server: Server) -> None:
    server.until_trial()
    own = json.dumps({"root": Installation.own().root}).encode()
    server.upgrades.child_died("engine/1", own)
    assert not server.killed()
    server.upgrades.child_died("web", json.dumps({"root": NEW.root}).encode())
    assert server.killed()


def test_a_rollout_that_makes_no_progress_is_abandoned(server: Server) -> None:
    server.request(server.connect())
    assert server.upgrades.control_ended("status 0")
    server.upgrades.control_reports({"step": "the engine waits for silence", "waits": True})
    server.pass_time(0.9 * ROLLOUT_SECONDS)
    server.upgrades.control_reports({"step": "the engine waits for silence", "waits": True})
    server.pass_time(0.9 * ROLLOUT_SECONDS)
    assert not server.killed(), "the time spent waiting does not count"
    server.pass_time(0.2 * ROLLOUT_SECONDS)
    assert server.killed()


def test_a_step_that_waits_is_shown_once(server: Server) -> None:
    client = server.connect()
    server.request(client)
    assert server.upgrades.control_ended("status 0")
    received(client)
    for _ in range(1000):  # a client that is stopped meanwhile must not lose its connection
        server.upgrades.control_reports({"step": "the engine waits for silence", "waits": True})
        server.turn(0.01)
    server.upgrades.control_reports({"step": "the engine is being replaced", "waits": False})
    texts = [one["text"] for one in received(client)]
    assert texts == ["the engine waits for silence", "the engine is being replaced"]


def test_a_pause_of_the_machine_is_not_a_part_of_the_trial(server: Server) -> None:
    server.until_trial()
    server.turn()
    server.advances = False
    server.turn(3600.0)
    server.pass_time(STANDSTILL_SECONDS / 2)
    assert not server.killed(), "no engine was able to render"
    server.advances = True
    server.pass_time(TRIAL_SECONDS / 2)
    assert server.upgrades.rollout is not None
    server.pass_time(TRIAL_SECONDS)
    assert server.upgrades.rollout is None and not server.killed()


def test_another_layout_waits_for_silence_and_starts_afresh(server: Server) -> None:
    client = server.connect()
    server.request(client, live=False)
    assert server.sent == [{"wait_for_silence": True}]
    assert any("nothing is audible" in one.get("text", "") for one in received(client))
    server.pass_time(10 * TRIAL_SECONDS)
    note = server.upgrades.note()
    assert note is not None and note["stage"] == "waiting"
    assert not server.upgrades.control_ended("signal 9"), "meanwhile, its death is an ordinary one"
    server.upgrades.control_reports({"silent": True})
    assert server.sent[-1] == {"yield": True}
    assert server.upgrades.control_ended("status 0") and server.upgrades.fresh
    server.advances = False  # there is no engine until the new version has started
    server.pass_time(2.0 * STANDSTILL_SECONDS)
    assert not server.killed()
    server.ready()
    server.pass_time(2.0 * STANDSTILL_SECONDS)
    assert server.killed(), "its engine renders nothing"


def test_an_upgrade_that_waits_gives_way_to_another_one(server: Server) -> None:
    """Something may be audible all night."""
    first, second = server.connect(), server.connect()
    server.request(first, live=False)
    assert received(server.connect())[0]["busy"] == ""
    server.request(second, live=False, now=True)
    assert server.sent == [{"wait_for_silence": True}, {"yield": True}]
    assert "another upgrade" in received(first)[-1]["failed"]
    server.upgrades.control_reports({"silent": True})  # on its way when the second one arrived
    assert server.sent[-1] == {"yield": True} and len(server.sent) == 2
    assert server.upgrades.control_ended("status 0")
    assert received(second)[-1]["stage"] == "rollout"


def test_another_layout_does_not_wait_if_told_so(server: Server) -> None:
    server.request(server.connect(), live=False, now=True)
    assert server.sent == [{"yield": True}]


def test_a_second_upgrade_is_refused(server: Server) -> None:
    first, second = server.connect(), server.connect()
    received(second)
    server.request(first)
    server.request(second, installation=Installation("/x/python", "/x", "10.0.0"))
    [refusal] = received(second)
    assert "an upgrade to version 9.0.0 in /new is in progress" in refusal["refused"]
    assert server.upgrades.rollout is not None and server.upgrades.rollout.target == NEW
    [hello] = received(server.connect())
    assert "wait until it has ended" in hello["busy"]


def test_a_client_that_ends_does_not_end_the_upgrade(server: Server) -> None:
    server.until_trial().close()
    server.pass_time(TRIAL_SECONDS + 1.0)
    assert server.upgrades.current == NEW and server.upgrades.rollout is None


@pytest.mark.parametrize(
    "request_",
    [b"x", b"{}", b'{"upgrade": 1}', b'{"upgrade": {"installation": ["a"]}}', b"[1]", b"\xff",
     json.dumps({"upgrade": {"installation": NEW, "live": 1, "now": 0, "trial": 0}}).encode()],
)  # fmt: skip
def test_a_wrong_request_is_refused(server: Server, request_: bytes) -> None:
    client = server.connect()
    received(client)
    client.send(request_)
    server.turn()
    assert "does not understand" in received(client)[0]["refused"]
    assert server.upgrades.rollout is None and server.sent == []


def test_other_users_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "peer_of", lambda _connection: (1, os.getuid() + 1, 1))
    messages = received(server.connect())
    assert messages == [
        {"refused": "only the server's user and root may upgrade it"}, {"closed": True},
    ]


def test_the_number_of_clients_is_limited(server: Server) -> None:
    clients = [server.connect() for _ in range(MAX_CLIENTS + 1)]
    assert received(clients[-1]) == [{"closed": True}]
    clients[0].close()
    server.turn()
    assert "running" in received(server.connect())[0]


def test_a_flood_of_clients_does_not_keep_the_supervisor(server: Server) -> None:
    class Flood:
        """A listener at which another client waits as soon as one was accepted."""

        accepted = 0

        def accept(self) -> tuple[socket.socket, str]:
            """Accept a client."""
            self.accepted += 1
            assert self.accepted < 1000, "it never ends"
            client, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            theirs.close()
            return client, ""

        def close(self) -> None:
            """Nothing is open."""

    server.upgrades.close()
    flood: Any = Flood()
    server.upgrades._listener = flood
    server.upgrades.receive()
    assert 0 < flood.accepted <= MAX_CLIENTS


def test_an_installation_runs_modules_from_its_own_folder() -> None:
    assert NEW.command("crowdstream.x", "1") == [NEW.python, "-P", "-m", "crowdstream.x", "1"]
    assert NEW.environment({"PYTHONPATH": "/a"})["PYTHONPATH"] == "/new:/a"
    assert NEW.environment({"A": "b"}) == {"A": "b", "PYTHONPATH": "/new"}


def test_frames_are_read_at_any_offset() -> None:
    fd = os.memfd_create("desk")
    os.ftruncate(fd, 1 << 16)
    for at in (0, 320, 4096, FRAME_AT):
        os.pwrite(fd, struct.pack("<q", at + 1), at)
        counter = FrameCounter(fd, at)
        assert counter.read() == at + 1
        counter.close()
    os.close(fd)
