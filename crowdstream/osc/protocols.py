"""What the core wants of the OSC socket: whatever can send answers and counts will do."""

from __future__ import annotations

from typing import Any, Protocol


class ReplySocket(Protocol):
    """What the core wants of the OSC socket."""

    @property
    def refused(self) -> int:
        """Packets above their sender's rate, or without room."""

    @property
    def limited(self) -> int:
        """Of these, packets above their sender's rate."""

    @property
    def barred(self) -> int:
        """Packets of senders that are not on the allow list."""

    @property
    def dropped(self) -> int:
        """Packets that the system lost."""

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Send one message."""

    def answer_packet(self, sender: Any, packet: bytes) -> None:
        """Send one packet."""
