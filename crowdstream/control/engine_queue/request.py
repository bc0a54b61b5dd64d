"""Who said a command and when it is to act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

MAX_SUBSCRIBERS = 64

Reply = Callable[..., None]
"""`reply(address, *arguments)` sends an answer to whoever said the command."""


def nobody(address: str, *arguments: Any) -> None:
    """The reply of a command that nobody waits for."""


class Answering(Protocol):
    """Who carries commands out, and answers for them."""

    def failed(self, request: Request, reason: str) -> None:
        """Count a failed command, log it and tell its sender."""

    def was_late(self, request: Request, seconds: float) -> None:
        """Log that a command acted late, and tell its sender."""

    def reply_to(self, sender: Any) -> Reply:
        """What sends answers to somebody whose packet is not at hand."""


class Request:
    """One command being carried out.

    `frame`: the frame at which it acts, 0 for at once. `beat`: the beat of the clock at which it
    acts, `frame` is where that is expected; else None. `now`: the frame of its arrival.
    `failures`: the reasons its sender has been told so far.
    """

    __slots__ = ("address", "beat", "core", "failures", "frame", "late", "now", "reply", "sender")

    def __init__(
        self,
        core: Answering,
        address: str = "",
        reply: Reply = nobody,
        sender: Any = None,
        frame: int = 0,
        now: int = 0,
        beat: float | None = None,
    ) -> None:
        self.core = core
        self.address = address
        self.reply = reply
        self.sender = sender
        self.frame = frame
        self.now = now
        self.beat = beat
        self.failures: tuple[str, ...] = ()
        self.late = False

    def to_state(self) -> list[Any]:
        """As JSON holds it; see `from_note`."""
        return [
            self.address, self.sender, self.frame, self.now, self.beat, self.failures, self.late
        ]

    @classmethod
    def from_state(cls, core: Answering, note: list[Any] | None) -> Self | None:
        """A command that an earlier control was carrying out; its answers go where they did."""
        if note is None:
            return None
        address, sender, frame, now, beat, failures, late = note
        sender = tuple(sender) if sender else None
        made = cls(core, address, core.reply_to(sender), sender, frame, now, beat)
        made.failures, made.late = tuple(failures), late
        return made

    def fail(self, reason: str) -> None:
        """Tell the sender why this command can't be done; each reason is told once."""
        if reason not in self.failures:
            self.failures += (reason,)
            self.core.failed(self, reason)

    def done(self, *arguments: Any) -> None:
        """Tell the sender that what this command began is finished."""
        self.reply("/done", self.address, *arguments)

    def report_late(self, seconds: float) -> None:
        """Tell the sender, once, that this command acted so much after its time."""
        if not self.late:
            self.late = True
            self.core.was_late(self, seconds)
