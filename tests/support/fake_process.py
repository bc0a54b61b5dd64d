"""A process of an optional part, such as a live input, whose messages the test writes."""

from __future__ import annotations

from typing import Any


class FakeProcess:
    """Stands for a `Child`: keeps what is sent to it, and returns `messages` once."""

    out = -1

    pid = 4711
    unsent = 0
    is_foreign = False
    exit_description = "signal 9"

    def __init__(self) -> None:
        self.finished = self.stopped = False
        self.sent: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def push(self) -> None:
        pass

    def read(self) -> list[dict[str, Any]]:
        messages, self.messages = self.messages, []
        return messages

    def kill(self) -> None:
        self.finished = True

    def stop(self, seconds: float = 0.0) -> None:
        self.stopped = True
