"""The request: the sender of a command, and the time at which it acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

MAX_SUBSCRIBERS = 64

Reply = Callable[..., None]
"""`reply(address, *arguments)` sends a reply to the sender of the command."""


def discard_reply(address: str, *arguments: Any) -> None:
    """Discard a reply: for commands without a sender."""


class RequestReporter(Protocol):
    """The dispatcher as a request sees it: reports failures and lateness, makes replies."""

    def failed(self, request: Request, reason: str) -> None:
        """Count a failed command, log it and notify its sender."""

    def notify_late(self, request: Request, seconds: float) -> None:
        """Log that a command acted late, and notify its sender."""

    def reply_to(self, sender: Any) -> Reply:
        """Return a reply function for a sender without a packet at hand."""


class Request:
    """One command that is being carried out.

    `frame`: the frame at which it acts, 0 for immediately. `beat`: the beat of the clock at which
    it acts, or None; `frame` is then the expected frame of that beat. `now`: the frame of its
    arrival. `failures`: the reasons that were sent to its sender so far.
    """

    __slots__ = ("address", "beat", "core", "failures", "frame", "late", "now", "reply", "sender")

    def __init__(
        self,
        core: RequestReporter,
        address: str = "",
        reply: Reply = discard_reply,
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
        """Return the request as JSON-compatible state; see `from_state`."""
        return [
            self.address, self.sender, self.frame, self.now, self.beat, self.failures, self.late
        ]

    @classmethod
    def from_state(cls, core: RequestReporter, state: list[Any] | None) -> Self | None:
        """Restore a request of an earlier control process; its replies go to the same sender."""
        if state is None:
            return None
        address, sender, frame, now, beat, failures, late = state
        sender = tuple(sender) if sender else None
        made = cls(core, address, core.reply_to(sender), sender, frame, now, beat)
        made.failures, made.late = tuple(failures), late
        return made

    def fail(self, reason: str) -> None:
        """Send the sender the reason why this command failed; each reason only once."""
        if reason not in self.failures:
            self.failures += (reason,)
            self.core.failed(self, reason)

    def done(self, *arguments: Any) -> None:
        """Send `/done` to the sender: everything that the command started is complete."""
        self.reply("/done", self.address, *arguments)

    def report_late(self, seconds: float) -> None:
        """Notify the sender, once, that this command acted `seconds` after its time."""
        if not self.late:
            self.late = True
            self.core.notify_late(self, seconds)
