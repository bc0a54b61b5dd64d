"""The process of the rooms, turn by turn."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest

from crowdstream.desk.block import Desk
from crowdstream.rooms import main
from crowdstream.rooms.leader import Leader
from crowdstream.rooms.packets import HELLO, read_key, read_open
from crowdstream.rooms.sockets import TimedSocket
from tests.support.osc_client import until

KEY = "a secret that all rooms share"


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "key").write_text(KEY)
    return {
        "do": "config", "role": "follower", "name": "bar", "key_file": str(tmp_path / "key"),
        "folder": str(tmp_path), "requirements": {}, "port": 0,
    }  # fmt: skip


def test_a_room_greets_its_leader_in_its_first_turn(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "report", lambda _: None)
    desk = Desk.create(0)
    room = main.Rooms(desk)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as leader:
        leader.bind(("127.0.0.1", 0))
        leader.settimeout(20.0)
        room.handle({**config, "leader": list(leader.getsockname())})
        assert room.turn() < time.monotonic() + main.RETRY_SECONDS / 2, "it goes on soon"
        packet = read_open(read_key(KEY.encode()), b"F", leader.recv(65536))
    assert packet is not None and packet.kind == HELLO
    room.close()
    desk.close()


class LeaderAt:
    """A leader that is asked at one address, and answers from another one."""

    def __init__(self, answers_from: str = "127.0.0.1") -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.settimeout(0.01)
        self._other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._other.bind((answers_from, 0))
        self.address = list(self._listener.getsockname())
        self._leader = Leader(
            read_key(KEY.encode()), {}, self._send, lambda _at: None, lambda _event, _values: None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.close()
        self._other.close()

    def _send(self, data: bytes, to: Any) -> None:
        self._other.sendto(data, to)

    def receive(self) -> None:
        """Handle a packet, if there is one."""
        with contextlib.suppress(TimeoutError):
            data, sender = self._listener.recvfrom(65536)
            self._leader.receive(data, sender, time.monotonic())


def connect(room: main.Rooms, leader: LeaderAt, told: list[dict[str, Any]]) -> None:
    """Let both take turns until the room is connected."""

    def connected() -> bool:
        room.turn()
        leader.receive()
        return any(one["event"] == "connected" for one in told)

    until(connected)


def test_a_leader_may_answer_from_another_of_its_addresses(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(main, "report", told.append)
    desk = Desk.create(0)
    room = main.Rooms(desk)
    with LeaderAt("127.0.0.2") as leader:
        room.handle({**config, "leader": leader.address})
        connect(room, leader, told)
    room.close()
    desk.close()


def test_a_name_that_was_not_found_is_no_reason_any_more_once_connected(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_found(*_: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(main, "report", told.append)
    desk = Desk.create(0)
    room = main.Rooms(desk)
    with LeaderAt() as leader, monkeypatch.context() as patch:
        room.handle({**config, "leader": leader.address})
        room.turn()
        patch.setattr(TimedSocket, "resolve", not_found)
        room._resolve_at = 0.0
        connect(room, leader, told)
        room.handle({"do": "report"})
    assert any("Temporary failure" in one.get("reason", "") for one in told)
    assert told[-1]["event"] == "state" and told[-1]["joined"] and told[-1]["reason"] == ""
    room.close()
    desk.close()


def test_a_key_that_cannot_be_read_is_tried_again_later(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(main, "report", told.append)
    desk = Desk.create(0)
    room = main.Rooms(desk)
    Path(config["key_file"]).unlink()
    room.handle({**config, "leader": ["127.0.0.1", 9]})
    before = time.monotonic()
    assert room.turn() >= before + main.RETRY_SECONDS
    assert "No such file" in told[-1]["reason"]
    room.close()
    desk.close()
