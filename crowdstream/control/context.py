"""Who said a command and when it is to act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crowdstream.control.mixer import Mixer
    from crowdstream.control.server import Server

Reply = Callable[..., None]
"""`reply(address, *arguments)` sends an answer to whoever said the command."""


def nobody(address: str, *arguments: Any) -> None:
    """The reply of a command that nobody waits for."""


@dataclass
class Context:
    """One command being carried out.

    `frame`: the frame at which it acts, 0 for at once. `now`: the frame of its arrival.
    """

    server: Server
    mixer: Mixer
    address: str = ""
    reply: Reply = nobody
    sender: Any = None
    frame: int = 0
    now: int = 0

    def fail(self, reason: str) -> None:
        """Tell the sender why this command can't be done."""
        self.server.failed(self, reason)

    def done(self, *arguments: Any) -> None:
        """Tell the sender that what this command began is finished."""
        self.reply("/done", self.address, *arguments)
