"""The interface of the OSC socket that the dispatcher needs: replies and counters."""

from __future__ import annotations

from typing import Any, Protocol


class ReplySocket(Protocol):
    """Sends replies, and counts lost packets."""

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
        """Packets that the kernel lost."""

    def answer(self, sender: Any, address: str, *arguments: Any) -> None:
        """Send one message to `sender`."""

    def answer_packet(self, sender: Any, packet: bytes) -> None:
        """Send one encoded packet to `sender`."""
