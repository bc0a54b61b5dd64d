"""Errors of a client, as types that a program can distinguish."""

from __future__ import annotations


class ClientError(Exception):
    """A command was refused, acted late, or was not answered."""


class CommandFailed(ClientError):
    """The server replied `/fail`: the command has changed nothing.

    `address` as it was sent, and the server's `reason`. A pattern or a bundle may fail for several
    reasons: `others` contains the errors after the first one.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason
        self.others: tuple[ClientError, ...] = ()


class CommandLate(ClientError):
    """The server replied `/late`: the command acted `seconds` after its time, and not at it."""

    def __init__(self, address: str, seconds: float) -> None:
        super().__init__(f"{address} acted {seconds * 1000:.1f} ms late")
        self.address = address
        self.seconds = seconds
        self.others: tuple[ClientError, ...] = ()


class NoReply(ClientError, TimeoutError):
    """The server did not answer in time.

    If the command is not idempotent, it was sent only once, and may have been carried out.
    """


class ServerUnavailable(NoReply, ConnectionError):
    """No program listens on the server's port: the command was not carried out."""
