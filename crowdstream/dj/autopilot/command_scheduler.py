"""Moves on their way to the server: each is sent shortly before its beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from crowdstream.dj.autopilot.server_link import ServerLink
from crowdstream.dj.setfile.timed_commands import TimedCommand

HORIZON_SECONDS = 1.5  # that commands are sent ahead: a person who takes a deck waits no longer


class CommandScheduler:
    """Moves by beat of the server's clock. `ours`: whether a move still is the DJ's to make."""

    def __init__(self, link: ServerLink, ours: Callable[[TimedCommand], bool]) -> None:
        self._link = link
        self._ours = ours
        self._moves: list[TimedCommand] = []

    def add(self, moves: Iterable[TimedCommand]) -> None:
        """Have moves made at their beats."""
        self._moves += moves
        self._moves.sort(key=lambda move: move.beat)

    def clear(self) -> None:
        """Forget what was not sent yet."""
        self._moves = []

    def decks(self) -> Iterator[str]:
        """Decks that moves are still to come for."""
        return (move.address[6:7] for move in self._moves)

    def now(self, moves: Iterable[TimedCommand]) -> None:
        """Send moves at once, without their beats."""
        for move in moves:
            if self._ours(move):
                self._link.send(move.address, *move.args)

    def tick(self, beat: float) -> None:
        """Send what is due soon. What can't be given a beat goes when it is due."""
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
