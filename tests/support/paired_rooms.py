"""A leader and a room in one process, in virtual time: two dispatchers that exchange messages."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any, Self

import numpy as np

from crowdstream.rooms.files import RoomFiles
from tests.support.offline_server import Rig

BLOCK = 256


class Outbox:
    """Stands in for the leader's process: keeps what is sent."""

    runs = True

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        """Keep a message."""
        self.sent.append(json.loads(json.dumps(message)))

    def enable(self, on: bool) -> None:
        """Nothing is started."""


class Pair:
    """A leader and a room, whose frames differ by `shift`. `delay`: blocks until a message arrives.

    `folder`: has the key, and the folders of music `leader` and `room`.
    """

    def __init__(self, folder: Path, shift: int = 5120, delay: int = 10, **settings: Any) -> None:
        key = folder / "key"
        key.write_text("a secret that all rooms share")
        self.shift, self._delay = shift, delay
        self.folders = folder / "leader", folder / "room"
        for one in self.folders:
            one.mkdir(exist_ok=True)
        self.leader = Rig(
            rooms="leader", rooms_key_file=key, rooms_folder=self.folders[0], **settings
        )
        self.room = Rig(
            rooms="10.0.0.1", rooms_key_file=key, rooms_folder=self.folders[1], **settings
        )
        self._files = [RoomFiles(str(one)) for one in self.folders]
        self.outbox = Outbox()
        self.leader.core.rooms.attach(self.outbox)
        self.room.core.rooms.attach(Outbox())
        self._way: deque[tuple[int, dict[str, Any]]] = deque()
        self.lost = False
        self.leader.run(shift)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.leader.close()
        self.room.close()

    def join(self) -> None:
        """The room joins."""
        event = {"event": "joined", "room": "aa", "name": "room"}
        self.leader.core.rooms.handle(event)
        state = {"event": "state", "forged": 0, "joined": 1, "known": 1, "in_step": 1}
        self.room.core.rooms.handle(state)

    def run(self, seconds: float) -> None:
        """Let both play."""
        for _ in range(round(seconds * self.leader.rate / BLOCK)):
            self.leader.run(BLOCK)
            sent, self.outbox.sent = self.outbox.sent, []
            if not self.lost:
                due = self.leader.desk.frame + self._delay * BLOCK
                self._way += [(due, one["message"]) for one in sent if one["do"] == "send"]
            while self._way and self._way[0][0] <= self.leader.desk.frame:
                self._deliver(self._way.popleft()[1])
            self.room.run(BLOCK)

    def _deliver(self, message: dict[str, Any]) -> None:
        sent = json.loads(json.dumps(self._files[0].outgoing(message)))
        found = self._files[1].incoming(sent)
        self.room.core.rooms.handle(
            {"event": "message", "shift": self.shift, "message": found}
        )

    def outputs(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """What both have played in the latest seconds, aligned by the shift."""
        frames = round(seconds * self.leader.rate)
        end = min(self.leader.desk.frame - self.shift, self.room.desk.frame)
        leader = self.leader.out[end + self.shift - frames : end + self.shift]
        return leader, self.room.out[end - frames : end]
