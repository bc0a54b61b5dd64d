"""The clients on a socket without a server: what happens when they are closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from crowdstream.client import AsyncClient, Client, NoReply
from crowdstream.client.subscriptions import changes


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


def test_a_call_without_a_reply_ends(port: int) -> None:
    with Client(port=port, timeout=0.01) as client, pytest.raises(NoReply, match="sent once"):
        client.deck_jump("A", 4.0)


def test_a_subscription_that_is_refused_leaves_nothing_behind(port: int) -> None:
    with Client(port=port, timeout=0.01) as client:
        with pytest.raises(NoReply), client.watch_changes():
            pass
        assert not client.connection.feeds


def test_iterating_ends_with_the_subscription(port: int) -> None:
    client = Client(port=port)
    subscription = client.watch_changes()
    client.connection.add_feed(subscription.feed)
    subscription.feed.offer("/changed", ("/deck/A/stop",))
    client.close()
    assert [change.address for change in subscription] == ["/deck/A/stop"]
    with pytest.raises(RuntimeError, match="has ended"):
        subscription.get()
    with pytest.raises(RuntimeError, match="closed"):
        client.status()


def test_a_bundle_takes_no_options_for_its_commands(port: int) -> None:
    with (
        Client(port=port, timeout=0.01) as client,
        pytest.raises(ValueError, match="at_beat: an option of the bundle"),
        client.bundle() as together,
    ):
        together.deck_play("A", at_beat=8.0)


def test_an_empty_bundle_is_not_sent(port: int) -> None:
    with Client(port=port, timeout=0.01) as client, client.bundle():
        pass


def test_closing_the_asyncio_client_wakes_what_waits(port: int) -> None:
    async def main() -> None:
        client = AsyncClient(port=port)
        async with client:
            call = asyncio.ensure_future(client.status())
            feed = changes()
            client.connection.add_feed(feed)
            subscription = client.watch_changes()
            subscription.feed.closed = False
            client.connection.feeds.append(subscription.feed)
            value = asyncio.ensure_future(subscription.get())
            await asyncio.sleep(0)
        with pytest.raises(NoReply, match="was closed"):
            await call
        with pytest.raises(RuntimeError, match="has ended"):
            await value
        with pytest.raises(RuntimeError):
            await client.status()

    asyncio.run(main())


def test_the_asyncio_client_needs_its_block(port: int) -> None:
    async def main() -> None:
        client = AsyncClient(port=port)
        with pytest.raises(RuntimeError, match="async with"):
            await client.status()
        client.close()

    asyncio.run(main())
