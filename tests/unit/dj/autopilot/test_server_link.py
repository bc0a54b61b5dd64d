"""The DJ's connection to a server: commands that are lost are sent again."""

from __future__ import annotations

from collections import deque

from crowdstream.dj.autopilot.server_link import CONFIRM_SECONDS, ServerLink
from crowdstream.osc.codec import build, parse


class Wire:
    """A transport to a server that answers status requests and carries out nothing."""

    def __init__(self) -> None:
        self.received: deque[bytes] = deque()
        self.commands: list[bytes] = []

    def send(self, data: bytes) -> int:
        [(_time, message)] = parse(data)
        if message.address == "/status":
            self.received.append(build("/status.reply", ("bpm", 128.0)))
        elif message.address.startswith(("/clock", "/deck")):
            self.commands.append(data)
        return len(data)

    def recv(self, _size: int) -> bytes:
        if not self.received:
            raise BlockingIOError
        return self.received.popleft()

    def close(self) -> None:
        """Do nothing."""


def test_a_lost_command_is_sent_again_as_it_was() -> None:
    wire, time = Wire(), [0.0]
    link = ServerLink(wire, lambda: time[0])
    link.tick()
    link.tick()
    assert link.connected
    beat = 184_320.0 + 1 / 3  # after a day at 128 BPM, where 32-bit floats are 1/64 apart
    link.schedule(beat, "/deck/A/stop")
    link.send("/deck/A/cue/set", 3, 0.1)
    while time[0] < CONFIRM_SECONDS + 1.0:
        time[0] += 0.1
        link.tick()
    first, second, *again = wire.commands
    assert again == [first, second]
    assert parse(first)[0][1].params[0] == beat
