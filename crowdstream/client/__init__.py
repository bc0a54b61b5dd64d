"""The client library: typed commands, replies as values, and subscriptions.

    from crowdstream.client import Client

    with Client() as server:
        server.deck_load("A", "track.wav")
        server.deck_play("A")

It uses the protocol that the OSC reference documents, and nothing of the server's inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crowdstream.client.errors import (
    ClientError,
    CommandFailed,
    CommandLate,
    NoReply,
    ServerUnavailable,
)

if TYPE_CHECKING:
    from crowdstream.client.async_client import AsyncClient, AsyncSubscription
    from crowdstream.client.sync_client import Client, Subscription

__all__ = [
    "AsyncClient", "AsyncSubscription", "Client", "ClientError", "CommandFailed", "CommandLate",
    "NoReply", "ServerUnavailable", "Subscription",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Imported when they are used: programs that only poll the status need neither.
    if name in ("AsyncClient", "AsyncSubscription"):
        from crowdstream.client import async_client

        return getattr(async_client, name)
    if name in ("Client", "Subscription"):
        from crowdstream.client import sync_client

        return getattr(sync_client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
