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
        self._moves: list[TimedCommand] = []

    def add(self, moves: Iterable[TimedCommand]) -> None:
        """Schedule commands."""
        self._moves += moves
        self._moves.sort(key=lambda move: move.beat)

    def clear(self) -> None:
        """Drop all commands that have not been sent."""
        self._moves = []

    def decks(self) -> Iterator[str]:
        """Yield the decks with commands that have not been sent."""
        return (move.address[6:7] for move in self._moves)

    def now(self, moves: Iterable[TimedCommand]) -> None:
        """Send commands at once, ignoring their beats."""
        for move in moves:
            if self._ours(move):
                self._link.send(move.address, *move.args)

    def tick(self, beat: float) -> None:
        """Send commands that are due soon; those that take no beat are sent when they are due."""
        soon = beat + HORIZON_SECONDS * self._link.bpm / 60.0
        left = []
        for move in self._moves:
            if move.beat > (soon if move.takes_beat else beat):
                left.append(move)
            elif self._ours(move):
                if move.takes_beat:
                    self._link.at(move.beat, move.address, *move.args)
                else:
                    self._link.send(move.address, *move.args)
        self._moves = left
