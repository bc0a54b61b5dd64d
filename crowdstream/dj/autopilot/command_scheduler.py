"""Schedule the DJ's commands: each is sent to the server shortly before its beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.setfile.timed_commands import TimedCommand

HORIZON_SECONDS = 1.5  # look-ahead: after a person takes a deck, sent commands act this long


class CommandScheduler:
    """Commands by beat of the server's clock. `ours`: whether a command is still the DJ's."""

    def __init__(self, link: ServerLink, ours: Callable[[TimedCommand], bool]) -> None:
        self._link = link
        self._ours = ours
        self._commands: list[TimedCommand] = []

    def add(self, commands: Iterable[TimedCommand]) -> None:
        """Schedule commands."""
        self._commands += commands
        self._commands.sort(key=lambda command: command.beat)

    def clear(self) -> None:
        """Drop all commands that have not been sent."""
        self._commands = []

    def decks(self) -> Iterator[str]:
        """Yield the decks with commands that have not been sent."""
        return (command.address[6:7] for command in self._commands)

    def now(self, commands: Iterable[TimedCommand]) -> None:
        """Send commands at once, ignoring their beats."""
        for command in commands:
            if self._ours(command):
                self._link.send(command.address, *command.args)

    def tick(self, beat: float) -> None:
        """Send commands that are due soon; those that take no beat are sent when they are due."""
        soon = beat + HORIZON_SECONDS * self._link.bpm / 60.0
        left = []
        for command in self._commands:
            if command.beat > (soon if command.takes_beat else beat):
                left.append(command)
            elif self._ours(command):
                if command.takes_beat:
                    self._link.schedule(command.beat, command.address, *command.args)
                else:
                    self._link.send(command.address, *command.args)
        self._commands = left
