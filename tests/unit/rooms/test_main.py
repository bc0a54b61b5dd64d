"""The process of the rooms, turn by turn."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from crowdstream.desk.block import Desk
from crowdstream.rooms import main
from crowdstream.rooms.leader import Leader
from crowdstream.rooms.packets import HELLO, read_key, read_open
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


def test_a_leader_may_answer_from_another_of_its_addresses(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(main, "report", told.append)
    desk = Desk.create(0)
    room = main.Rooms(desk)
    udp = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*udp) as listener, socket.socket(*udp) as other:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.01)
        other.bind(("127.0.0.2", 0))

        def answer(data: bytes, to: Any) -> None:
            other.sendto(data, to)

        leader = Leader(
            read_key(KEY.encode()), {}, answer, lambda _at: None, lambda _event, _values: None
        )
        room.handle({**config, "leader": list(listener.getsockname())})

        def joined() -> bool:
            room.turn()
            with contextlib.suppress(TimeoutError):
                data, sender = listener.recvfrom(65536)
                leader.receive(data, sender, time.monotonic())
            return any(one["event"] == "connected" for one in told)

        until(joined)
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
